"""What all assets of the platform share: owners, code versions, backfill policy, and how they are grouped."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import AssetDep, AssetsDefinition, BackfillPolicy, PartitionsDefinition, asset

from plantclef_assets.ingest.downloads import Limits
from plantclef_assets.ingest.fetching import Log, fetch_file
from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.settings import Settings

OWNERS = ["team:plantclef"]
ACCELERATOR_POOL = "gpu"
"""The pool of everything that uses the accelerator; its limit is one run."""


def platform_asset(
    name: str,
    group: str,
    settings: Settings,
    recipes: Mapping[str, Recipe],
    *,
    kinds: set[str],
    deps: Sequence[str | AssetDep] = (),
    partitions: PartitionsDefinition | None = None,
    accelerated: bool = False,
    description: str | None = None,
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Make the decorator of an asset from what is its own; the rest follows from the settings and the recipes.

    A range of partitions is one run, so that a model is loaded once; `PLANTCLEF_SHARDS_PER_RUN` cuts it up for fleets.
    """
    cut_up = settings.shards_per_run if partitions is not None else None
    policy = BackfillPolicy.multi_run(cut_up) if cut_up else BackfillPolicy.single_run()
    return asset(
        name=name,
        group_name=group,
        kinds=kinds,
        owners=OWNERS,
        description=description,
        deps=deps,
        code_version=recipes[name].code_version,
        partitions_def=partitions,
        backfill_policy=policy,
        pool=ACCELERATOR_POOL if accelerated else None,
    )


def source_file(settings: Settings, location: str | None, log: Log) -> Path | None:
    """Give the local file of a source, fetched where it lies elsewhere; None where the setting is not used."""
    if location is None:
        return None
    return fetch_file(settings.resolve(location), Path(settings.cache), log, download_limits(settings))


def download_limits(settings: Settings) -> Limits:
    """Give what the downloads of a run may take together."""
    return Limits(**settings.download.model_dump())


def advice(settings: Settings, *fields: str) -> str:
    """Return the sentence that names the settings, with their values, by which errors of an asset can be corrected."""
    values = {field: getattr(settings, field) for field in fields}
    named = [f"PLANTCLEF_{field.upper()}={value}" for field, value in values.items() if value is not None]
    return f"Change a setting or what it names: {', '.join(named)}"
