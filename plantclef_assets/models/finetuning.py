"""Fine-tuning of a backbone on the species of the training photographs.

First only the classifier learns, on the [CLS] of the photographs, which takes one pass; then the last blocks or all of
them learn with it, as in the organisers' PlantCLEF 2024 baseline ("only classifier, then all", Zenodo 10848263). A
backbone that starts with a good classifier keeps its features (Kumar et al. 2022, arXiv 2202.10054). Deeper layers
learn more slowly (layer-wise decay, as in BEiT, arXiv 2106.08254). Plants are pasted together, since plots are
mixtures. Logit adjustment (Menon et al. 2021, arXiv 2007.07314) compensates for the long tail: the logarithm of the
class shares is added in the loss only. The result is a running average of the weights (EMA), of the epoch with the
least loss on held-out training observations; the validation side is not used.

Every epoch has a generator with its own seed, and its end can be saved as a `state`, so a resumed training has the same
result as an uninterrupted one; on a CPU with equal threads, bit for bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from plantclef_assets.images.decoding import decode_image
from plantclef_assets.models.backbones import Backbone
from plantclef_assets.models.data_config import eval_transform, normalise
from plantclef_assets.models.devices import PRECISIONS
from plantclef_assets.models.finetuning_config import FinetuningConfig, split_holdout
from plantclef_assets.models.shuffled_photographs import Photographs, batches
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.views import paste_together, plain_views, random_views
from plantclef_assets.models.weights import Head

import_timm()  # before any submodule of timm is imported

from timm.optim._param_groups import param_groups_layer_decay  # noqa: E402
from timm.utils.model_ema import ModelEmaV3  # noqa: E402

State = dict[str, Any]
"""State of a training after an epoch: tensors and plain values for `torch.save`."""

_WARM_UP = 0.1
"""Share of the steps in which the learning rate increases."""
_LARGEST_GRADIENT = 3.0


@dataclass(frozen=True)
class Finetuned:
    """Result of fine-tuning, besides the backbone, which is changed in place.

    Attributes:
        head: the classifier, its species ascending.
        curves: one row for each epoch: `epoch` (0 is the classifier only), `training_loss`, `holdout_loss` (both with
            adjusted logits, in nats; the latter over photographs and views) and `holdout_accuracy` (top 1, over
            photographs).
        best_epoch: the epoch of the weights.
        rows: number of photographs for training.
        holdout_rows: number of held-out photographs.
    """

    head: Head
    curves: list[dict[str, Any]]
    best_epoch: int
    rows: int
    holdout_rows: int


class _Network(torch.nn.Module):
    """A backbone and a classifier on its [CLS]."""

    def __init__(self, backbone: torch.nn.Module, width: int, classes: int):
        super().__init__()
        self.backbone = backbone
        self.head = torch.nn.Linear(width, classes)
        # The loss is convex in the head, so it can start with zeros, without random numbers.
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone.forward_features(inputs)[:, 0])  # pyright: ignore[reportCallIssue]


class Finetuning:
    """A training that can be saved and resumed after each epoch.

    Args:
        backbone: in fp32, on its device; it is changed in place.
        photographs: the photographs of all sides, as squares of one size.
        train: boolean (n,), rows of the training side.
        config: configuration of the training.
        precision: precision of the activations: `fp32`, or `bf16` or `fp16` for mixed precision; weights are float32.
        threads: number of photographs that are decoded at the same time.

    Raises:
        ValueError: there are too few photographs for training and holdout.
    """

    def __init__(
        self,
        backbone: Backbone,
        photographs: Photographs,
        train: np.ndarray,
        config: FinetuningConfig,
        *,
        precision: str = "fp32",
        threads: int = 2,
    ):
        self._backbone, self._photographs, self._config, self._threads = backbone, photographs, config, threads
        self._device, self._data_config = backbone.device, backbone.info.data_config
        self._learn, self._hold = split_holdout(photographs, train, config)
        if not len(self._hold):
            raise ValueError(f"of {np.count_nonzero(train)} training photographs none can be held out")
        species_ids, labels, counts = np.unique(
            photographs.species_id[self._learn], return_inverse=True, return_counts=True
        )
        self._species_ids = species_ids
        self._labels = np.full(len(train), -1)
        self._labels[self._learn] = labels
        self._labels[self._hold] = np.searchsorted(species_ids, photographs.species_id[self._hold])
        prior = torch.from_numpy(counts / counts.sum()).float().log()
        self._adjustment = (config.logit_adjustment * prior).to(self._device)
        self._network = _Network(backbone.model, backbone.info.embed_dim, len(species_ids)).to(self._device)
        self._average = ModelEmaV3(self._network, decay=config.average, use_warmup=True)
        self._autocast = {"device_type": self._device.type, "dtype": PRECISIONS[precision]}
        self._autocast["enabled"] = precision != "fp32"
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=precision == "fp16")
        self._optimizer = self._make_optimizer()
        self._curves: list[dict[str, Any]] = []
        self._best: State = {"loss": math.inf, "epoch": 0, "network": {}}

    @property
    def epochs(self) -> int:
        """Number of all epochs: one of the classifier only, and those of the backbone."""
        return 1 + self._config.epochs

    @property
    def pictures_per_epoch(self) -> int:
        """Number of pictures of an epoch, for progress."""
        return len(self._learn) + len(self._hold)

    @property
    def finished_epochs(self) -> int:
        """Number of finished epochs."""
        return len(self._curves)

    def state(self) -> State:
        """Return the state of the training, for `resume`."""
        return {
            "network": self._network.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "curves": self._curves,
            "best": self._best,
        }

    def resume(self, state: State) -> None:
        """Continue from a state of the same training."""
        self._curves, self._best = list(state["curves"]), state["best"]
        self._network.load_state_dict(state["network"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def run_epoch(self, advance: Callable[[int], None] = lambda pictures: None) -> dict[str, Any]:
        """Train for one epoch, and return its row of the curves.

        Raises:
            FloatingPointError: the loss is no longer finite.
        """
        epoch = self.finished_epochs
        generator = torch.Generator().manual_seed(self._config.seed * 10_000 + epoch)
        training_loss = (self._learn_head if epoch == 0 else self._learn_all)(epoch, generator, advance)
        holdout_loss, accuracy = self._evaluate(advance)
        if not math.isfinite(training_loss + holdout_loss):
            raise FloatingPointError(f"fine-tuning diverged in epoch {epoch}: lower its learning rates")
        if holdout_loss < self._best["loss"]:
            kept = {name: tensor.clone() for name, tensor in self._average.module.state_dict().items()}
            self._best = {"loss": holdout_loss, "epoch": epoch, "network": kept}
        self._curves.append(
            {
                "epoch": epoch,
                "training_loss": training_loss,
                "holdout_loss": holdout_loss,
                "holdout_accuracy": accuracy,
            }
        )
        return self._curves[-1]

    def finish(self) -> Finetuned:
        """Load the best weights into the backbone, and return the classifier and the curves."""
        self._network.load_state_dict(self._best["network"])
        self._backbone.model.eval().requires_grad_(False)
        head = Head(
            weight=self._network.head.weight.detach().float().cpu(),
            bias=self._network.head.bias.detach().float().cpu(),
            species_ids=torch.from_numpy(self._species_ids),
        )
        return Finetuned(head, self._curves, self._best["epoch"], len(self._learn), len(self._hold))

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser of the blocks that learn and of the classifier, with layer-wise learning rates."""
        config, model = self._config, self._backbone.model
        model.requires_grad_(config.blocks is None)
        model.norm.requires_grad_(True)
        blocks = list(model.blocks.children())
        for block in blocks[-(config.blocks or len(blocks)) :]:
            block.requires_grad_(True)
        groups = param_groups_layer_decay(model, config.weight_decay, layer_decay=config.layer_decay)
        head = {"params": list(self._network.head.parameters()), "weight_decay": 0.0, "lr_scale": 1.0}
        return torch.optim.AdamW([*groups, head], lr=config.learning_rate)

    def _learn_head(self, epoch: int, generator: torch.Generator, advance: Callable[[int], None]) -> float:
        """Fit the classifier to the standardised [CLS] of the photographs; return the training loss."""
        config = self._config
        cls = torch.empty(len(self._learn), self._backbone.info.embed_dim, device=self._device)
        done = 0
        with torch.no_grad(), torch.autocast(**self._autocast):
            for rows, pixels in batches(self._learn, config.batch_size, self._view, self._threads):
                inputs = normalise(pixels.to(self._device), self._data_config)
                cls[done : done + len(rows)] = self._backbone.model.forward_features(inputs)[:, 0]
                done += len(rows)
                advance(len(rows))
        mean, scale = cls.mean(0), cls.std(0, correction=0).clamp(min=1e-6)
        cls = (cls - mean) / scale
        labels = torch.from_numpy(self._labels[self._learn]).to(self._device)
        head, loss = self._network.head, 0.0
        optimizer = torch.optim.AdamW(head.parameters(), lr=config.head_learning_rate)
        for _ in range(config.head_epochs):
            loss = 0.0
            for rows in torch.randperm(len(cls), generator=generator).split(config.batch_size):
                rows = rows.to(self._device)
                error = functional.cross_entropy(head(cls[rows]) + self._adjustment, labels[rows])
                optimizer.zero_grad()
                error.backward()
                optimizer.step()
                loss += error.item() * len(rows) / len(cls)
        with torch.no_grad():  # the same function of [CLS] without standardisation
            head.weight.div_(scale)
            head.bias.sub_(head.weight @ mean)
        self._average.set(self._network)
        return loss

    def _learn_all(self, epoch: int, generator: torch.Generator, advance: Callable[[int], None]) -> float:
        """Train backbone and classifier on views in which plants are pasted together; return the training loss."""
        config, total = self._config, 0.0
        order = self._learn[torch.randperm(len(self._learn), generator=generator).numpy()]
        steps = -(-len(order) // config.batch_size)
        self._network.train()
        for step, (rows, pixels) in enumerate(batches(order, config.batch_size, self._pixels, self._threads)):
            step += (epoch - 1) * steps
            self._set_learning_rate((step + 1) / (config.epochs * steps))
            views, targets = self._views(rows, pixels, generator)
            loss = functional.cross_entropy(self._logits(self._network, views) + self._adjustment, targets)
            self._optimizer.zero_grad(set_to_none=True)
            self._scaler.scale(loss).backward()
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), _LARGEST_GRADIENT)
            self._scaler.step(self._optimizer)
            self._scaler.update()
            self._average.update(self._network, step=step)
            total += loss.item() * len(rows)
            advance(len(rows))
        return total / len(order)

    def _set_learning_rate(self, done: float) -> None:
        """Set a learning rate that rises linearly, then falls as a cosine; `done` is the share of all steps so far."""
        rate = self._config.learning_rate * min(done / _WARM_UP, 0.5 * (1 + math.cos(math.pi * done)))
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]

    @torch.inference_mode()
    def _evaluate(self, advance: Callable[[int], None]) -> tuple[float, float]:
        """Return loss and accuracy of the averaged weights on the held-out photographs.

        The loss is the mean over the photographs and over random views of them, which are the same in every epoch,
        since the backbone is used for photographs and for tiles of plots. The accuracy is over the photographs.
        """
        network, loss, right = self._average.module.eval(), 0.0, 0
        generator = torch.Generator().manual_seed(self._config.seed)
        for rows, pixels in batches(self._hold, self._config.batch_size, self._pixels, self._threads):
            labels = torch.from_numpy(self._labels[rows]).to(self._device)
            plain = torch.stack([self._view(int(row)) for row in rows])
            logits = self._logits(network, plain.to(self._device))
            views, targets = self._views(rows, pixels, generator)
            loss += functional.cross_entropy(logits + self._adjustment, labels, reduction="sum").item() / 2
            mixed = self._logits(network, views)
            loss += functional.cross_entropy(mixed + self._adjustment, targets, reduction="sum").item() / 2
            right += int((logits.argmax(1) == labels).sum())
            advance(len(rows))
        return loss / len(self._hold), right / len(self._hold)

    def _logits(self, network: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits, float32, of pixels of 0 to 255."""
        with torch.autocast(**self._autocast):
            return network(normalise(pixels, self._data_config)).float()

    def _views(
        self, rows: np.ndarray, pixels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return views with values of 0 to 255, the first ones pasted, the last ones plain, and their targets."""
        config, side = self._config, self._data_config.input_size
        pixels, plain = pixels.to(self._device), len(rows) - round(config.plain * len(rows))
        views = random_views(pixels[:plain], side, config.smallest_crop, generator)
        views = torch.cat([views, plain_views(pixels[plain:], side, generator)])
        targets = functional.one_hot(torch.from_numpy(self._labels[rows]), len(self._species_ids)).float()
        views, targets = paste_together(views, targets.to(self._device), config.paste, config.paste_layers, generator)
        return views.mul(255), targets

    def _pixels(self, row: int) -> torch.Tensor:
        image = decode_image(self._photographs.encoded(row))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def _view(self, row: int) -> torch.Tensor:
        return eval_transform(self._data_config)(decode_image(self._photographs.encoded(row)))
