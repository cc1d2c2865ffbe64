"""Automation: the chain in the pieces that people launch, and what launches itself.

What belongs here: selections of assets that run together, under which condition an asset is requested without a person,
and what is refused of a launch. (https://docs.dagster.io/guides/build/jobs/asset-jobs,
https://docs.dagster.io/guides/automate/declarative-automation)
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import click
from dagster import (
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
    define_asset_job,
    map_asset_specs,
)

from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.settings import Settings
from plantclef_assets.settings.cron import NIGHTLY

INBOX_JOB = "inbox_side"
"""What a delivery is run through, by the sensor or by hand."""
_TRAINING_ASSETS = ("training_metadata", "class_map", "training_manifest", "raw_images", "resized_images")
_PLOT_ASSETS = ("plot_manifest", "plot_images", "tile_predictions", "species_cover")
_INBOX_ASSETS = ("inbox_delivery", "inbox_plots", "inbox_predictions", "inbox_cover")


def build_jobs(settings: Settings) -> list[Any]:
    """Make the jobs that the settings give; each works on a range of one partition family."""
    backbones, embeddings, tiles, validation_tiles, inbox_tiles = (
        [f"{backbone}_{what}" for backbone in settings.backbones]
        for what in (
            "backbone",
            "embeddings",
            "tile_embeddings",
            "validation_tile_embeddings",
            "inbox_tile_embeddings",
        )
    )
    demo = ["demo_survey"] if settings.uses_demo_survey else []
    # What is trained here waits for every shard, so it is no part of a run over some of them.
    later = {"finetuned_backbone", "finetuned_embeddings"} if settings.trains_backbone else set()
    jobs = []
    reports = ["embedding_map"] if settings.compares_backbones else []
    if settings.has_training:
        jobs.append(
            define_asset_job(
                "training_side",
                AssetSelection.assets(*demo, *_TRAINING_ASSETS, *(set(backbones + embeddings) - later)),
                description="From the training metadata to the embeddings of its photographs (training shards).",
            )
        )
        if later:
            jobs.append(
                define_asset_job(
                    "finetuning",
                    AssetSelection.assets(*later),
                    description="The backbone that is fine-tuned here, and its embeddings; needs all training shards.",
                )
            )
    else:
        jobs.append(
            define_asset_job(
                "checkpoint",
                AssetSelection.assets("class_map", *backbones),
                description="The fine-tuned backbone, and the class map from its own class list.",
            )
        )
    jobs.append(
        define_asset_job(
            "classifiers",
            AssetSelection.assets("classifier", *reports),
            description="The classifier of each feature set, and the map of two backbones; needs all training shards.",
        )
    )
    if settings.composes_plots:
        jobs.append(
            define_asset_job(
                "validation_side",
                AssetSelection.assets("validation_plots", *validation_tiles),
                description="Plots composed of held-out photographs, and their tiles; needs all training shards.",
            )
        )
    if settings.has_plots:
        jobs += [
            define_asset_job(
                "plot_sources",
                AssetSelection.assets(*demo, "plot_manifest"),
                description="The list of the survey's plots: says within seconds what is wrong with their source.",
            ),
            define_asset_job(
                "plot_side",
                AssetSelection.assets(*_PLOT_ASSETS, *tiles),
                description="From the survey's photographs to the species of each tile and their cover (plot shards).",
            ),
            define_asset_job(
                "results",
                AssetSelection.assets("submission", "leaderboard", "run_agreement"),
                description="The submission of each run, the leaderboard, how alike runs are; needs all plot shards.",
            ),
        ]
    if settings.has_inbox:
        jobs.append(
            define_asset_job(
                INBOX_JOB,
                AssetSelection.assets(*_INBOX_ASSETS, *inbox_tiles),
                description="From what was delivered through the inbox to the cover of its species (deliveries).",
            )
        )
    if settings.sweeps:
        jobs.append(
            define_asset_job(
                "rule_sweep",
                AssetSelection.assets("sweep"),
                description="Every rule of a grid, scored on plots whose species are known; needs all their tiles.",
            )
        )
    return jobs


def with_conditions(assets: Sequence[AssetsDefinition], settings: Settings) -> Sequence[AssetsDefinition]:
    """Give each asset the condition under which the sensor requests it.

    Sources and shards are requested where they are missing when the schedule's time comes; what needs all shards of
    something, and all that comes after it, also when its inputs have been made anew. Nothing is requested before all
    its inputs are there, nor twice: what fails waits for the next time.
    """
    due = AutomationCondition.cron_tick_passed(settings.schedule or NIGHTLY, settings.schedule_timezone)
    missing = due & AutomationCondition.missing()
    inputs_are_there = ~AutomationCondition.any_deps_missing() & ~AutomationCondition.any_deps_in_progress()
    can_begin = inputs_are_there & ~AutomationCondition.in_progress()
    inputs_failed = AutomationCondition.any_deps_match(
        AutomationCondition.any_checks_match(AutomationCondition.check_failed(), blocking_only=True)
    )
    shard = missing.since_last_handled() & can_begin
    follower = (missing | AutomationCondition.any_deps_updated()).since_last_handled() & can_begin & ~inputs_failed
    specs = {spec.key.to_user_string(): spec for asset in assets for spec in asset.specs}
    follows = {name: _needs_all_shards(spec, specs) for name, spec in specs.items()}

    def with_condition(spec: AssetSpec) -> AssetSpec:
        name = spec.key.to_user_string()
        if name.startswith("inbox_") or "_inbox_" in name:
            return spec  # a delivery that has not come is not missing; the inbox's own sensor asks for those that have
        return spec.replace_attributes(automation_condition=follower if follows[name] else shard)

    return map_asset_specs(with_condition, assets)


def _needs_all_shards(spec: AssetSpec, specs: Mapping[str, AssetSpec]) -> bool:
    """Tell whether an asset waits for a whole partition family, or for something that does.

    Edges between two families are those that name a mapping.
    """
    return any(
        dep.partition_mapping is not None or _needs_all_shards(specs[dep.asset_key.to_user_string()], specs)
        for dep in spec.deps
    )


def build_automation(settings: Settings) -> list[AutomationConditionSensorDefinition]:
    """Make what evaluates the conditions: it runs where the settings give a schedule, and else can be switched on."""
    return [
        AutomationConditionSensorDefinition(
            "materialize_missing",
            target=AssetSelection.all(),
            default_status=DefaultSensorStatus.RUNNING if settings.schedule else DefaultSensorStatus.STOPPED,
            minimum_interval_seconds=30,
            description=f"Requests what is missing at '{settings.schedule or NIGHTLY}' ({settings.schedule_timezone}), "
            "and what needs all shards when all are in. PLANTCLEF_SCHEDULE sets the time and switches it on.",
        )
    ]


def refuse_command(settings: Settings, recipes: Mapping[str, Recipe]) -> None:
    """Refuse what Dagster's command line is asked for where Dagster itself would fail with a traceback, or do nothing.

    Raises:
        click.ClickException: the definitions are loaded by such a command; it ends with the message alone.
    """
    command = click.get_current_context(silent=True)
    if command is None or "partition_range" not in command.params:
        return
    selection = command.params.get("select") or command.params.get("assets") or ""
    plain = [name.strip() for name in selection.split(",") if re.fullmatch(r"\s*\w+\s*", name)]
    for name in plain:
        if name not in recipes:
            close = get_close_matches(name, recipes, n=1)
            hint = f"; did you mean {close[0]}?" if close else " under these settings."
            raise click.ClickException(f"there is no asset {name}{hint}")
    partitioned = {name: family for name in plain if (family := recipes[name].partitions)}
    family = next(iter(partitioned.values()), None)
    keys = command.params.get("partition_range")
    if keys and settings.shards_per_run:
        raise click.ClickException(
            f"PLANTCLEF_SHARDS_PER_RUN: {settings.shards_per_run} cuts backfills into runs that a daemon launches, but "
            "a range on the command line is one run; unset it for this command, or launch the range in the UI."
        )
    if family and keys and keys.count("...") == 1:
        first, last = keys.split("...")
        _require_key(first, family, "--partition-range")
        _require_key(last, family, "--partition-range")
        if family.index(first) > family.index(last):
            raise click.ClickException(f"--partition-range: {first} comes after {last}; give {last}...{first}")
    elif family and command.params.get("partition"):
        _require_key(command.params["partition"], family, "--partition")
    elif family and not keys:
        name = next(iter(partitioned))
        raise click.ClickException(f"{name} has partitions; add --partition-range {family[0]}...{family[-1]}")


def _require_key(key: str, family: Sequence[str], option: str) -> None:
    if key not in family:
        raise click.ClickException(f"{option}: there is no partition '{key}'; they are {family[0]} to {family[-1]}.")
