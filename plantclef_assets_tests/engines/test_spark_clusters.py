"""A real standalone master with two workers, by itself and behind a Spark Connect server."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plantclef_assets.engines.spark import run_shards_on_spark
from plantclef_assets.images.resizing import ResizedImages, ResizingConfig
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.orchestration.resources import SparkEngine
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets_tests.engines.makers import Slowly, shards_of
from plantclef_assets_tests.engines.spark_cluster import QUICK, Cluster, kill_session, processes_of_session
from plantclef_assets_tests.engines.test_local import wait_until
from plantclef_assets_tests.engines.test_spark_runs import bytes_of, remove
from plantclef_assets_tests.tiny import materialize

pytestmark = [pytest.mark.spark, pytest.mark.slow, pytest.mark.first]

KEYS = tuple(f"{number:02}" for number in range(8))


@pytest.fixture(scope="module", params=["classic", "connect"])
def way(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[dict[str, str]]:
    """The settings of both ways to the cluster; a server takes all of it, so it comes last."""
    if request.param == "classic":
        yield {"spark_master": cluster.master}
        return
    pytest.importorskip("zstandard", reason="Spark Connect needs it: pip install 'pyspark[connect]'")
    with pytest.MonkeyPatch.context() as patch, cluster.connect_server() as address:
        patch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")  # a session of Connect sets it for good; this undoes it
        yield {"spark_remote": address}


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(
    way: dict[str, str], cluster: Cluster, own_lake: Callable[..., Settings], tmp_path: Path
) -> None:
    lake = Lake(own_lake().lake)
    for key in KEYS[3:]:
        shutil.copy(lake.path(Artifact("raw_images", "00")), lake.path(Artifact("raw_images", key)))
    make, shards = ResizedImages(lake, ResizingConfig(32, 1_000_000)), shards_of(*KEYS, asset="resized_images")
    for shard in shards:
        make(shard)
    here = bytes_of(lake.root, ("resized_images",))
    remove(lake.root, ("resized_images",))

    engine = SparkEngine(master=way.get("spark_master", ""), remote=way.get("spark_remote"), config=_config(way))
    session = engine.open().spark_session
    try:
        outcomes = run_shards_on_spark(Slowly(make, tmp_path, 2), shards, session)
        ended = [next(outcomes)]
        killed = _kill_a_worker_at_work(cluster, tmp_path)
        ended += outcomes
    finally:
        session.stop()
    assert sorted(outcome.shard.artifact.partition or "" for outcome in ended) == list(KEYS)
    assert [outcome.error for outcome in ended] == [None] * len(KEYS)
    assert bytes_of(lake.root, ("resized_images",)) == here
    attempts = [file.name.split(".")[0] for file in tmp_path.glob("*.begun")]
    assert attempts.count(killed) > 1, "its shard was begun anew"
    cluster.wait_for_worker(cluster.start_worker())


def _kill_a_worker_at_work(cluster: Cluster, folder: Path) -> str:
    """Kill a worker with its executor and its Python worker, as a shard is begun; gives that shard."""
    seen = set(folder.glob("*.begun"))
    wait_until(lambda: set(folder.glob("*.begun")) > seen)
    key, process, _ = (set(folder.glob("*.begun")) - seen).pop().name.split(".")
    leader = os.getsid(int(process))
    assert leader in {worker.pid for worker in cluster.workers}
    assert len(processes_of_session(leader)) >= 3, "the worker, its executor and a Python worker"
    kill_session(leader)
    return key


@pytest.mark.sample
def test_the_sample_is_resized_and_embedded_like_here(
    way: dict[str, str], cluster: Cluster, sample: Path, sample_lake: Path, tmp_path: Path
) -> None:
    lake = str(shutil.copytree(sample_lake, tmp_path / "lake"))
    made = ("resized_images", "base_embeddings")
    here = bytes_of(lake, made)
    assert len(here) == 8
    remove(lake, made)
    settings = sample_settings(sample, lake, engine="spark", spark_config=_config(way), **way)
    assert materialize(settings, ",".join(made), first="00", last="01").success
    assert bytes_of(lake, made) == here


@pytest.fixture(scope="module")
def sample_lake(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with two small shards of the real sample, made by the local engine."""
    lake = tmp_path_factory.mktemp("sample") / "lake"
    settings = sample_settings(sample, str(lake), workers=1)
    assert materialize(settings, "training_metadata,class_map,training_manifest,base_backbone").success
    assert materialize(settings, "raw_images,resized_images,base_embeddings", first="00", last="01").success
    return lake


def sample_settings(sample: Path, lake: str, **changes: object) -> Settings:
    """Return the settings of the real sample in many small shards, with the real weights."""
    return load_settings(
        lake=lake,
        training_metadata=str(sample / "metadata.csv"),
        training_images=str(sample / "images"),
        plot_images=str(sample / "plots"),
        plot_truth=str(sample / "plots_truth.csv"),
        training_shards=48,
        base_model="vit_small_patch14_dinov2",
        base_weights=str(sample.parent / "weights" / "dinov2_vits14.safetensors"),
        base_input_size=224,
        finetuned_weights=None,
        **changes,
    )


def _config(way: dict[str, str]) -> dict[str, str]:
    return QUICK if "spark_master" in way else {}
