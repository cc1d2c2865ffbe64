"""The figures of a table, computed as its rows are written and stored in its footer.

Asset checks read these instead of the data. What must hold of every shard is enforced here before it is published.
"""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.lake.table_specs import TableSpec

_NAMED = 5
"""So many offending rows are named; the rest are counted."""


class UnsoundTableError(ValueError):
    """A table that must not be published: required values are missing, or vectors are not usable."""


class Figures:
    """Counts what the rows of one table are like, batch by batch."""

    def __init__(self, spec: TableSpec) -> None:
        self._spec = spec
        self._rows = 0
        self._species: set[int] = set()
        self._learn_tags: Counter[str] = Counter()
        self._probabilities = _ProbabilityFigures()
        self._vectors: dict[str, _VectorFigures] = {name: _VectorFigures() for name in spec.vectors}

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
        for name, figures in self._vectors.items():
            figures.update(batch.column(name), batch.column(self._spec.key[0]))

    def result(self) -> dict[str, Any]:
        """Give the figures as plain values for JSON."""
        figures: dict[str, Any] = {"rows": self._rows}
        if "species_id" in self._spec.columns.names:
            figures["species"] = sorted(self._species)
        if "learn_tag" in self._spec.columns.names:
            figures["learn_tags"] = dict(sorted(self._learn_tags.items()))
        if "probability" in self._spec.columns.names:
            figures |= self._probabilities.result()
        if self._vectors:
            figures["vectors"] = {name: vector.result() for name, vector in self._vectors.items()}
        return figures


def enforce(artifact: object, figures: dict[str, Any]) -> None:
    """Refuse a table that would make later work wrong.

    Raises:
        UnsoundTableError: a vector is not finite, all zero or constant, or a probability is none.
    """
    problems = unsound(figures)
    if problems:
        raise UnsoundTableError(f"{artifact} is not published: {'; '.join(problems)}")


def unsound(figures: dict[str, Any]) -> list[str]:
    """Say what is wrong with a table, by its figures; empty where nothing is."""
    problems = []
    for name, vector in figures.get("vectors", {}).items():
        for kind in ("non_finite", "zero", "constant"):
            if vector[kind]:
                named = ", ".join(vector["first_bad"])
                problems.append(f"{vector[kind]} {name} vectors are {kind.replace('_', '-')} ({named})")
    for name in ("probabilities_outside", "probabilities_rising"):
        if figures.get(name):
            problems.append(f"{figures[name]} {name.replace('_', ' ')}")
    return problems


class _ProbabilityFigures:
    """Counts of probabilities that are none, or that rise with the rank; a batch holds whole tiles."""

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


class _VectorFigures:
    """Counts of unusable vectors, and the range of the norms of the others."""

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
