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

from dagster import AssetExecutionContext, AssetMaterialization, Failure, MaterializeResult

from plantclef_assets.engines.local import MakeShard, Outcome, run_shards
from plantclef_assets.engines.progress import Progress
from plantclef_assets.lake.provenance import Lineage, OtherSourcesError, StaleInputError
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, MissingArtifactError, Record
from plantclef_assets.lake.tables import Shard
from plantclef_assets.orchestration.messages import note_failure
from plantclef_assets.orchestration.metadata import MetadataBuilder, Presentation, kept_pictures
from plantclef_assets.orchestration.resources import EngineResource
from plantclef_assets.redaction import without_secrets_in
from plantclef_assets.settings.errors import PREFIX, SettingsError

MakeShards = Callable[[Sequence[Shard]], Iterator[Outcome]]
"""Makes shards and yields the outcome of each as it ends."""
Hold = Callable[[Callable[[str], None]], AbstractContextManager[None]]
"""Waits, with a log, for something that one run holds at a time, and holds it during a block."""


@dataclass
class _State:
    """What is known of the artifacts of one materialization so far."""

    current: dict[Artifact, Record] = field(default_factory=dict)
    made: dict[Artifact, Mapping[str, Any]] = field(default_factory=dict)
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
    shown: Presentation,
    hold: Hold | None = None,
    advice: str = "",
    again: bool = False,
) -> MaterializeResult:
    """Bring the artifacts of this run up to date, and record each with its metadata.

    Args:
        context: of the asset's step; it names the partitions.
        lineage: the lake and the recipes.
        make: makes what is not up to date.
        shown: what the UI shows of the artifacts.
        hold: holds something while shards are made, such as the accelerator. It is not called where nothing has to be
            made. Whether artifacts are up to date is determined again once it is held: another run may have made them.
        advice: a sentence that names the settings to change where an artifact cannot be made.
        again: whether to make what is up to date, too.

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
    shards, state = _plan(lineage, artifacts, context.log.warning, again=again)
    metadata = MetadataBuilder(lineage, shown)
    with hold(context.log.info) if shards and hold else nullcontext():
        if shards and hold:
            lineage = Lineage(lineage.lake, lineage.recipes)
            shards, state = _plan(lineage, artifacts, context.log.warning, again=again)
        if state.current:
            context.log.info(f"{len(state.current)} of {len(keys)} are up to date; nothing to do for them.")
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
                        state.made[artifact] = metadata.build(artifact, record, outcome.seconds)
                    progress.advance(1)
    return _conclude(context, metadata, state, advice)


def _plan(
    lineage: Lineage, artifacts: Sequence[Artifact], warn: Callable[[str], None], *, again: bool
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
        if record is not None and not again and lineage.is_current(artifact, provenance):
            state.current[artifact] = record
        else:
            origin = lineage.recipes[artifact.asset].origin
            shards.append(Shard(artifact, provenance, origin.location if origin else None))
    return shards, state


def _conclude(
    context: AssetExecutionContext, metadata: MetadataBuilder, state: _State, advice: str
) -> MaterializeResult:
    """Record one materialization for each finished artifact; fail if there are others."""
    kept = kept_pictures(context.instance, state.current, metadata.shown)
    current = {
        artifact: metadata.build(artifact, record, kept=kept.get(artifact))
        for artifact, record in state.current.items()
    }
    finished = current | state.made
    if state.errors:
        for artifact, values in finished.items():
            context.log_event(AssetMaterialization(context.asset_key, metadata=values, partition=artifact.partition))
        raise _failure(_summary(metadata.lineage, state, advice)) from next(iter(state.errors.values()))
    for artifact, values in finished.items():
        context.add_asset_metadata(values, partition_key=artifact.partition)
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
