"""Functions that make shards in the tests of engines; worker processes import them by name."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from plantclef_assets.engines.local import MakeShard
from plantclef_assets.engines.processes import worker_number
from plantclef_assets.engines.spark import task_share
from plantclef_assets.lake.store import Artifact, Lake, MissingArtifactError
from plantclef_assets.lake.tables import Shard


class UnspeakableError(Exception):
    """An error as some libraries have them, which cannot be sent from one process to another."""

    def __init__(self, what: str, where: Path) -> None:
        super().__init__(f"{what} at {where}")
        self.handle = threading.Lock()


@dataclass(frozen=True)
class FailingAt:
    """Writes the name of a shard into a file, except for one shard, which fails in some way."""

    folder: Path
    key: str
    how: str

    def __call__(self, shard: Shard) -> None:
        """Make or fail."""
        if shard.artifact.partition == self.key:
            if self.how == "missing input":
                raise MissingArtifactError(Artifact("raw_images", self.key), self.folder)
            if self.how == "unspeakable":
                raise UnspeakableError("nothing", self.folder)
            if self.how == "killed":
                os._exit(9)
            raise ValueError(f"no shard {self.key}")
        (self.folder / f"{shard.artifact.partition}.txt").write_text(str(shard.artifact))


@dataclass(frozen=True)
class TellProcess:
    """Writes which process makes a shard, and takes its time if it is told to."""

    folder: Path
    seconds: float = 0

    def __call__(self, shard: Shard) -> None:
        """Tell, then wait."""
        told = self.folder / f"{shard.artifact.partition}.pid"
        with Lake(str(self.folder)).publish(told) as temporary:
            temporary.write_text(str(os.getpid()))
        threading.Event().wait(self.seconds)


@dataclass(frozen=True)
class TellNumber:
    """Writes the number of the worker that makes a shard, once as many workers have done so as there are."""

    folder: Path
    workers: int

    def __call__(self, shard: Shard) -> None:
        """Tell, then wait for the others."""
        (self.folder / f"{shard.artifact.partition}.{worker_number()}").touch()
        deadline = time.monotonic() + 120
        while len({file.suffix for file in self.folder.iterdir()}) < self.workers and time.monotonic() < deadline:
            time.sleep(0.02)


def shards_of(*keys: str, asset: str = "made") -> list[Shard]:
    """Return shards that are to be made."""
    return [Shard(Artifact(asset, key), {"asset": asset, "partition": key}) for key in keys]


@dataclass(frozen=True)
class KilledOnce:
    """Kills its process at the first attempt at one shard; else writes the name of a shard into a file."""

    folder: Path
    key: str

    def __call__(self, shard: Shard) -> None:
        """Die once, or make."""
        died = self.folder / "died"
        if shard.artifact.partition == self.key and not died.exists():
            died.touch()
            os._exit(9)
        (self.folder / f"{shard.artifact.partition}.txt").write_text(str(shard.artifact))


@dataclass(frozen=True)
class TellShare:
    """Writes what Spark has given to the task that makes a shard."""

    folder: Path

    def __call__(self, shard: Shard) -> None:
        """Tell."""
        (self.folder / f"{shard.artifact.partition}.txt").write_text(repr(tuple(task_share())))


@dataclass(frozen=True)
class Slowly:
    """Tells that a shard is begun, takes its time, and makes it."""

    make: MakeShard
    folder: Path
    seconds: float

    def __call__(self, shard: Shard) -> None:
        """Tell, wait, make."""
        (self.folder / f"{shard.artifact.partition}.{os.getpid()}.begun").touch()
        threading.Event().wait(self.seconds)
        self.make(shard)
