"""Backfills on the deployed platform: launched by GraphQL, by the schedule, after failures and kills.

The tests share one platform and build on each other's backfills, in this order.
"""

import os
import signal
from pathlib import Path

import pytest

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.deployment.platform import Platform, differing_shards
from plantclef_assets_tests.deployment.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.first]
KEYS = [f"{number:02d}" for number in range(8)]


def assert_checked(platform: Platform, *assets: str, apart_from: frozenset[str] = frozenset()) -> None:
    """Wait for the checks, which run after what they check has been recorded; all pass but those that are named."""
    for asset in assets:

        def ended(asset: str = asset) -> bool:
            return not {"IN_PROGRESS", "NOT EXECUTED"} & set(platform.check_results(asset).values())

        wait_for(ended, 120, f"the checks of {asset}")
        results = platform.check_results(asset)
        assert results
        assert {name for name, status in results.items() if status != "SUCCEEDED"} <= apart_from


def test_a_shard_that_fails_leaves_the_others_and_is_redone_alone(platform: Platform, local_lake: Settings) -> None:
    broken = Lake(platform.settings.lake).path(Artifact("resized_images", "01"))
    content = broken.read_bytes()
    broken.unlink()
    backfill = platform.launch("base_embeddings", keys=KEYS[:4])
    assert platform.finish(backfill) == "COMPLETED_FAILED"
    known = platform.partitions("base_embeddings")
    assert (known["materialized"], known["failed"]) == ({"00", "02", "03"}, {"01"})
    stamps = {path: path.stat().st_mtime_ns for path in platform.embedded()}
    assert [path.stem for path in stamps] == ["00", "02", "03"]
    broken.write_bytes(content)
    again = platform.launch_failed(backfill)
    assert platform.finish(again) == "COMPLETED_SUCCESS"
    assert platform.partitions("base_embeddings")["failed"] == set()
    assert [path.stem for path in platform.embedded()] == KEYS[:4]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert_checked(platform, "base_embeddings")


def test_the_schedule_asks_for_missing_shards_and_then_for_what_needs_them(
    platform: Platform, local_lake: Settings
) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in platform.embedded()}
    platform.switch_sensor("start")
    try:
        wait_for(lambda: not platform.partitions("base_embeddings")["unmaterialized"], 300, "the missing shards")
        wait_for(lambda: not platform.partitions("classifier")["unmaterialized"], 300, "the classifiers")
    finally:
        platform.switch_sensor("stop")
    assert differing_shards(platform.settings, local_lake, "base_embeddings") == []
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert_checked(platform, "base_embeddings")
    assert_checked(platform, "classifier", apart_from=frozenset({"stopped_early"}))  # it is given few epochs


@pytest.mark.parametrize("killed", ["run", "daemon", "postgres"])
def test_what_is_killed_in_the_middle_is_finished_by_launching_it_again(
    platform: Platform, local_lake: Settings, killed: str
) -> None:
    platform.forget_embeddings()
    backfill = platform.launch("base_embeddings")
    wait_for(lambda: len(platform.embedded()) >= 2, 120, "the first shards")
    if killed == "run":
        os.kill(platform.run_process(), signal.SIGKILL)
    else:
        server = platform.daemon if killed == "daemon" else platform.postgres.server
        server.kill()
    finished = {path: path.stat().st_mtime_ns for path in platform.embedded()}
    assert len(finished) < len(KEYS), "the kill was meant to come in the middle"
    if killed == "daemon":
        platform.daemon.restart()
    elif killed == "postgres":
        platform.postgres.server.restart()
        platform.postgres.wait()
    wait_for(platform.is_healthy, 90, "the daemon")
    again = platform.launch("base_embeddings")
    assert platform.finish(again) == "COMPLETED_SUCCESS"
    platform.finish(backfill)
    assert differing_shards(platform.settings, local_lake, "base_embeddings") == []
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not [path for path in Path(platform.settings.lake, "base_embeddings").iterdir() if path.name[0] == "."]
    assert_checked(platform, "base_embeddings")
