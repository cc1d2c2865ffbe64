"""New plots: a delivery goes through the chain alone, and is what was put into the inbox."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import DagsterInstance

from plantclef_assets.definitions import build_defs
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import SettingsError
from plantclef_assets_tests.defs.test_materialization import stamps
from plantclef_assets_tests.inboxes import SETTLED_AT_ONCE, Sensor, put_photograph
from plantclef_assets_tests.tiny import failed_checks, materialize, tiny_settings

OwnLake = Callable[..., Settings]


@pytest.fixture
def with_inbox(own_lake: OwnLake, tmp_path: Path) -> Settings:
    """A copy of the tiny lake with an inbox in which two photographs lie, and one file that is none."""
    inbox = tmp_path / "inbox"
    put_photograph(inbox / "NEW-1.jpg", 1)
    put_photograph(inbox / "later" / "NEW-2.jpg", 2)
    (inbox / "page.jpg").write_text("<html>not found</html>")
    return own_lake(inbox=str(inbox), inbox_shards=3, inbox_settle_seconds=SETTLED_AT_ONCE)


def run_requested(settings: Settings, key: str) -> set[str]:
    """Run the job for one key, as the daemon does; gives the checks that did not pass."""
    with DagsterInstance.ephemeral() as instance:
        result = (
            build_defs(settings)
            .resolve_job_def("inbox_side")
            .execute_in_process(instance=instance, partition_key=key, raise_on_error=False)
        )
    assert result.success
    return {check for _, check in failed_checks(result)}


def test_a_delivery_goes_through_the_chain_alone(with_inbox: Settings) -> None:
    before = stamps(with_inbox)
    assert Sensor(with_inbox).requested() == ["00"]
    assert run_requested(with_inbox, "00") == set()
    after = stamps(with_inbox)
    assert {name: after[name] for name in before} == before, "nothing of the survey is touched"
    assert {name.removeprefix("quarantine/") for name in set(after) - set(before)} == {
        "inbox_delivery/00.parquet",
        "inbox_plots/00.parquet",
        "base_inbox_tile_embeddings/00.parquet",
        "inbox_predictions/00.parquet",
        "inbox_novelty/00.parquet",
        *(f"inbox_cover/00.{kind}" for kind in ("parquet", "csv", "json")),
    }
    lake, inbox = Lake(with_inbox.lake), Path(with_inbox.inbox or "")
    plots = {row["plot_id"]: row for row in lake.read(Artifact("inbox_plots", "00")).to_pylist()}
    assert {name: row["data"] for name, row in plots.items()} == {
        "NEW-1": (inbox / "NEW-1.jpg").read_bytes(),
        "NEW-2": (inbox / "later" / "NEW-2.jpg").read_bytes(),
    }
    (aside,) = lake.read(Artifact("quarantine/inbox_plots", "00")).to_pylist()
    assert (aside["source"], aside["reason"]) == ("page.jpg", "not_an_image")
    assert set(lake.read(Artifact("inbox_cover", "00")).column("plot_id").to_pylist()) == set(plots)
    assert Sensor(with_inbox).requested() == [], "what is done is not asked for again"


def test_a_photograph_is_answered_as_one_of_the_survey_is(own_lake: OwnLake, tmp_path: Path) -> None:
    """The same pictures as in shard 00 of the survey, in an inbox of a lake that has no survey."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(2):
        name = f"PLOT-{number}-20240501.jpg"
        (inbox / name).write_bytes(Path(own_lake().plot_images or "", name).read_bytes())
    no_survey = {"plot_images": None, "plot_truth": None}
    settings = own_lake(inbox=str(inbox), inbox_settle_seconds=SETTLED_AT_ONCE, **no_survey)
    lake = Lake(settings.lake)
    Path(settings.lake, "plot_manifest.parquet").unlink()
    assert Sensor(settings).requested() == ["00"]
    assert run_requested(settings, "00") == set()
    for new, of_survey in (
        ("inbox_plots", "plot_images"),
        ("base_inbox_tile_embeddings", "base_tile_embeddings"),
        ("inbox_predictions", "tile_predictions"),
        ("inbox_novelty", "tile_novelty"),
        ("inbox_cover", "species_cover"),
    ):
        one, other = lake.record(Artifact(new, "00")), lake.record(Artifact(of_survey, "00"))
        assert one is not None
        assert other is not None
        assert one.fingerprint == other.fingerprint, new


def test_what_is_no_longer_there_as_it_was_delivered_is_refused(with_inbox: Settings) -> None:
    assert Sensor(with_inbox).requested() == ["00"]
    put_photograph(Path(with_inbox.inbox or "", "NEW-1.jpg"), 7)
    result = materialize(with_inbox, "inbox_plots", first="00")
    assert not result.success
    said = "\n".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)
    assert "NEW-1.jpg in the inbox" in said and "is missing or has changed" in said
    assert not Lake(with_inbox.lake).exists(Artifact("inbox_plots", "00"))


def test_a_key_under_which_nothing_is_delivered_is_said(with_inbox: Settings) -> None:
    result = materialize(with_inbox, "inbox_delivery", first="02")
    assert not result.success
    said = "\n".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)
    assert "nothing is delivered as 02; the sensor inbox_sensor takes what arrives" in said


@pytest.mark.slow
def test_one_delivery_can_be_made_from_the_command_line(with_inbox: Settings, tmp_path: Path) -> None:
    assert Sensor(with_inbox).requested() == ["00"]
    (tmp_path / "home").mkdir()
    variables = {
        f"PLANTCLEF_{name.upper()}": str(value)
        for name, value in with_inbox.model_dump(exclude_unset=True).items()
        if isinstance(value, str | int | float)
    }
    variables |= {"PLANTCLEF_CLASSIFIER__EPOCHS": "15", "DAGSTER_HOME": str(tmp_path / "home")}
    selected = "inbox_delivery,inbox_plots,base_inbox_tile_embeddings,inbox_predictions,inbox_cover"
    command = [str(Path(sys.executable).with_name("dagster")), "asset", "materialize"]
    command += ["-m", "plantclef_assets.definitions", "--select", selected, "--partition", "00"]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(with_inbox.lake, "inbox_cover", "00.csv").is_file()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inbox": "/nowhere/inbox"}, "PLANTCLEF_INBOX: there is no folder '/nowhere/inbox'; create it"),
        ({"inbox": "https://example.org/inbox"}, "is neither a folder nor an address like gs://bucket/prefix"),
        ({"inbox_settle_seconds": 0}, "PLANTCLEF_INBOX_SETTLE_SECONDS: "),
        ({"inbox_shards": 0}, "PLANTCLEF_INBOX_SHARDS: "),
    ],
)
def test_what_cannot_be_is_one_sentence(tiny_survey: Path, tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        tiny_settings(tiny_survey, tmp_path / "lake", **changes)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
