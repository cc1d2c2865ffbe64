"""The fine-tuned backbone as an artifact of the lake: photographs in, a backbone with its classifier out.

After every epoch the state of the training is published in `training/`, so that a killed run continues after its last
complete epoch; the state is deleted when the backbone is published.
"""

import dataclasses
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from plantclef_assets.engines.progress import Progress
from plantclef_assets.ingest.validation_split import split_rows
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.models.backbone_files import open_backbone, publish_backbone
from plantclef_assets.models.devices import resolve_device, resolve_precision
from plantclef_assets.models.finetuning import Finetuned, Finetuning
from plantclef_assets.models.finetuning_config import FinetuningConfig
from plantclef_assets.models.shuffled_photographs import open_photographs
from plantclef_assets.models.weights import hash_tensors


@dataclass(frozen=True)
class FinetunedBackbone:
    """Writes finetuned_backbone from base_backbone and all shards of resized_images.

    Attributes:
        lake: the lake.
        shards: keys of the training shards.
        config: configuration of the training.
        validation_share: share of the classifiers' split, whose validation side is not used.
        device: name of the device.
        precision: name of the precision of the activations.
        threads: number of photographs that are decoded at the same time.
        log: receives messages on the progress.
    """

    lake: Lake
    shards: Sequence[str]
    config: FinetuningConfig
    validation_share: float
    device: str
    precision: str
    threads: int
    log: Callable[[str], None]

    def __call__(self, shard: Shard) -> None:
        """Train, continuing from a state of the same provenance, and publish.

        Raises:
            FloatingPointError: training diverged.
            ValueError: there are too few photographs.
        """
        images = [Artifact("resized_images", key) for key in self.shards]
        base = self.lake.local(self.lake.path(Artifact("base_backbone", suffix="safetensors")))
        with open_photographs(self.lake, images) as photographs:
            train, _ = split_rows(
                photographs.learn_tag,
                photographs.obs_id,
                validation_share=self.validation_share,
                seed=self.config.seed,
            )
            backbone = open_backbone(base, self.device, "fp32")
            precision = resolve_precision(self.precision, resolve_device(self.device))
            training = Finetuning(backbone, photographs, train, self.config, precision=precision, threads=self.threads)
            self._run(training, shard)
            finetuned = training.finish()
        backbone.info = dataclasses.replace(
            backbone.info,
            source=f"fine-tuned here from {backbone.info.source}",
            weights_sha256=hash_tensors(backbone.model.state_dict()),
        )
        publish_backbone(self.lake, shard, backbone, finetuned.head, _figures(finetuned))
        self.lake.path(_state_of(shard)).unlink(missing_ok=True)

    def _run(self, training: Finetuning, shard: Shard) -> None:
        path, identity = self.lake.path(_state_of(shard)), json.dumps(shard.provenance, sort_keys=True)
        try:
            saved = torch.load(self.lake.local(path), map_location="cpu", weights_only=True)
        except FileNotFoundError:
            saved = {}
        except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError) as error:
            self.log(f"{path} cannot be read ({error}); training starts again.")
            saved = {}
        if saved.get("identity") == identity:
            training.resume(saved["state"])
            self.log(f"Continuing after epoch {training.finished_epochs - 1} of {self.config.epochs}.")
        pictures = (training.epochs - training.finished_epochs) * training.pictures_per_epoch
        with Progress("fine-tuning", pictures, "images", self.log) as progress:
            while training.finished_epochs < training.epochs:
                row = training.run_epoch(progress.advance)
                self.log(
                    f"Epoch {row['epoch']} of {self.config.epochs}: training loss {row['training_loss']:.3f}; "
                    f"held out: loss {row['holdout_loss']:.3f}, accuracy {row['holdout_accuracy']:.3f}"
                )
                with self.lake.publish(path) as temporary:
                    torch.save({"identity": identity, "state": training.state()}, temporary)
                    require_unchanged(self.lake, shard.provenance)  # before others resume from this state


def _state_of(shard: Shard) -> Artifact:
    return Artifact("training", shard.artifact.asset, suffix="pt")


def _figures(finetuned: Finetuned) -> dict[str, Any]:
    best = finetuned.curves[finetuned.best_epoch]
    return {
        "classes": len(finetuned.head.species_ids),
        "train_rows": finetuned.rows,
        "holdout_rows": finetuned.holdout_rows,
        "holdout_accuracy": best["holdout_accuracy"],
        "best_epoch": finetuned.best_epoch,
        "curves": finetuned.curves,
    }
