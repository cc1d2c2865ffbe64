"""Resources: the lake, the engine and the accelerator, as Dagster hands them to assets.

What belongs here: the connection between Dagster and the machine. What does not: what is computed with it.
(https://docs.dagster.io/guides/build/external-resources)
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from getpass import getuser
from pathlib import Path
from tempfile import gettempdir

from dagster import ConfigurableResource
from filelock import FileLock, Timeout

from plantclef_assets.engines.local import MakeShard, Outcome, run_shards
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Lake
from plantclef_assets.settings import Settings

_WAIT_LOGGED_EVERY_SECONDS = 30


class LakeResource(ConfigurableResource):
    """The root of all artifacts."""

    root: str

    @property
    def lake(self) -> Lake:
        """The lake itself."""
        return Lake(self.root)


class EngineResource(ConfigurableResource):
    """What runs shards of CPU work: worker processes of this machine."""

    workers: int

    def run(self, make: MakeShard, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """Make shards in parallel and give each one's outcome as it ends."""
        return run_shards(make, shards, workers=self.workers)


class AcceleratorResource(ConfigurableResource):
    """The one device that models run on, held by one run at a time.

    Dagster's pool queues the runs of a deployment; the file lock also serialises runs of the command line, which no
    queue sees, and the kernel frees it when its process dies, however that happens.
    """

    device: str
    precision: str
    compile: str
    batch_size: int
    threads: int
    lock_folder: str

    @contextmanager
    def hold(self, log: Callable[[str], None]) -> Iterator[None]:
        """Wait until the accelerator is free, and keep it until the block ends."""
        path = Path(self.lock_folder, "accelerator.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log(f"The accelerator is held by {_holder(path)}; waiting for it.")
                with suppress(Timeout):
                    lock.acquire(timeout=_WAIT_LOGGED_EVERY_SECONDS)
        try:
            path.with_suffix(".holder").write_text(f"process {os.getpid()} on {socket.gethostname()}")
            yield
        finally:
            lock.release()


def _holder(lock: Path) -> str:
    try:
        return lock.with_suffix(".holder").read_text()
    except FileNotFoundError:
        return "another run"


def build_resources(settings: Settings) -> dict[str, ConfigurableResource]:
    """Make the resources that the settings ask for, by the names that assets know them by."""
    return {
        "lake": LakeResource(root=settings.lake),
        "engine": EngineResource(workers=settings.workers),
        "accelerator": AcceleratorResource(
            device=settings.device,
            precision=settings.precision,
            compile=settings.compile,
            batch_size=settings.batch_size,
            threads=settings.workers,
            lock_folder=os.environ.get("DAGSTER_HOME") or str(Path(gettempdir(), f"plantclef-{getuser()}")),
        ),
    }
