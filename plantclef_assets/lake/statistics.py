"""Statistics of a table, computed while its rows are written and stored in its footer.

Asset checks read them instead of the data. Conditions that every shard must meet are enforced here, before publication.
"""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.lake.table_specs import TableSpec

_NAMED = 5
"""Number of offending rows that are named; the rest are counted."""


class UnsoundTableError(ValueError):
    """A table that must not be published: required values are missing, or vectors are unusable."""


class TableStatistics:
    """Statistics of the rows of one table, accumulated batch by batch."""

    def __init__(self, spec: TableSpec) -> None:
        self._spec = spec
        self._rows = 0
        self._species: set[int] = set()
        self._learn_tags: Counter[str] = Counter()
        self._probabilities = _ProbabilityStatistics()
        self._vectors: dict[str, _VectorStatistics] = {name: _VectorStatistics() for name in spec.vectors}

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        names = set(batch.schema.names)
        self._rows += batch.num_rows
        if "species_id" in names:
            self._species.update(pc.unique(batch.column("species_id")).drop_null().to_pylist())
        if "learn_tag" in names:
            for entry in pc.value_counts(batch.column("learn_tag")).to_pylist():
                self._learn_tags[entry["values"] or "none"] += entry["counts"]
        if {"probability", "rank"} <= names:
            self._probabilities.update(batch)
        for name, statistics in self._vectors.items():
            statistics.update(batch.column(name), batch.column(self._spec.key[0]))

    def result(self) -> dict[str, Any]:
        """Return the statistics as plain values for JSON."""
        statistics: dict[str, Any] = {"rows": self._rows}
        if "species_id" in self._spec.columns.names:
            statistics["species"] = sorted(self._species)
        if "learn_tag" in self._spec.columns.names:
            statistics["learn_tags"] = dict(sorted(self._learn_tags.items()))
        if "probability" in self._spec.columns.names:
            statistics |= self._probabilities.result()
        if self._vectors:
            statistics["vectors"] = {name: vector.result() for name, vector in self._vectors.items()}
        return statistics


def enforce(artifact: object, statistics: dict[str, Any]) -> None:
    """Raise an error for a table that would corrupt later results.

    Raises:
        UnsoundTableError: a vector is not finite, all zero or constant, or a probability is invalid.
    """
    problems = unsound(statistics)
    if problems:
        raise UnsoundTableError(f"{artifact} is not published: {'; '.join(problems)}")


def unsound(statistics: dict[str, Any]) -> list[str]:
    """Return the problems of a table according to its statistics; empty if there are none."""
    problems = []
    for name, vector in statistics.get("vectors", {}).items():
        for kind in ("non_finite", "zero", "constant"):
            if vector[kind]:
                named = ", ".join(vector["first_bad"])
                problems.append(f"{vector[kind]} {name} vectors are {kind.replace('_', '-')} ({named})")
    for name in ("probabilities_outside", "probabilities_rising"):
        if statistics.get(name):
            problems.append(f"{statistics[name]} {name.replace('_', ' ')}")
    return problems


class _ProbabilityStatistics:
    """Counts of invalid probabilities and of probabilities that rise with the rank; a batch holds complete tiles."""

    def __init__(self) -> None:
        self._outside = self._rising = self._tiles = 0
        self._first = 0.0

    def update(self, batch: pa.RecordBatch) -> None:
        probability = np.asarray(batch.column("probability"), np.float64)
        rank = np.asarray(batch.column("rank"))
        self._outside += int((~((probability >= 0) & (probability <= 1))).sum())
        self._rising += int(((np.diff(rank) == 1) & (np.diff(probability) > 0)).sum())
        first = probability[rank == 1]
        self._tiles += len(first)
        self._first += float(first.sum())

    def result(self) -> dict[str, Any]:
        mean = {"mean_first_probability": self._first / self._tiles} if self._tiles else {}
        return {"probabilities_outside": self._outside, "probabilities_rising": self._rising, **mean}


class _VectorStatistics:
    """Counts of unusable vectors, and the norms of all vectors."""

    def __init__(self) -> None:
        self.width = 0
        self.counts = Counter({"non_finite": 0, "zero": 0, "constant": 0})
        self.first_bad: list[str] = []
        self.norms = [float("inf"), 0.0, 0.0]  # least, greatest, sum
        self.rows = 0

    def update(self, column: pa.Array, names: pa.Array) -> None:
        self.width = column.type.list_size
        values = np.asarray(column.flatten()).reshape(-1, self.width)
        finite = np.asarray(np.isfinite(values).all(axis=1))
        usable = np.where(finite[:, None], values, 0)
        norms = np.linalg.norm(usable.astype(np.float64), axis=1)
        zero = finite & (norms == 0)
        constant = finite & ~zero & (usable.max(axis=1, initial=-np.inf) == usable.min(axis=1, initial=np.inf))
        for kind, mask in (("non_finite", ~finite), ("zero", zero), ("constant", constant)):
            self.counts[kind] += int(mask.sum())
            for index in np.flatnonzero(mask)[: _NAMED - len(self.first_bad)]:
                self.first_bad.append(str(names[int(index)].as_py()))
        if len(norms):
            least, greatest, total = self.norms
            self.norms = [min(least, norms.min()), max(greatest, norms.max()), total + norms.sum()]
        self.rows += len(values)

    def result(self) -> dict[str, Any]:
        least, greatest, total = (float(norm) for norm in self.norms)
        norms = {"norm_least": least, "norm_greatest": greatest, "norm_mean": total / max(self.rows, 1)}
        return {
            "width": self.width,
            **self.counts,
            "first_bad": self.first_bad,
            **(norms if self.rows else {}),
        }
