"""The code location: the one place where assets, checks, jobs, sensors and resources are wired together.

What belongs here: `build_defs` and the `defs` that Dagster loads. Loading imports no torch, timm, pyspark or
dagster_gcp; a test holds that. (https://docs.dagster.io/guides/build/projects)
"""

import warnings
from collections.abc import Mapping
from typing import Any

import click
from dagster import BetaWarning, Definitions, colored_console_logger, in_process_executor

from plantclef_assets.assets.backbones import backbone_assets
from plantclef_assets.assets.classifiers import classifier_assets
from plantclef_assets.assets.cover import cover_assets
from plantclef_assets.assets.embeddings import embedding_assets
from plantclef_assets.assets.images import image_assets
from plantclef_assets.assets.inbox import inbox_assets
from plantclef_assets.assets.predictions import prediction_assets
from plantclef_assets.assets.reports import report_assets
from plantclef_assets.assets.sources import source_assets
from plantclef_assets.assets.submissions import submission_assets
from plantclef_assets.assets.sweeps import sweep_assets
from plantclef_assets.assets.validation import validation_assets
from plantclef_assets.checks import build_checks
from plantclef_assets.defs.inbox_sensor import build_sensors
from plantclef_assets.orchestration.automation import build_automation, build_jobs, refuse_command, with_conditions
from plantclef_assets.orchestration.messages import end_with_failures, messages_logger
from plantclef_assets.orchestration.partitions import build_families
from plantclef_assets.orchestration.resources import build_resources
from plantclef_assets.recipes import build_recipes
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import SettingsError


def build_defs(settings: Settings | None = None, resource_overrides: Mapping[str, Any] | None = None) -> Definitions:
    """Wire the code location that the settings ask for.

    Args:
        settings: those of the environment if not given.
        resource_overrides: resources by name, in place of those that the settings give.

    Raises:
        SettingsError: a setting cannot be used.
        ClickException: Dagster's command line asks for assets or partitions that cannot be materialized so.
    """
    settings = settings or load_settings()
    families, recipes = build_families(settings), build_recipes(settings)
    refuse_command(settings, recipes)
    warnings.filterwarnings("ignore", category=BetaWarning, message="Parameter `backfill_policy`")
    assets = [
        *source_assets(settings, recipes),
        *image_assets(settings, families, recipes),
        *inbox_assets(settings, families, recipes),
        *validation_assets(settings, families, recipes),
        *backbone_assets(settings, recipes),
        *embedding_assets(settings, families, recipes),
        *classifier_assets(settings, families, recipes),
        *prediction_assets(settings, families, recipes),
        *cover_assets(settings, families, recipes),
        *submission_assets(settings, families, recipes),
        *sweep_assets(settings, recipes),
        *report_assets(settings, recipes),
    ]
    return Definitions(
        assets=with_conditions(assets, settings),
        asset_checks=build_checks(settings, recipes),
        jobs=build_jobs(settings),
        sensors=[*build_automation(settings), *build_sensors(settings, recipes)],
        resources={**build_resources(settings), **(resource_overrides or {})},
        # A run is a process: one place that holds the accelerator, and nothing that lives on when it is killed.
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
