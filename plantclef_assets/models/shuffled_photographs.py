"""Photographs in random order: what a model is fine-tuned on, read again in every epoch.

Shards are cut in the order of names, which is that of species in the published folders, so a window over them would
show a model few species at a time. All encoded photographs are therefore laid out once in one temporary file, from
which they are read in any order; the operating system keeps in memory what fits. The file has no name, so it goes
with its process, however that ends. (1.4 million crops of 128 px take some 14 GB in TMPDIR.)
"""

import mmap
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from plantclef_assets.lake.store import Artifact, Lake

_BATCHES_AHEAD = 2
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Photographs:
    """The photographs of many shards, in their order.

    Attributes:
        species_id: int64 (n,).
        obs_id: n observations, None where unknown.
        learn_tag: n tags, None where unknown.
        data: all encoded photographs, one after the other.
        ends: int64 (n,), where each of them ends in `data`.
    """

    species_id: np.ndarray
    obs_id: list[str | None]
    learn_tag: list[str | None]
    data: mmap.mmap
    ends: np.ndarray

    def encoded(self, row: int) -> bytes:
        """Give the encoded bytes of one photograph."""
        return self.data[int(self.ends[row - 1]) if row else 0 : int(self.ends[row])]


@contextmanager
def open_photographs(lake: Lake, artifacts: Sequence[Artifact]) -> Iterator[Photographs]:
    """Lay out the photographs of many shards for reading in any order.

    Raises:
        MissingArtifactError: a shard is not in the lake.
        OSError: the temporary folder (TMPDIR) has no room for them.
        ValueError: there are none.
    """
    species: list[int] = []
    observations: list[str | None] = []
    tags: list[str | None] = []
    sizes: list[int] = []
    with tempfile.TemporaryFile() as file:
        for artifact in artifacts:
            columns = ["data", "species_id", "obs_id", "learn_tag"]
            for batch in lake.open(artifact).iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
                for data in batch.column("data"):
                    sizes.append(file.write(data.as_buffer()))
                species += batch.column("species_id").to_pylist()
                observations += batch.column("obs_id").to_pylist()
                tags += batch.column("learn_tag").to_pylist()
        file.flush()
        if not sizes:
            raise ValueError("there is no photograph to learn from")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield Photographs(np.array(species, np.int64), observations, tags, data, np.cumsum(sizes))


def batches(
    rows: np.ndarray, batch_size: int, prepare: Callable[[int], torch.Tensor], threads: int
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Give the rows in batches, with what `prepare` makes of each row stacked; threads prepare what comes next."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    ahead: deque[tuple[np.ndarray, list[Future[torch.Tensor]]]] = deque()
    try:
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            ahead.append((some, [pool.submit(prepare, int(row)) for row in some]))
            if len(ahead) > _BATCHES_AHEAD:
                yield _stacked(*ahead.popleft())
        while ahead:
            yield _stacked(*ahead.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _stacked(rows: np.ndarray, prepared: Sequence[Future[torch.Tensor]]) -> tuple[np.ndarray, torch.Tensor]:
    return rows, torch.stack([one.result() for one in prepared])
