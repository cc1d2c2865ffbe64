"""Materialize the whole chain: `python -m plantclef_assets`.

One Dagster run for each partition family, in order, on the instance in DAGSTER_HOME; what is up to date is left alone.
Ends with the leaderboard. The same runs can be had one by one with `dagster asset materialize`.
"""

import argparse
import sys

from dagster import DagsterInstance, Definitions, StaticPartitionsDefinition

from plantclef_assets.ingest.deliveries import keys_in_lake
from plantclef_assets.ingest.fetching import SourceError
from plantclef_assets.lake.buckets import UnreachableBucketError
from plantclef_assets.lake.provenance import Lineage, OtherSourcesError
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.partitions import build_families
from plantclef_assets.recipes import build_recipes
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.refusals import SettingsError

_RANGE = "dagster/asset_partition_range_"
_QUIET = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}


def main(arguments: list[str] | None = None) -> int:
    """Run every job over all its partitions; gives 1 where one of them fails."""
    argparse.ArgumentParser(prog="python -m plantclef_assets", description=__doc__).parse_args(arguments)
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    from plantclef_assets.definitions import defs

    try:
        Lineage(Lake(settings.lake, settings.cache), build_recipes(settings)).require_same_sources()
    except (OtherSourcesError, SourceError, UnreachableBucketError) as error:
        print(error, file=sys.stderr)
        return 1
    families = build_families(settings)
    # What is wrong with the source of the plots is said before anything is trained.
    chain: dict[str, StaticPartitionsDefinition | None] = {"plot_sources": None} if settings.has_plots else {}
    chain |= {"training_side": families.training} if settings.has_training else {"checkpoint": None}
    if settings.trains_backbone:
        chain["finetuning"] = families.training
    chain["classifiers"] = families.feature_sets
    if settings.has_plots:
        chain |= {"plot_side": families.plots, "results": families.runs}
    if settings.has_inbox and (delivered := _delivered(settings, families.inbox)):
        chain["inbox_side"] = delivered
    if settings.composes_plots:
        chain["validation_side"] = families.validation_plots
    if settings.sweeps:
        chain["rule_sweep"] = None
    with DagsterInstance.get() as instance:
        for job, family in chain.items():
            if not _materialize(defs, instance, job, family):
                print(f"{job} failed; the lines above say why. What it finished is kept.", file=sys.stderr)
                return 1
    if settings.has_plots:
        print(_leaderboard(settings))
    print(f'\nThe lake is {settings.lake}. Ask it: python -m plantclef_assets.lake "select * from leaderboard"')
    return 0


def _delivered(settings: Settings, family: StaticPartitionsDefinition) -> StaticPartitionsDefinition | None:
    """Give the keys that deliveries have taken, as a family of their own; None where there are none yet."""
    keys = keys_in_lake(Lake(settings.lake, settings.cache), "inbox_delivery", family.get_partition_keys())
    return StaticPartitionsDefinition(keys) if keys else None


def _materialize(
    defs: Definitions, instance: DagsterInstance, job: str, family: StaticPartitionsDefinition | None
) -> bool:
    keys = family.get_partition_keys() if family else []
    print(f"── {job}: {keys[0]} … {keys[-1]}" if keys else f"── {job}", flush=True)
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        tags={f"{_RANGE}start": keys[0], f"{_RANGE}end": keys[-1]} if keys else {},
        run_config=_QUIET,
        raise_on_error=False,
    )
    return result.success


def _leaderboard(settings: Settings) -> str:
    rows = Lake(settings.lake, settings.cache).read(Artifact("leaderboard")).to_pylist()
    columns = ("run", "aggregation", "f1_plot", "f1_transect", "f1_species", "species_per_plot", "plots")
    cells = [columns, *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(["", lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def _cell(value: object) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
