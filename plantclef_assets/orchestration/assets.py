"""Assets as Dagster knows them, derived from their declarations.

What belongs here: dependencies and partition mappings, pool, backfill policy and resources. Between different static
families Dagster's default mapping is identity, which would silently let downstream run with nothing upstream, so every
edge between two families gets a mapping of its own. (https://docs.dagster.io/guides/build/partitions-and-backfills)
"""

import functools
import inspect
from datetime import timedelta
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    BackfillPolicy,
    Config,
    FreshnessPolicy,
    MaterializeResult,
    PartitionMapping,
    StaticPartitionMapping,
    asset,
)
from pydantic import Field

from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.orchestration.declaration import Asset, Graph, Input
from plantclef_assets.orchestration.materialization import materialize
from plantclef_assets.redaction import without_secrets
from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import PREFIX

ACCELERATOR_POOL = "gpu"
"""The pool of everything that uses the accelerator; its limit is one run."""


class LaunchOptions(Config):
    """What can be chosen for one launch; nothing that bytes depend on, since provenance does not record it."""

    make_again: bool = Field(
        default=False,
        description="Make artifacts again that are up to date; the bytes are the same.",
    )


def build_assets(graph: Graph, settings: Settings) -> list[AssetsDefinition]:
    """Return the assets of a graph for Dagster.

    A range of partitions is one run, so that a model is loaded once; `PLANTCLEF_SHARDS_PER_RUN` splits it for fleets.
    """
    return [_build(declared, graph, settings) for declared in graph.assets.values()]


def _build(declared: Asset, graph: Graph, settings: Settings) -> AssetsDefinition:
    @functools.wraps(declared.body)
    def run(context: AssetExecutionContext, config: LaunchOptions, **resources: Any) -> MaterializeResult:
        return materialize(
            context,
            Lineage(resources["lake"].lake, graph.recipes),
            lambda shards: declared.body(context, **resources)(shards),
            declared.shown,
            resources["accelerator"].hold if declared.accelerated else None,
            _advice(declared, settings),
            again=config.make_again,
        )

    options = inspect.Parameter("config", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=LaunchOptions)
    context, *resources = inspect.signature(declared.body).parameters.values()
    signature = inspect.Signature([context, options, *resources], return_annotation=MaterializeResult)
    run.__signature__ = signature  # type: ignore[attr-defined]  # Dagster reads options and resources from it
    run.__annotations__ = {**declared.body.__annotations__, "config": LaunchOptions, "return": MaterializeResult}
    per_run = settings.shards_per_run if declared.family else None
    return asset(
        name=declared.name,
        group_name=declared.group,
        kinds=set(declared.kinds),
        owners=list(settings.owners),
        tags=settings.tags,
        freshness_policy=_freshness(settings) if declared.for_people else None,
        description=declared.description,
        deps=[AssetDep(one.asset, partition_mapping=_mapping(declared, one, graph)) for one in declared.inputs],
        code_version=declared.code_version,
        partitions_def=declared.family.definition if declared.family else None,
        backfill_policy=BackfillPolicy.multi_run(per_run) if per_run else BackfillPolicy.single_run(),
        pool=ACCELERATOR_POOL if declared.accelerated else None,
    )(run)


def _freshness(settings: Settings) -> FreshnessPolicy | None:
    """Return when the UI calls an asset overdue; a no-op counts, since it confirms that the asset is up to date."""
    hours = settings.fresh_within_hours
    return None if hours is None else FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))


def _mapping(declared: Asset, one: Input, graph: Graph) -> PartitionMapping | None:
    """Return which upstream keys each downstream key waits for; None where Dagster's default is right."""
    upstream = graph.assets[one.asset].family
    if upstream is None:
        return None
    if one.all_keys or (one.keys and declared.family is None):
        return AllPartitionMapping()
    if one.keys is None:
        return None
    readers: dict[str, set[str]] = {}
    for key in declared.family.keys if declared.family else ():
        for read in one.keys(key):
            readers.setdefault(str(read), set()).add(key)
    return StaticPartitionMapping({key: readers[key] for key in upstream.keys if key in readers})


def _advice(declared: Asset, settings: Settings) -> str:
    """Return the sentence that names the settings, with their values, by which errors of an asset can be corrected."""
    values = {name: getattr(settings, name) for name in declared.advice}
    named = [
        f"{PREFIX}{name.upper()}={without_secrets(str(value))}" for name, value in values.items() if value is not None
    ]
    return f"Change a setting or what it names: {', '.join(named)}" if named else ""
