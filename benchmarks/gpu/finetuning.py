"""Fine-tuning: steps per second of the project's own training loop."""

import copy
import math
import os
import time
from collections.abc import Mapping
from functools import partial

import numpy as np

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.inputs import CROPS, Inputs, Shape, flops_per_picture
from plantclef_assets.lake.store import Artifact
from plantclef_assets.models.backbones import Backbone
from plantclef_assets.models.finetuning import Finetuning
from plantclef_assets.models.finetuning_config import FinetuningConfig
from plantclef_assets.models.shuffled_photographs import open_photographs

_FORWARD_AND_BACKWARD = 3
"""A backward pass has two matrix products for each of the forward pass."""
_LEARNED_SHARE = 0.9
_LARGEST_DIFFERENCE = 0.05


class FinetuningSteps:
    """Fine-tunes copies of a backbone for a few steps."""

    def __init__(self, bench: Bench, inputs: Inputs, base: Backbone):
        self._bench, self._inputs, self._base = bench, inputs, base
        self._losses: dict[int, float] = {}

    def measure(self) -> None:
        """Measure fp32 and mixed precision at the smallest batch, and mixed precision at the others."""
        bench = self._bench
        smallest, *others = bench.size.finetuning_batches
        units = {
            "rate": "steps/s",
            "images": "images/s",
            "share of peak": "%",
            "loss": "nats",
            "memory": "GB",
        }
        first = f"fp32, batch {smallest}"
        bench.results.start("fine-tuning", units, first)
        bench.arm(first, 9, partial(self._run, "fp32", smallest))
        bench.arm(f"bf16, batch {smallest}", 4, partial(self._run, "bf16", smallest))
        for batch in others:
            bench.arm(f"bf16, batch {batch}", 9, partial(self._run, "bf16", batch))
        bench.arm(f"bf16, batch {smallest}, last 4 blocks", 4, partial(self._run, "bf16", smallest, 4))

    def _run(self, precision: str, batch: int, blocks: int | None = None) -> Mapping[str, float]:
        """Time the steps of one epoch; its loss must equal that in fp32, if it was measured."""
        bench = self._bench
        config = FinetuningConfig(head_epochs=2, epochs=1, batch_size=batch, blocks=blocks)
        model = copy.deepcopy(self._base.model)
        backbone = Backbone(model, self._base.info, bench.device, "fp32")
        with open_photographs(self._inputs.lake, [Artifact("resized_images", CROPS)]) as photographs:
            train = np.arange(len(photographs.species_id)) < round(bench.size.steps * batch / _LEARNED_SHARE)
            training = Finetuning(
                backbone, photographs, train, config, precision=precision, threads=os.cpu_count() or 1
            )
            training.run_epoch()
            moments: list[float] = []
            loss = training.run_epoch(lambda pictures: moments.append(time.perf_counter()))["training_loss"]
            full_steps = training.finish().rows // batch
        step = float(np.median(np.diff(moments[:full_steps])))
        whole = blocks is None
        if whole:
            expected = self._losses.setdefault(batch, loss)
            if not math.isclose(loss, expected, rel_tol=_LARGEST_DIFFERENCE):
                raise ValueError(f"the loss is {loss:.4f} in {precision} but {expected:.4f} in fp32")
        flops = _FORWARD_AND_BACKWARD * batch * flops_per_picture(Shape.of(backbone), cls_only=False)
        share = {name: value for name, value in bench.rate(flops, step).items() if name != "rate" and whole}
        return {"rate": 1 / step, "images": batch / step, **share, "loss": loss, **bench.memory()}
