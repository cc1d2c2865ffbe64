"""Several devices of one machine: a process for each shares the shards of a range, and nothing else changes.

Two CPU devices stand in for two GPUs.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import failed_checks, materialize

OwnLake = Callable[..., Settings]


def recorded(instance: DagsterInstance, asset: str) -> dict[str | None, str]:
    """Return the state of each materialization of an asset by partition; there is one of each."""
    records = instance.fetch_materializations(AssetKey(asset), limit=100).records
    events = [record.asset_materialization for record in records]
    states = {event.partition: str(event.metadata["state"].value) for event in events if event}
    assert len(states) == len(events)
    return states


def logged(instance: DagsterInstance) -> list[str]:
    """Return all log lines of the only run."""
    (run,) = instance.get_runs()
    return [entry.user_message for entry in instance.all_logs(run.run_id)]


@pytest.mark.slow
@pytest.mark.parametrize("asset", ["base_embeddings", "base_tile_embeddings"])
def test_two_devices_write_the_bytes_of_one(asset: str, own_lake: OwnLake) -> None:
    settings = own_lake(device="cpu,cpu", workers=2)
    made_by_one = {path: path.read_bytes() for path in sorted((Path(settings.lake) / asset).glob("*.parquet"))}
    for path in made_by_one:
        path.unlink()
    keys = [path.stem for path in made_by_one]
    with DagsterInstance.ephemeral() as instance:
        result = materialize(settings, asset, first=keys[0], last=keys[-1], instance=instance)
        assert result.success
        assert recorded(instance, asset) == dict.fromkeys(keys, "made")
        assert any("on cpu, cpu: " in line for line in logged(instance))
    assert not failed_checks(result)
    assert {path: path.read_bytes() for path in made_by_one} == made_by_one


@pytest.mark.slow
def test_a_shard_that_fails_on_one_device_harms_no_other(own_lake: OwnLake) -> None:
    settings = own_lake(device="cpu,cpu", workers=2)
    lake = Lake(settings.lake)
    made = {key: lake.path(Artifact("base_embeddings", key)) for key in ("00", "01", "02")}
    before = {key: path.read_bytes() for key, path in made.items()}
    for path in made.values():
        path.unlink()
    damaged = lake.path(Artifact("resized_images", "01"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3] ^= 0xFF
    damaged.write_bytes(content)
    with DagsterInstance.ephemeral() as instance:
        assert not materialize(settings, "base_embeddings", first="00", last="02", instance=instance).success
        assert recorded(instance, "base_embeddings") == {"00": "made", "02": "made"}
    assert {key: path.read_bytes() for key, path in made.items() if path.exists()} == {
        key: before[key] for key in ("00", "02")
    }


def test_a_single_shard_needs_no_process(own_lake: OwnLake) -> None:
    settings = own_lake(device="cpu,cpu")
    path = Lake(settings.lake).path(Artifact("base_embeddings", "01"))
    content = path.read_bytes()
    path.unlink()
    with DagsterInstance.ephemeral() as instance:
        assert materialize(settings, "base_embeddings", first="01", instance=instance).success
        assert any("on cpu in fp32, not compiled" in line for line in logged(instance))
    assert path.read_bytes() == content
