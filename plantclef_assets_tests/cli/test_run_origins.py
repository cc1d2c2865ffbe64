"""Runs of the command line are runs of the code location: the UI lists them under their jobs and in its timeline."""

from collections.abc import Callable

import pytest
import yaml
from dagster import DagsterInstance, RunsFilter

from plantclef_assets.cli.run import materialize
from plantclef_assets.definitions import build_defs
from plantclef_assets.defs.jobs import PLOT_SIDE, PLOT_SOURCES
from plantclef_assets.orchestration.dagster_internals import LOCATION
from plantclef_assets.settings import Settings
from plantclef_assets_tests.cli.commands import PROJECT


def test_runs_are_listed_under_their_jobs_and_never_launched_again(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake()
    defs = build_defs(settings)
    of_location = RunsFilter(tags={".dagster/repository": f"__repository__@{LOCATION}"})
    with DagsterInstance.ephemeral() as instance:
        for job, keys in ((PLOT_SOURCES, ()), (PLOT_SIDE, ("00", "01"))):
            assert materialize(defs, instance, job, keys).success
        runs = {run.job_name: run for run in instance.get_runs(filters=of_location)}
    assert set(runs) == {"plot_sources", "plot_side"}
    for name, run in runs.items():
        assert run.remote_job_origin is not None
        assert run.remote_job_origin.job_name == name
        assert run.tags["dagster/max_retries"] == "0"
    assert runs["plot_side"].tags["dagster/asset_partition_range_end"] == "01"


@pytest.mark.parametrize("workspace", ["workspace.yaml", "deploy/workspace.yaml"])
def test_the_location_has_the_name_that_the_workspaces_give_it(workspace: str) -> None:
    (location,) = yaml.safe_load((PROJECT / workspace).read_text())["load_from"]
    (entry,) = location.values()
    assert entry["location_name"] == LOCATION
