"""Runs on Spark: the same files as without it, a session that ends with its run, and no process that stays."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from dagster import asset
from dagster import materialize as materialize_assets

from plantclef_assets.orchestration.resources import EngineResource, SparkEngine
from plantclef_assets.settings import Settings
from plantclef_assets_tests.engines.spark_cluster import QUICK, processes_of_session
from plantclef_assets_tests.engines.test_local import wait_until
from plantclef_assets_tests.tiny import materialize

pytestmark = pytest.mark.spark

SHARDS_MADE_BY_ENGINES = {
    "training": ("raw_images", "resized_images", "base_embeddings"),
    "plots": ("plot_images", "base_tile_embeddings"),
}


def bytes_of(lake: str, assets: tuple[str, ...]) -> Mapping[str, bytes]:
    """Return the files of some assets and of their quarantine tables."""
    folders = [Path(lake, place) for asset in assets for place in (asset, f"quarantine/{asset}")]
    return {str(file.relative_to(lake)): file.read_bytes() for folder in folders for file in folder.glob("*.parquet")}


def remove(lake: str, assets: tuple[str, ...]) -> None:
    """Take the files of some assets out of a lake."""
    for name in bytes_of(lake, assets):
        Path(lake, name).unlink()


def has_session() -> bool:
    """Whether a classic session of Spark is open in this process."""
    from pyspark import SparkContext

    return SparkContext._active_spark_context is not None


@pytest.mark.slow
@pytest.mark.parametrize(("family", "last"), [("training", "02"), ("plots", "01")])
def test_a_run_on_spark_makes_the_same_files_byte_for_byte(
    java: None, family: str, last: str, own_lake: Callable[..., Settings]
) -> None:
    made = SHARDS_MADE_BY_ENGINES[family]
    settings = own_lake(engine="spark", spark_master="local[2]", spark_config=QUICK)
    before = bytes_of(settings.lake, made)
    assert len(before) == 2 * len(made) * (int(last) + 1)
    remove(settings.lake, made)
    handler = signal.getsignal(signal.SIGINT)
    assert materialize(settings, ",".join(made), first="00", last=last).success
    assert bytes_of(settings.lake, made) == before
    assert not has_session()
    assert signal.getsignal(signal.SIGINT) is handler, "Dagster ends runs by this signal"


def test_a_run_that_has_nothing_to_do_opens_no_session(
    own_lake: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(engine: SparkEngine) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr(SparkEngine, "open", refuse)
    settings = own_lake(engine="spark")
    assert materialize(settings, "resized_images,base_embeddings", first="00", last="02").success


def test_without_java_a_run_says_so(own_lake: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = own_lake(engine="spark")
    remove(settings.lake, ("resized_images",))
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    result = materialize(settings, "resized_images", first="00", last="02")
    assert not result.success
    assert "openjdk-17-jre-headless" in str(result.failure_data_for_node("resized_images"))


def test_the_session_ends_with_a_run_that_fails(java: None) -> None:
    @asset
    def failing(engine: EngineResource) -> None:
        assert isinstance(engine, SparkEngine)
        assert engine.open().spark_session.range(3).count() == 3
        assert has_session()
        raise ValueError("as it must")

    spark = SparkEngine(master="local[2]", remote=None, config=QUICK)
    assert not materialize_assets([failing], resources={"engine": spark}, raise_on_error=False).success
    assert not has_session()


PROGRAM = """
import json, sys
from pathlib import Path
from plantclef_assets.orchestration.resources import SparkEngine
from plantclef_assets_tests.engines.makers import TellProcess, shards_of
engine = SparkEngine(master="local[2]", remote=None, config=json.loads(sys.argv[2]))
for outcome in engine.run(TellProcess(Path(sys.argv[1]), float(sys.argv[3])), shards_of("00", "01")):
    raise ValueError("as it must")
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["failed", "killed"])
def test_no_process_of_spark_outlives_its_run(java: None, end: str, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), json.dumps(QUICK), "600" if end == "killed" else "0"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: any(tmp_path.glob("*.pid")) or run.poll() is not None, seconds=180)
        assert end == "failed" or len(processes_of_session(run.pid)) >= 3, "the run, Java and a worker"
    finally:
        if end == "killed":
            run.send_signal(signal.SIGKILL)
        run.wait()
    assert any(tmp_path.glob("*.pid"))
    wait_until(lambda: not processes_of_session(run.pid), seconds=60)
