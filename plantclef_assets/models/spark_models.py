"""Embedding on Spark: each Python worker opens the backbone once and uses it for all its shards.

A worker computes on the GPU that Spark has assigned to its task (`spark.task.resource.gpu.amount`), else on the device
of the settings, with one thread for each core of the task. Precision and compilation are resolved on the driver, since
they are part of the provenance of the shards. torch is imported on the workers only.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from plantclef_assets.engines.local import MakeShard
from plantclef_assets.engines.spark import task_share
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard

if TYPE_CHECKING:
    from plantclef_assets.models.backbones import Backbone
    from plantclef_assets.models.embedding import Embedding

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedOnSpark:
    """Writes shards of embeddings in a Python worker of Spark.

    Attributes:
        lake: the lake.
        weights: the backbone's artifact.
        fingerprint: fingerprint of the weights; a worker reopens the backbone if it changes.
        features: returns the writer of shards for an open backbone.
        device: `auto`, `cpu`, `cuda` or `mps`; a GPU assigned by Spark is used for `auto` and `cuda`.
        precision: `fp32`, `bf16` or `fp16`.
        compiled: whether forward passes are compiled.
        batch_size: pictures per forward pass.
    """

    lake: Lake
    weights: Artifact
    fingerprint: str
    features: Callable[["Embedding"], MakeShard]
    device: str
    precision: str
    compiled: bool
    batch_size: int

    def __call__(self, shard: Shard) -> None:
        """Write one shard."""
        from plantclef_assets.models.embedding import Embedding

        cpus, gpu = task_share()
        path = self.lake.local(self.lake.path(self.weights))
        model = _open_once(path, self.fingerprint, device_of(self.device, gpu), self.precision, self.compiled, cpus)
        self.features(Embedding(model, self.batch_size, cpus, log=_log.warning))(shard)


def device_of(device: str, gpu: str | None) -> str:
    """Return the name of a task's device: the GPU at the address assigned by Spark, if the setting allows one."""
    return f"cuda:{gpu}" if gpu is not None and device in ("auto", "cuda") else device


@lru_cache(maxsize=1)
def _open_once(
    weights: Path, fingerprint: str, device: str, precision: str, compiled: bool, threads: int
) -> "Backbone":
    import torch

    from plantclef_assets.models.backbone_files import open_backbone

    torch.set_num_threads(threads)
    backbone = open_backbone(weights, device, precision, "on" if compiled else "off")
    if backbone.device.index is not None:
        torch.cuda.set_device(backbone.device)  # pinned memory and streams belong to the current device
    return backbone
