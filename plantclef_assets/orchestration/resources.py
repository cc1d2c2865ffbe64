"""Resources: the lake, the engine and the accelerator, as Dagster passes them to assets.

What belongs here: the connection between Dagster and the machine. What does not: what is computed with it.
(https://docs.dagster.io/guides/build/external-resources)
"""

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from getpass import getuser
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

from dagster import ConfigurableResource, InitResourceContext, ResourceDefinition, resource
from filelock import FileLock, Timeout
from pydantic import PrivateAttr

from plantclef_assets.engines.local import MakeShard, Outcome, run_shards
from plantclef_assets.engines.spark import run_shards_on_spark
from plantclef_assets.engines.spark_session import (
    SparkUnavailableError,
    python_of_this_process,
    require_spark,
    session_config,
)
from plantclef_assets.lake.buckets import explained
from plantclef_assets.lake.filesystems import is_in_bucket
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.redaction import without_secrets, without_secrets_in
from plantclef_assets.settings import Settings

if TYPE_CHECKING:
    from dagster_pyspark import LazyPySparkResource

_WAIT_LOGGED_EVERY_SECONDS = 30


class LakeResource(ConfigurableResource):
    """The root of all artifacts; in a bucket, with client and credentials from dagster-gcp's GCSResource."""

    root: str
    cache: str
    _client: Any = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Create the client, and check the bucket before any work.

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


class EngineResource(ConfigurableResource, ABC):
    """The engine that runs shards."""

    @property
    @abstractmethod
    def opens_models(self) -> bool:
        """Whether its workers load models themselves; otherwise models run in the process of the run."""

    @abstractmethod
    def run(self, make: MakeShard, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """Run a maker on shards in parallel; yield the outcome of each when it ends."""


class LocalEngine(EngineResource):
    """Worker processes of this machine, for CPU work."""

    workers: int

    @property
    def opens_models(self) -> bool:
        """False: only the run that holds the accelerator starts processes that use it, one for each device."""
        return False

    def run(self, make: MakeShard, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """Run a maker on shards in parallel; yield the outcome of each when it ends."""
        return run_shards(make, shards, workers=self.workers)


class SparkEngine(EngineResource):
    """Spark's Python workers: one session per run, opened by the first shard and stopped when the run ends.

    dagster-pyspark's resource opens the session and never stops it, so it is stopped here.
    """

    master: str
    remote: str | None
    config: Mapping[str, str]
    _pyspark: "LazyPySparkResource | None" = PrivateAttr(default=None)

    @property
    def opens_models(self) -> bool:
        """True: Spark assigns devices to its workers, and the accelerator of this machine stays free."""
        return True

    def run(self, make: MakeShard, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """Run a maker on shards as the tasks of one job; yield the outcome of each.

        Raises:
            SparkUnavailableError: there is no Spark to run on.
        """
        yield from run_shards_on_spark(make, shards, self.open().spark_session)

    def open(self) -> "LazyPySparkResource":
        """Return dagster-pyspark's resource with its session open, for your own Spark work.

        Raises:
            SparkUnavailableError: there is no Spark to run on.
        """
        if self._pyspark is None:
            require_spark(self.master, self.remote)
            from dagster_pyspark import LazyPySparkResource

            pyspark = LazyPySparkResource(spark_config=session_config(self.master, self.remote, self.config))
            with python_of_this_process():
                try:
                    pyspark.spark_session  # noqa: B018 (reading the attribute opens the session)
                except Exception as error:
                    variable, address = ("REMOTE", self.remote) if self.remote else ("MASTER", self.master)
                    raise SparkUnavailableError(
                        f"PLANTCLEF_SPARK_{variable}: no session could be opened at '{without_secrets(address)}': "
                        f"{without_secrets_in(str(error))}"
                    ) from error
            self._pyspark = pyspark
        return self._pyspark

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        """Stop the session at the end of the run."""
        if self._pyspark is not None:
            self._pyspark.spark_session.stop()
            self._pyspark = None


class AcceleratorResource(ConfigurableResource):
    """The devices that models run on, held together by one run at a time.

    Dagster's pool queues the runs of a deployment. The file lock also serialises runs of the command line, which are in
    no queue; the kernel releases it when its process dies.
    """

    device: str
    precision: str
    compile: str
    batch_size: int
    threads: int
    lock_folder: str

    @contextmanager
    def hold(self, log: Callable[[str], None]) -> Iterator[None]:
        """Wait until the accelerator is free, and hold it until the block ends."""
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


def _engine(settings: Settings) -> EngineResource | ResourceDefinition:
    return _spark_engine(settings) if settings.engine == "spark" else LocalEngine(workers=settings.workers)


def _spark_engine(settings: Settings) -> ResourceDefinition:
    """Return a resource without configuration: Dagster stores that of resources, and Spark's may have passwords."""

    @resource(description=SparkEngine.__doc__)
    def engine(context: InitResourceContext) -> Iterator[SparkEngine]:
        config = dict(settings.spark_config)
        spark = SparkEngine(master=settings.spark_master, remote=settings.spark_remote, config=config)
        try:
            yield spark
        finally:
            spark.teardown_after_execution(context)

    return engine


def build_resources(settings: Settings) -> dict[str, ConfigurableResource | ResourceDefinition]:
    """Return the resources that the settings ask for, by the parameter names that assets use."""
    return {
        "lake": LakeResource(root=settings.lake, cache=settings.cache),
        "engine": _engine(settings),
        "accelerator": AcceleratorResource(
            device=settings.device,
            precision=settings.precision,
            compile=settings.compile,
            batch_size=settings.batch_size,
            threads=settings.workers,
            lock_folder=os.environ.get("DAGSTER_HOME") or str(Path(gettempdir(), f"plantclef-{getuser()}")),
        ),
    }
