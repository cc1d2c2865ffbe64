"""Photographs in random order, for fine-tuning, which reads them again in every epoch.

Shards follow the order of names, which is that of species in the published folders, so a window over them would contain
few species. All encoded photographs are therefore copied once into one temporary file, which is read in any order; the
operating system caches it as memory allows. The file has no name, so it disappears with its process. (1.4 million crops
of 128 px take about 14 GB in TMPDIR.)
"""

import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.prefetch import chunks, prefetch

_BATCHES_AHEAD = 2
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Photographs:
    """The photographs of many shards, in their order.

    Attributes:
        species_id: int64 (n,).
        obs_id: n observations, None if unknown.
        learn_tag: n tags, None if unknown.
        data: all encoded photographs, concatenated.
        ends: int64 (n,), the end of each of them in `data`.
    """

    species_id: np.ndarray
    obs_id: list[str | None]
    learn_tag: list[str | None]
    data: mmap.mmap
    ends: np.ndarray

    def encoded(self, row: int) -> bytes:
        """Return the encoded bytes of one photograph."""
        return self.data[int(self.ends[row - 1]) if row else 0 : int(self.ends[row])]


@contextmanager
def open_photographs(lake: Lake, artifacts: Sequence[Artifact]) -> Iterator[Photographs]:
    """Open the photographs of many shards for reading in any order.

    Raises:
        MissingArtifactError: a shard is not in the lake.
        OSError: the temporary folder (TMPDIR) has no room for them.
        ValueError: there are no photographs.
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
    """Yield the rows in batches, each with the stacked results of `prepare`; threads prepare the next batches."""
    prepared = prefetch(rows.tolist(), prepare, threads=threads, ahead=_BATCHES_AHEAD * batch_size)
    for batch in chunks(prepared, batch_size):
        yield np.array([row for row, _ in batch]), torch.stack([one.result() for _, one in batch])
