"""The code location: the one place where assets, checks, jobs, sensors and resources are wired together.

What belongs here: `build_defs` and the `defs` that Dagster loads. Loading imports no torch, timm, pyspark or
dagster_gcp; a test holds that. (https://docs.dagster.io/guides/build/projects)
"""

import warnings
from collections.abc import Mapping
from typing import Any

import click
from dagster import BetaWarning, Definitions, colored_console_logger, in_process_executor

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.defs.inbox_sensor import build_inbox_sensors
from plantclef_assets.orchestration.assets import build_assets
from plantclef_assets.orchestration.check_runner import build_checks
from plantclef_assets.orchestration.conditions import build_condition_sensor, with_conditions
from plantclef_assets.orchestration.jobs import build_jobs
from plantclef_assets.orchestration.launching import refuse_command
from plantclef_assets.orchestration.messages import end_with_failures, messages_logger
from plantclef_assets.orchestration.resources import build_resources
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import SettingsError


def build_defs(settings: Settings | None = None, resource_overrides: Mapping[str, Any] | None = None) -> Definitions:
    """Wire the code location that the settings ask for.

    Args:
        settings: those of the environment if not given.
        resource_overrides: resources by name, in place of those that the settings ask for.

    Raises:
        SettingsError: a setting cannot be used.
        ClickException: Dagster's command line asks for assets or partitions that cannot be materialized so.
    """
    settings = settings or load_settings()
    graph = build_graph(settings)
    refuse_command(settings, graph)
    warnings.filterwarnings("ignore", category=BetaWarning, message="Parameter `backfill_policy`")
    return Definitions(
        assets=with_conditions(build_assets(graph, settings), graph, settings),
        asset_checks=build_checks(graph),
        jobs=build_jobs(graph),
        sensors=[build_condition_sensor(settings), *build_inbox_sensors(settings, graph)],
        resources={**build_resources(settings), **(resource_overrides or {})},
        # A run is a process: one process holds the accelerator, and nothing outlives a run that is killed.
        executor=in_process_executor,
        loggers={"console": colored_console_logger, "messages": messages_logger},
    )


def _load() -> Definitions:
    """Wire the code location; a command line that loads it ends with what is wrong with the settings alone."""
    command = click.get_current_context(silent=True)
    if command is not None:
        end_with_failures(command)
    try:
        return build_defs()
    except SettingsError as error:
        if command is None:
            raise
        raise click.ClickException(str(error)) from None


defs = _load()
