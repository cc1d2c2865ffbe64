"""Checks: what a check is, and what it may look at.

A check is a function from the artifacts of one asset to problems. It reads statistics from footers where they suffice.
(https://docs.dagster.io/guides/test/asset-checks)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, Lake, Record


@dataclass(frozen=True)
class Problem:
    """Something wrong with one artifact; the text names the artifact."""

    artifact: Artifact
    text: str


@dataclass(frozen=True)
class CheckContext:
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
        """Errors of the artifacts whose records cannot be read."""
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

    def statistics(self, asset: str) -> Mapping[str, Any]:
        """Return the statistics of an asset without partitions; empty where it is not in the lake."""
        record = self.lineage.record(self.lineage.recipes[asset].artifact())
        return record.statistics if record else {}

    def inputs(self, artifact: Artifact, asset: str) -> list[Artifact]:
        """Return the artifacts of an asset that one of the checked artifacts is made from."""
        return [one for one in self.recipe.inputs(artifact.partition) if one.asset == asset]


@dataclass(frozen=True)
class Check:
    """A named check of one asset.

    Attributes:
        name: of the check.
        description: what holds where it passes.
        problems: returns what is wrong.
        blocking: whether a problem in an artifact of this run stops the assets downstream. One in an artifact of
            another run is a warning, since this run cannot correct it.
    """

    name: str
    description: str
    problems: Callable[[CheckContext], Iterable[Problem]]
    blocking: bool = False


def count_is_zero(count_of: str, text: str, examples: str | None = None) -> Callable[[CheckContext], Iterable[Problem]]:
    """Return the function of a check that a statistic, which counts what is wrong, is zero in every artifact.

    Args:
        count_of: the name of the statistic.
        text: of the problem, with `{artifact}`, `{count}`, `{rows}` and `{named}`, the examples.
        examples: the name of the statistic that lists some of them.
    """

    def problems(context: CheckContext) -> Iterator[Problem]:
        for artifact, record in context.records.items():
            if count := record.statistics.get(count_of, 0):
                named = ", ".join(map(str, record.statistics.get(examples or "", [])))
                yield Problem(artifact, text.format(artifact=artifact, count=count, rows=record.rows, named=named))

    return problems
