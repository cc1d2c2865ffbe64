"""The Spark engine on executors, processes of their own: what a lost one was making is made, and GPUs are assigned."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plantclef_assets.engines.spark import run_shards_on_spark
from plantclef_assets.models.worker_models import device_of
from plantclef_assets_tests.engines.makers import KilledOnce, TellShare, shards_of
from plantclef_assets_tests.engines.spark_cluster import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def executors_session(java: None, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """A session with two executors, which are processes of their own and have a GPU each, as far as Spark knows."""
    discovery = tmp_path_factory.mktemp("gpus") / "discover.sh"
    discovery.write_text("""#!/bin/sh\necho '{"name": "gpu", "addresses": ["0", "1"]}'\n""")
    discovery.chmod(0o755)
    gpus = {
        "spark.worker.resource.gpu.amount": "2",
        "spark.worker.resource.gpu.discoveryScript": str(discovery),
        "spark.executor.resource.gpu.amount": "1",
        "spark.task.resource.gpu.amount": "1",
    }
    yield from open_session("local-cluster[2,1,1024]", gpus)


@pytest.mark.spark
def test_a_worker_that_dies_is_replaced_and_its_shard_made(executors_session: "SparkSession", tmp_path: Path) -> None:
    shards = shards_of("00", "01", "02", "03")
    outcomes = list(run_shards_on_spark(KilledOnce(tmp_path, "01"), shards, executors_session))
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert (tmp_path / "died").exists()
    assert {file.stem for file in tmp_path.glob("*.txt")} == {"00", "01", "02", "03"}


@pytest.mark.spark
def test_a_task_knows_its_cores_and_the_gpu_that_spark_assigned(
    executors_session: "SparkSession", tmp_path: Path
) -> None:
    shards = shards_of(*(f"{number:02}" for number in range(8)))
    assert {outcome.error for outcome in run_shards_on_spark(TellShare(tmp_path), shards, executors_session)} == {None}
    told = {file.read_text() for file in tmp_path.glob("*.txt")}
    assert told <= {"(1, '0')", "(1, '1')"}
    assert told


@pytest.mark.parametrize(
    ("device", "gpu", "named"),
    [
        ("auto", "1", "cuda:1"),
        ("cuda", "0", "cuda:0"),
        ("cpu", "1", "cpu"),
        ("auto", None, "auto"),
        ("cuda", None, "cuda"),
    ],
)
def test_a_model_goes_to_the_gpu_that_spark_assigned(device: str, gpu: str | None, named: str) -> None:
    assert device_of(device, gpu) == named
