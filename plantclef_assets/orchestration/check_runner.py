"""The check runner: one Dagster step for the checks of each asset, and when a problem blocks.

What belongs here: how checks are evaluated. What does not: any check (`table_checks.py`, `defs/`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    multi_asset_check,
)

from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem
from plantclef_assets.orchestration.declaration import Asset, Graph
from plantclef_assets.orchestration.messages import TO_MEND, note_failure
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.orchestration.table_checks import table_checks, up_to_date

_NAMED = 5
_PARTITION = "dagster/partition"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def build_checks(graph: Graph) -> list[AssetChecksDefinition]:
    """Return the checks of every asset: those that follow from the schema of its table, and its own."""
    return [_build(checks_of(asset), name, graph) for name, asset in graph.assets.items()]


def failing_checks(graph: Graph, lake: Lake, assets: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Evaluate the checks of assets, and yield asset, check and finding of those that do not pass."""
    for name in assets:
        context = CheckContext(lake, graph.recipes[name], Lineage(lake, graph.recipes))
        for check in checks_of(graph.assets[name]):
            result = evaluate(check, context, set())
            if not result.passed:
                yield name, check.name, result.description or ""


def checks_of(asset: Asset) -> list[Check]:
    """Return the checks of an asset: those of every table first, then its own."""
    return [*(table_checks(asset.name) if asset.name in TABLES else [up_to_date()]), *asset.checks]


def _build(checks: Sequence[Check], asset: str, graph: Graph) -> AssetChecksDefinition:
    """Return one step that evaluates the checks of an asset after it is materialized, or when requested alone."""
    by_name = {check.name: check for check in checks}
    specs = [
        AssetCheckSpec(check.name, asset=asset, description=check.description, blocking=check.blocking)
        for check in checks
    ]

    @multi_asset_check(name=f"{asset}_checks", specs=specs, can_subset=True)
    def evaluate_checks(context: AssetCheckExecutionContext, lake: LakeResource) -> Iterator[AssetCheckResult]:
        recipe = graph.recipes[asset]
        checked = CheckContext(lake.lake, recipe, Lineage(lake.lake, graph.recipes))
        in_run = set(_artifacts_of_run(context.run.tags, recipe))
        selected = {key.name for key in context.selected_asset_check_keys}
        for spec in specs:
            if spec.name in selected:
                result = evaluate(by_name[spec.name], checked, in_run)
                if not result.passed:
                    context.log.warning(f"{spec.name} did not pass: {result.description}")
                    if result.severity == AssetCheckSeverity.ERROR:
                        note_failure(f"{asset} / {spec.name}: {result.description}\n{TO_MEND}")
                yield result

    return evaluate_checks


def _artifacts_of_run(tags: Mapping[str, str], recipe: Recipe) -> tuple[Artifact, ...]:
    """Return the artifacts of the partitions that a run was launched for; all of them where it names none."""
    keys = recipe.partitions
    if keys is None:
        return recipe.artifacts
    if _PARTITION in tags:
        chosen = [key for key in keys if key == tags[_PARTITION]]
    elif _RANGE[0] in tags and tags[_RANGE[0]] in keys and tags[_RANGE[1]] in keys:
        chosen = keys[keys.index(tags[_RANGE[0]]) : keys.index(tags[_RANGE[1]]) + 1]
    else:
        chosen = keys
    return tuple(recipe.artifact(key) for key in chosen)


def evaluate(check: Check, context: CheckContext, in_run: set[Artifact]) -> AssetCheckResult:
    """Evaluate a check over all artifacts of its asset; it blocks only for an artifact of this run."""
    try:
        problems = list(check.problems(context))
    except Exception as error:  # a table that cannot be read must not keep the other checks from their result
        problems = [Problem(one, f"{one} cannot be checked: {error}") for one in context.records]
    problems = [Problem(error.artifact, str(error)) for error in context.damaged] + problems
    blocks = check.blocking and any(problem.artifact in in_run for problem in problems)
    bad = list(dict.fromkeys(str(problem.artifact) for problem in problems))
    metadata: dict[str, Any] = {
        "artifacts_judged": len(context.records),
        "artifacts_missing": len(context.recipe.artifacts) - len(context.records) - len(context.damaged),
    }
    if problems:
        metadata |= {"failed": ", ".join(bad[:_NAMED]), "artifacts_failed": len(bad)}
    if blocks:
        metadata["to_mend"] = TO_MEND
    texts = [problem.text for problem in problems]
    more = f" … and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return AssetCheckResult(
        asset_key=context.recipe.asset,
        check_name=check.name,
        passed=not problems,
        severity=AssetCheckSeverity.ERROR if blocks else AssetCheckSeverity.WARN,
        description="; ".join(texts[:_NAMED]) + more if problems else None,
        metadata=metadata,
    )
