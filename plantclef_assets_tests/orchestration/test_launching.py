"""Launches that Dagster would answer with a traceback, or with nothing, are refused in one sentence."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from dagster import (
    DagsterEventType,
)

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.orchestration.launching import refuse_command
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import materialize, tiny_settings


def command(**parameters: str | None) -> click.Context:
    """The context of Dagster's command that materializes assets."""
    context = click.Context(click.Command("materialize"))
    context.params = {"select": None, "partition": None, "partition_range": None} | parameters
    return context


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"select": "raw_images", "partition_range": "02...00"}, "02 comes after 00; give 00...02"),
        ({"select": "class_map, raw_images", "partition_range": "01...00"}, "01 comes after 00; give 00...01"),
        ({"select": "plot_images", "partition_range": "00...02"}, "there is no partition '02'; they are 00 to 01."),
        ({"select": "raw_images", "partition_range": "0...2"}, "there is no partition '0'; they are 00 to 02."),
        ({"select": "submission", "partition": "base"}, "there is no partition 'base'; they are base_cls_full to"),
        ({"select": "raw_image", "partition": "00"}, "there is no asset raw_image; did you mean raw_images?"),
        ({"select": "xyzzy"}, "there is no asset xyzzy under these settings."),
        ({"select": "class_map,raw_images"}, "raw_images has partitions; add --partition-range 00...02"),
        ({"assets": "raw_images", "partition_range": "02...00"}, "02 comes after 00; give 00...02"),
    ],
)
def test_a_launch_that_would_do_nothing_or_break_is_refused(
    parameters: dict[str, str], said: str, tiny_survey: Path, tmp_path: Path
) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake")
    with command(**parameters), pytest.raises(click.ClickException) as refused:
        refuse_command(settings, build_graph(settings))
    assert said in refused.value.message


@pytest.mark.parametrize(
    "parameters",
    [
        {"select": "raw_images,resized_images", "partition_range": "00...02"},
        {"select": "raw_images", "partition_range": "01...01"},
        {"select": "raw_images", "partition": "02"},
        {"select": "class_map"},
        {"select": "raw_images+", "partition_range": "02...00"},  # Dagster's syntax: the run itself refuses the range
    ],
)
def test_other_launches_are_left_to_dagster(parameters: dict[str, str], tiny_survey: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake")
    with command(**parameters):
        refused = refuse_command(settings, build_graph(settings))  # it raises where it refuses
    assert refused is None


def test_a_reversed_range_fails_on_every_way_to_launch_it(own_lake: Callable[..., Settings]) -> None:
    result = materialize(own_lake(), "raw_images", first="02", last="00")
    assert not result.success
    (failed,) = [event for event in result.all_events if event.event_type == DagsterEventType.STEP_FAILURE][:1]
    assert failed.step_failure_data.user_failure_data is not None
    assert "its start comes after its end; swap them" in str(failed.step_failure_data.user_failure_data.description)
