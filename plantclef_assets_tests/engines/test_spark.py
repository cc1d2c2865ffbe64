"""The Spark engine in a session of this machine: one bad shard harms no other, and what is begun ends with the run."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plantclef_assets.engines.spark import SparkJobError, run_shards_on_spark, task_share
from plantclef_assets.settings import Settings
from plantclef_assets_tests.engines.makers import FailingAt, TellProcess, shards_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("wrong value", "no shard 01"),
        ("missing input", "raw_images/01 is not in the lake"),
        ("unspeakable", "nothing at"),
    ],
)
def test_a_shard_that_fails_does_not_stop_the_others_and_its_error_comes_back(
    local_session: "SparkSession", how: str, said: str, tmp_path: Path
) -> None:
    shards = shards_of("00", "01", "02", "03")
    outcomes = list(run_shards_on_spark(FailingAt(tmp_path, "01", how), shards, local_session))
    errors = {outcome.shard.artifact.partition: outcome.error for outcome in outcomes}
    assert set(errors) == {"00", "01", "02", "03"}
    assert said in str(errors.pop("01"))
    assert set(errors.values()) == {None}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["00.txt", "02.txt", "03.txt"]


def test_nothing_to_do_is_no_work(local_session: "SparkSession", tmp_path: Path) -> None:
    assert list(run_shards_on_spark(TellProcess(tmp_path), [], local_session)) == []


def test_outcomes_come_as_shards_end_and_an_interrupted_job_ends_with_them(
    local_session: "SparkSession", tmp_path: Path
) -> None:
    outcomes = run_shards_on_spark(
        TellProcess(tmp_path, 3), shards_of("00", "01", "02", "03", "04", "05"), local_session
    )
    first = next(outcomes)
    assert first.error is None
    assert first.seconds >= 3
    outcomes.close()
    time.sleep(1)  # a task that is starting at this moment still begins
    begun = {file.stem for file in tmp_path.glob("*.pid")}
    assert first.shard.artifact.partition in begun
    assert len(begun) <= 4, "the outcome came while others were being made"
    (tmp_path / "later").mkdir()
    list(run_shards_on_spark(TellProcess(tmp_path / "later"), shards_of("00", "01"), local_session))
    assert {file.stem for file in tmp_path.glob("*.pid")} <= begun, "the rest was not begun later"


def test_workers_are_processes_that_stay(local_session: "SparkSession", tmp_path: Path) -> None:
    told = []
    for job in ("a", "b"):
        (tmp_path / job).mkdir()
        list(run_shards_on_spark(TellProcess(tmp_path / job), shards_of("00", "01", "02"), local_session))
        told.append({int(file.read_text()) for file in (tmp_path / job).glob("*.pid")})
    assert len(told[0] | told[1]) <= 2, "a worker that stays keeps the model that it has opened"


def test_where_spark_gives_up_every_shard_has_an_outcome(local_session: "SparkSession", tmp_path: Path) -> None:
    shards = shards_of("00", "01", "02")
    outcomes = list(run_shards_on_spark(FailingAt(tmp_path, "01", "killed"), shards, local_session))
    errors = {outcome.shard.artifact.partition: outcome.error for outcome in outcomes}
    assert set(errors) == {"00", "01", "02"}
    assert isinstance(errors["01"], SparkJobError)
    assert "Spark gave up, so the shard was not made: Job aborted" in str(errors["01"])
    assert {key for key, error in errors.items() if error is None} <= {file.stem for file in tmp_path.iterdir()}


def test_outside_of_a_task_there_is_no_share() -> None:
    with pytest.raises(RuntimeError, match="not a Python worker of Spark"):
        task_share()


def test_the_lake_opens_as_tables(local_session: "SparkSession", tiny_lake: Settings) -> None:
    lake, spark = tiny_lake.lake, local_session
    embeddings = spark.read.parquet(f"{lake}/base_embeddings")
    assert embeddings.count() == 48
    assert dict(embeddings.dtypes)["cls"] == dict(embeddings.dtypes)["dct"] == "array<float>"
    spark.read.parquet(f"{lake}/tile_predictions").createOrReplaceTempView("tile_predictions")
    best = spark.sql("select plot_id, count(*) n from tile_predictions where rank = 1 group by plot_id").collect()
    assert {row.plot_id for row in best} == {f"PLOT-{plot}-20240501" for plot in range(4)}
