"""Embedding in worker processes: each opens the backbone once and uses it for all its shards.

What a worker computes with is its share of the machine: one of the devices of the settings in a process of the local
engine, or what Spark has assigned to the task. Precision and compilation are resolved in the process of the run, since
they are part of the provenance of the shards. torch is imported in the workers only.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plantclef_assets.engines.local import MakeShard
from plantclef_assets.engines.processes import worker_number
from plantclef_assets.engines.spark import task_share
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard

if TYPE_CHECKING:
    from plantclef_assets.models.backbones import Backbone
    from plantclef_assets.models.embedding import Embedding

_log = logging.getLogger(__name__)


class Share(NamedTuple):
    """What a worker computes with: the name of its device, and its number of threads, for torch and for decoding."""

    device: str
    threads: int


@dataclass(frozen=True)
class DeviceShare:
    """The share of a worker process of the local engine: the device of its number, and as many threads as the others.

    Attributes:
        devices: a device for each worker.
        threads: threads of all workers together.
    """

    devices: tuple[str, ...]
    threads: int

    def __call__(self) -> Share:
        """Return the share of this process."""
        return Share(self.devices[worker_number()], max(1, self.threads // len(self.devices)))


@dataclass(frozen=True)
class SparkShare:
    """The share of a task of Spark: its cores, and the GPU that Spark has assigned to it if there is one.

    Attributes:
        device: the device of the settings; an assigned GPU is used for `auto` and `cuda`.
    """

    device: str

    def __call__(self) -> Share:
        """Return the share of the running task (`spark.task.cpus`, `spark.task.resource.gpu.amount`)."""
        cpus, gpu = task_share()
        return Share(device_of(self.device, gpu), cpus)


@dataclass(frozen=True)
class EmbedInWorker:
    """Writes shards of embeddings in a worker process.

    Attributes:
        lake: the lake.
        weights: the backbone's artifact.
        fingerprint: fingerprint of the weights; a worker reopens the backbone if it changes.
        features: returns the writer of shards for an open backbone.
        share: returns what the worker computes with; called in the worker.
        precision: `fp32`, `bf16` or `fp16`.
        compiled: whether forward passes are compiled.
        batch_size: pictures per forward pass.
    """

    lake: Lake
    weights: Artifact
    fingerprint: str
    features: Callable[["Embedding"], MakeShard]
    share: Callable[[], Share]
    precision: str
    compiled: bool
    batch_size: int

    def __call__(self, shard: Shard) -> None:
        """Write one shard."""
        from plantclef_assets.models.embedding import Embedding

        device, threads = self.share()
        path = self.lake.local(self.lake.path(self.weights))
        model = _open_once(path, self.fingerprint, device, self.precision, self.compiled, threads)
        self.features(Embedding(model, self.batch_size, threads, log=_log.warning))(shard)


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
    return open_backbone(weights, device, precision, "on" if compiled else "off")
