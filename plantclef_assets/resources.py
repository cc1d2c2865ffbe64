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
from typing import Any

from dagster import ConfigurableResource, InitResourceContext
from filelock import FileLock, Timeout
from pydantic import PrivateAttr

from plantclef_assets.engines.local import MakeShard, Outcome, run_shards
from plantclef_assets.lake.buckets import explained
from plantclef_assets.lake.filesystems import is_in_bucket
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Lake
from plantclef_assets.settings import Settings

_WAIT_LOGGED_EVERY_SECONDS = 30


class LakeResource(ConfigurableResource):
    """The root of all artifacts; in a bucket, with client and credentials from dagster-gcp's GCSResource."""

    root: str
    cache: str
    _client: Any = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Make the client, and make sure of the bucket before any work.

        Raises:
            UnreachableBucketError: there is no such bucket, or it may not be used.
        """
        if is_in_bucket(self.root):
            from dagster_gcp import GCSResource

            with explained(self.root):
                self._client = GCSResource().get_client()
            self.lake.require()

    @property
    def lake(self) -> Lake:
        """The lake itself."""
        return Lake(self.root, self.cache, self._client)


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
        "lake": LakeResource(root=settings.lake, cache=settings.cache),
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
