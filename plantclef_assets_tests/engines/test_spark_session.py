"""Sessions of Spark: their configuration, and the sentence where there is none to be had. None of this needs Java."""

import os
import sys
from pathlib import Path

import dagster
import pytest

from plantclef_assets.engines.spark_session import SparkUnavailableError, require_spark, session_config
from plantclef_assets.orchestration.resources import LocalEngine, SparkEngine, build_resources
from plantclef_assets.settings import load_settings
from plantclef_assets_tests.engines.spark_cluster import free_port


@pytest.mark.parametrize("master", ["local[2]", "local-cluster[2,1,1024]", "spark://127.0.0.1:7077"])
def test_a_master_on_this_machine_is_bound_to_loopback_and_its_workers_find_the_package(master: str) -> None:
    config = session_config(master, None, {})
    assert config["spark.master"] == master
    assert (config["spark.driver.host"], config["spark.driver.bindAddress"]) == ("127.0.0.1", "127.0.0.1")
    assert Path(config["spark.executorEnv.PYTHONPATH"].split(os.pathsep)[0], "plantclef_assets").is_dir()


@pytest.mark.parametrize("master", ["spark://master.example:7077", "yarn", "k8s://https://cluster.example"])
def test_another_machine_hears_nothing_of_loopback_and_of_folders_here(master: str) -> None:
    assert set(session_config(master, None, {})) == {"spark.master", "spark.app.name", "spark.ui.showConsoleProgress"}


def test_a_connect_server_hears_nothing_of_a_master_and_ones_own_settings_win() -> None:
    assert session_config("local[*]", "sc://host:1", {"a": "b"}) == {"spark.remote": "sc://host:1", "a": "b"}
    assert session_config("local[*]", None, {"spark.driver.host": "here"})["spark.driver.host"] == "here"


def test_without_java_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SparkUnavailableError, match=r"PLANTCLEF_ENGINE: .*apt-get install openjdk-17-jre-headless"):
        require_spark("local[2]", None)


@pytest.mark.parametrize("missing", ["pyspark", "dagster_pyspark"])
def test_without_pyspark_the_sentence_names_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(SparkUnavailableError, match=rf"{missing}, which is not installed; pip install '.*\[spark\]'"):
        require_spark("local[2]", None)


@pytest.mark.parametrize(
    ("master", "remote", "said"),
    [
        (
            "spark://127.0.0.1:{port}",
            None,
            "SPARK_MASTER: there is no answer from 'spark://127.0.0.1:.*start the master",
        ),
        ("local[*]", "sc://127.0.0.1:{port}/;x=y", "PLANTCLEF_SPARK_REMOTE: there is no answer from 'sc://127.0.0.1:"),
    ],
)
def test_an_address_where_nobody_answers_is_refused_at_once(
    master: str, remote: str | None, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "zstandard", sys)  # what a client of Spark Connect needs
    port = free_port()
    with pytest.raises(SparkUnavailableError, match=said):
        require_spark(master.format(port=port), remote and remote.format(port=port))


def test_the_settings_choose_the_engine() -> None:
    local = build_resources(load_settings(engine="local", workers=3))["engine"]
    assert isinstance(local, LocalEngine)
    assert local.workers == 3
    declared = build_resources(
        load_settings(engine="spark", spark_master="spark://host:7077", spark_config={"spark.task.cpus": "2"})
    )
    with dagster.build_resources({"engine": declared["engine"]}) as opened:
        spark = opened.engine
        assert isinstance(spark, SparkEngine)
        assert (spark.master, spark.remote, spark.config) == ("spark://host:7077", None, {"spark.task.cpus": "2"})
