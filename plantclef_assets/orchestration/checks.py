"""Judging: how a check looks over the artifacts of an asset, and when its finding blocks.

A check is a function from the records of the artifacts that exist to findings. It blocks later work only where a
finding is in an artifact of this very run; one elsewhere is a warning, since this run cannot mend it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, Lake, Record
from plantclef_assets.orchestration.messages import TO_MEND, note_failure
from plantclef_assets.orchestration.resources import LakeResource

_NAMED = 5
_PARTITION = "dagster/partition"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True)
class Finding:
    """Something wrong with one artifact, in words that name it."""

    artifact: Artifact
    problem: str


@dataclass(frozen=True)
class Evidence:
    """What a check may look at: the lake, the recipe of the asset, and the records of its artifacts that exist."""

    lake: Lake
    recipe: Recipe
    lineage: Lineage

    @cached_property
    def records(self) -> Mapping[Artifact, Record]:
        """The records of the artifacts that exist and are not damaged, in the order of their partitions."""
        return {artifact: record for artifact, record in self._read.items() if isinstance(record, Record)}

    @property
    def damaged(self) -> list[DamagedArtifactError]:
        """What is wrong with the files whose records cannot be read."""
        return [record for record in self._read.values() if not isinstance(record, Record)]

    @cached_property
    def _read(self) -> Mapping[Artifact, Record | DamagedArtifactError]:
        self.lineage.read_ahead(self.recipe.artifacts)
        found: dict[Artifact, Record | DamagedArtifactError] = {}
        for artifact in self.recipe.artifacts:
            try:
                record = self.lineage.record(artifact)
            except DamagedArtifactError as error:
                record = error
            if record is not None:
                found[artifact] = record
        return found

    def figures(self, asset: str) -> Mapping[str, Any]:
        """The figures of an asset without partitions; empty where it is not in the lake."""
        record = self.lineage.record(self.lineage.recipes[asset].artifact())
        return record.statistics if record else {}


@dataclass(frozen=True)
class Check:
    """A named judgement over one asset."""

    name: str
    description: str
    judge: Callable[[Evidence], Iterable[Finding]]
    blocking: bool = False


def none_counted(figure: str, problem: str, examples: str | None = None) -> Callable[[Evidence], Iterable[Finding]]:
    """Make the judgement that a figure of every artifact, a count of what is wrong, is zero.

    Args:
        figure: the name of the count.
        problem: what is said otherwise, with `{artifact}`, `{count}`, `{rows}` and `{named}`, the examples.
        examples: the name of the figure that lists some of them.
    """

    def judge(evidence: Evidence) -> Iterator[Finding]:
        for artifact, record in evidence.records.items():
            if count := record.statistics.get(figure, 0):
                named = ", ".join(map(str, record.statistics.get(examples or "", [])))
                yield Finding(artifact, problem.format(artifact=artifact, count=count, rows=record.rows, named=named))

    return judge


def checks_of(asset: str, checks: Sequence[Check], recipes: Mapping[str, Recipe]) -> AssetChecksDefinition:
    """Make one step that evaluates the checks of an asset after it is materialized, or when asked for alone."""
    by_name = {check.name: check for check in checks}
    specs = [
        AssetCheckSpec(check.name, asset=asset, description=check.description, blocking=check.blocking)
        for check in checks
    ]

    @multi_asset_check(name=f"{asset}_checks", specs=specs, can_subset=True)
    def evaluate(context: AssetCheckExecutionContext, lake: LakeResource) -> Iterator[AssetCheckResult]:
        recipe = recipes[asset]
        evidence = Evidence(lake.lake, recipe, Lineage(lake.lake, recipes))
        in_run = set(_artifacts_of_run(context.run.tags, recipe))
        selected = {key.name for key in context.selected_asset_check_keys}
        for spec in specs:
            if spec.name in selected:
                result = _result(by_name[spec.name], evidence, in_run)
                if not result.passed:
                    context.log.warning(f"{spec.name} did not pass: {result.description}")
                    if result.severity == AssetCheckSeverity.ERROR:
                        note_failure(f"{asset} / {spec.name}: {result.description}\n{TO_MEND}")
                yield result

    return evaluate


def _artifacts_of_run(tags: Mapping[str, str], recipe: Recipe) -> tuple[Artifact, ...]:
    """Give the artifacts that the run was asked for; all of them where it names no partition."""
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


def _result(check: Check, evidence: Evidence, in_run: set[Artifact]) -> AssetCheckResult:
    try:
        findings = list(check.judge(evidence))
    except Exception as error:  # a damaged table is no reason to leave the other checks unsaid
        findings = [Finding(one, f"{one} cannot be judged: {error}") for one in evidence.records]
    findings = [Finding(error.artifact, str(error)) for error in evidence.damaged] + findings
    blocks = check.blocking and any(finding.artifact in in_run for finding in findings)
    bad = list(dict.fromkeys(str(finding.artifact) for finding in findings))
    metadata: dict[str, Any] = {
        "artifacts_judged": len(evidence.records),
        "artifacts_missing": len(evidence.recipe.artifacts) - len(evidence.records) - len(evidence.damaged),
    }
    if findings:
        metadata |= {"failed": ", ".join(bad[:_NAMED]), "artifacts_failed": len(bad)}
    if blocks:
        metadata["to_mend"] = TO_MEND
    problems = [finding.problem for finding in findings]
    more = f" … and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    return AssetCheckResult(
        asset_key=evidence.recipe.asset,
        check_name=check.name,
        passed=not findings,
        severity=AssetCheckSeverity.ERROR if blocks else AssetCheckSeverity.WARN,
        description="; ".join(problems[:_NAMED]) + more if findings else None,
        metadata=metadata,
    )
