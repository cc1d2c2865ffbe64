"""Materialization: what every asset does around its own work.

Missing or stale inputs are refused, artifacts that are up to date are left alone, the rest is made. Each shard gets its
own metadata in Dagster, also when others fail. What belongs here: the sequence of these steps. What does not: what is
made, and how.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetMaterialization,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableColumnConstraints,
    TableSchema,
)

from plantclef_assets.engines.local import MakeShard, Outcome, run_shards
from plantclef_assets.engines.progress import Progress
from plantclef_assets.lake.provenance import Lineage, OtherSourcesError, StaleInputError
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.sidecars import SIDECARS
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, Lake, MissingArtifactError, Record
from plantclef_assets.lake.tables import Shard
from plantclef_assets.orchestration.messages import note_failure
from plantclef_assets.orchestration.resources import EngineResource
from plantclef_assets.redaction import without_secrets_in
from plantclef_assets.settings.errors import PREFIX, SettingsError

MakeShards = Callable[[Sequence[Shard]], Iterator[Outcome]]
"""Makes shards and yields the outcome of each as it ends."""
Describe = Callable[[Lake, Artifact, Record], Mapping[str, Any]]
"""Returns metadata of an asset's own for one artifact, such as a picture."""
Hold = Callable[[Callable[[str], None]], AbstractContextManager[None]]
"""Waits, with a log, for something that one run holds at a time, and holds it during a block."""

_HIDDEN_STATISTICS = {"species", "rows", "rows_out", SIDECARS}
"""Statistics that are for checks, or that Dagster shows in its own way."""


@dataclass
class _State:
    """What is known of the artifacts of one materialization so far."""

    finished: dict[Artifact, Mapping[str, Any]] = field(default_factory=dict)
    errors: dict[Artifact, BaseException] = field(default_factory=dict)


def in_this_process(make: MakeShard) -> MakeShards:
    """Return a function that runs a maker on one shard after the other, in the process of the run."""
    return lambda shards: run_shards(make, shards, workers=1)


def in_parallel(engine: EngineResource, make: MakeShard) -> MakeShards:
    """Return a function that runs a maker in the workers of the engine."""
    return lambda shards: engine.run(make, shards)


def materialize(
    context: AssetExecutionContext,
    lineage: Lineage,
    make: MakeShards,
    describe: Describe | None = None,
    hold: Hold | None = None,
    advice: str = "",
) -> MaterializeResult:
    """Bring the artifacts of this run up to date, and record each with its metadata.

    Args:
        context: of the asset's step; it names the partitions.
        lineage: the lake and the recipes.
        make: makes what is not up to date.
        describe: returns metadata of the asset's own.
        hold: holds something while shards are made, such as the accelerator. It is not called where nothing has to be
            made. Whether artifacts are up to date is determined again once it is held: another run may have made them.
        advice: a sentence that names the settings to change where an artifact cannot be made.

    Raises:
        Failure: the lake was made from other sources, the run names no key, or some artifacts could not be made; the
            others are recorded as materialized.
    """
    recipe = lineage.recipes[context.asset_key.to_user_string()]
    keys = [None] if recipe.partitions is None else context.partition_keys
    if not keys:
        raise _failure(f"{recipe.asset}: the partition range is empty, since its start comes after its end; swap them.")
    artifacts = [recipe.artifact(key) for key in keys]
    try:
        lineage.require_same_sources()
    except OtherSourcesError as error:
        raise _failure(str(error)) from error
    shards, state = _plan(lineage, artifacts, describe, context.log.warning)
    with hold(context.log.info) if shards and hold else nullcontext():
        if shards and hold:
            lineage = Lineage(lineage.lake, lineage.recipes)
            shards, state = _plan(lineage, artifacts, describe, context.log.warning)
        if state.finished:
            context.log.info(f"{len(state.finished)} of {len(keys)} are up to date; nothing to do for them.")
        if shards:
            with Progress(recipe.asset, len(shards), "shards", context.log.info) as progress:
                for outcome in make(shards):
                    artifact = outcome.shard.artifact
                    if outcome.error:
                        state.errors[artifact] = outcome.error
                        if len(shards) > 1:
                            context.log.error(f"{artifact} failed: {_reason(outcome.error, lineage)}")
                    else:
                        record = lineage.lake.record(artifact)
                        assert record is not None, f"{artifact} was made, but is not in the lake"
                        state.finished[artifact] = _metadata(lineage, artifact, record, describe, outcome.seconds)
                    progress.advance(1)
    return _conclude(context, lineage, state, advice)


def _plan(
    lineage: Lineage, artifacts: Sequence[Artifact], describe: Describe | None, warn: Callable[[str], None]
) -> tuple[list[Shard], _State]:
    """Return the shards that have to be made, and what is known of the others: up to date, or impossible to make."""
    shards, state = [], _State()
    lineage.read_ahead(artifacts)
    for artifact in artifacts:
        try:
            lineage.require_inputs(artifact)
            provenance = lineage.expected(artifact, with_sources=True)
        except (MissingArtifactError, StaleInputError, DamagedArtifactError, SettingsError) as error:
            state.errors[artifact] = error
            continue
        try:
            record = lineage.record(artifact)
        except DamagedArtifactError as error:
            warn(f"{artifact} is damaged ({error.reason}); it is replaced.")
            record = None
        if record is not None and lineage.is_current(artifact, provenance):
            state.finished[artifact] = _metadata(lineage, artifact, record, describe, None)
        else:
            origin = lineage.recipes[artifact.asset].origin
            shards.append(Shard(artifact, provenance, origin.location if origin else None))
    return shards, state


def _conclude(context: AssetExecutionContext, lineage: Lineage, state: _State, advice: str) -> MaterializeResult:
    """Record one materialization for each finished artifact; fail if there are others."""
    if state.errors:
        for artifact, metadata in state.finished.items():
            context.log_event(AssetMaterialization(context.asset_key, metadata=metadata, partition=artifact.partition))
        raise _failure(_summary(lineage, state, advice)) from next(iter(state.errors.values()))
    for artifact, metadata in state.finished.items():
        context.add_asset_metadata(metadata, partition_key=artifact.partition)
    return MaterializeResult()


def _failure(text: str) -> Failure:
    note_failure(text)
    return Failure(text, allow_retries=False)


def _summary(lineage: Lineage, state: _State, advice: str) -> str:
    """Return the commonest reason why artifacts could not be made, and the advice where it names no setting itself."""
    reasons: dict[str, list[Artifact]] = {}
    for artifact, error in state.errors.items():
        reasons.setdefault(_reason(error, lineage), []).append(artifact)
    reason, artifacts = max(reasons.items(), key=lambda one: len(one[1]))
    more = f" and {len(artifacts) - 1} more" if len(artifacts) > 1 else ""
    others = f" ({len(state.errors) - len(artifacts)} failed for other reasons)" if len(reasons) > 1 else ""
    of_inputs = isinstance(state.errors[artifacts[0]], MissingArtifactError | StaleInputError | DamagedArtifactError)
    helps = advice and not of_inputs and PREFIX not in reason
    return f"{artifacts[0]}{more}: {reason}{others}" + (f"\n{advice}" if helps else "")


def _reason(error: BaseException, lineage: Lineage) -> str:
    """Return what an error says in one line, with the variable of the lake where that cannot be used."""
    if isinstance(error, OSError) and error.errno is not None:
        root = str(lineage.lake.folder)
        if root in str(error) or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return f"{PREFIX}LAKE: cannot use '{error.filename or root}': {os.strerror(error.errno)}"
    text = without_secrets_in(" ".join(str(error).split()))
    # Errors of this package, and those it raises of these kinds, are sentences; others need their name.
    own = isinstance(error, ValueError | OSError) or type(error).__module__.startswith(__package__ or "")
    return text if text and own else f"{type(error).__name__}: {text}"


def _metadata(
    lineage: Lineage, artifact: Artifact, record: Record, describe: Describe | None, seconds: float | None
) -> dict[str, Any]:
    """Return the metadata of one artifact; `seconds` is None where nothing had to be made."""
    statistics = {
        name: value if isinstance(value, int | float) else MetadataValue.json(value)
        for name, value in record.statistics.items()
        if name not in _HIDDEN_STATISTICS and value not in ({}, [], None)
    }
    metadata: dict[str, Any] = {
        **statistics,
        "dagster/uri": lineage.lake.path(artifact).as_uri(),
        "megabytes": round(record.bytes / 1e6, 3),
        "fingerprint": record.fingerprint,
        "provenance": MetadataValue.json(dict(record.provenance)),
        "state": "up to date" if seconds is None else "made",
    }
    if record.rows is not None:
        rows = "dagster/row_count" if artifact.partition is None else "dagster/partition_row_count"
        metadata |= {rows: record.rows, "dagster/column_schema": _column_schema(artifact.asset)}
    if seconds is not None:
        metadata["seconds"] = round(seconds, 2)
        worked_on = max(record.statistics.get("rows_in", 0), record.rows or 0)
        if worked_on and seconds > 0:
            metadata[_rate_name(artifact.asset)] = round(worked_on / seconds, 2)
    if seconds is None and artifact.partition is not None:
        return metadata  # a no-op costs a footer read; its picture is with the materialization that made it
    try:
        return metadata | dict(describe(lineage.lake, artifact, record) if describe else {})
    except Exception as error:  # what is wrong with it is for the checks to say
        return metadata | {"not_shown": f"{type(error).__name__}: {error}"}


def _rate_name(asset: str) -> str:
    spec = TABLES.get(asset)
    of_images = spec is not None and ("data" in spec.columns.names or bool(spec.vectors))
    return "images_per_second" if of_images else "rows_per_second"


def _column_schema(asset: str) -> TableSchema:
    return TableSchema(
        columns=[
            TableColumn(
                name=column.name,
                type=str(column.type),
                description=(column.metadata or {}).get(b"description", b"").decode(),
                constraints=TableColumnConstraints(nullable=column.nullable),
            )
            for column in TABLES[asset].columns
        ]
    )
