"""Results of benchmarks: rows for a JSON file, printed as markdown tables while they are measured."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One measured number.

    Attributes:
        table: the benchmark.
        arm: what was measured.
        metric: the name of the number, or `failed: <reason>`.
        value: the number; None if the arm failed.
        unit: unit of the number.
        ratio: the number divided by that of the baseline; only for the first metric of a table.
        baseline: the arm of the ratio's divisor.
    """

    table: str
    arm: str
    metric: str
    value: float | None
    unit: str
    ratio: float | None = None
    baseline: str | None = None


@dataclass
class Results:
    """Collects the rows of one command; the file is complete after every arm.

    Attributes:
        file: JSON file of the rows.
        machine: description of the machine.
    """

    file: Path
    machine: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    _table: str = ""
    _units: Mapping[str, str] = field(default_factory=dict)
    _baseline: str | None = None

    def start(self, table: str, units: Mapping[str, str], baseline: str | None = None) -> None:
        """Start a table of the metrics in `units` (metric → unit); the first arm of a ratio is `baseline`."""
        self._table, self._units, self._baseline = table, units, baseline
        named = [f"{metric}, {unit}" if unit else metric for metric, unit in units.items()]
        ratio = [f"× {baseline}"] if baseline else []
        print(f"\n### {table}\n\n| {' | '.join(['arm', *named, *ratio])} |")
        print("|---" + "|---:" * len(named + ratio) + "|", flush=True)

    def add(self, arm: str, values: Mapping[str, float]) -> None:
        """Add an arm; a metric that is missing in `values` stays empty."""
        first = next(iter(self._units))
        base = self.value(self._table, self._baseline or "", first)
        if self._baseline == arm:
            base = values.get(first)
        ratio = values[first] / base if base and first in values else None
        for metric, value in values.items():
            compared = (ratio, self._baseline) if metric == first and ratio is not None else (None, None)
            self.rows.append(Row(self._table, arm, metric, float(f"{value:.6g}"), self._units[metric], *compared))
        cells = [_shown(metric, values[metric]) if metric in values else "" for metric in self._units]
        cells += [_shown("ratio", ratio) if ratio is not None else ""] if self._baseline else []
        self._write(arm, cells)

    def fail(self, arm: str, reason: str) -> None:
        """Add an arm that failed."""
        self.rows.append(Row(self._table, arm, f"failed: {reason}", None, ""))
        self._write(arm, [f"failed: {reason}"])

    def value(self, table: str, arm: str, metric: str) -> float | None:
        """Return a measured number; None if it was not measured."""
        found = (row.value for row in self.rows if (row.table, row.arm, row.metric) == (table, arm, metric))
        return next(found, None)

    def _write(self, arm: str, cells: list[str]) -> None:
        print(f"| {arm} | {' | '.join(cells)} |", flush=True)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": dict(self.machine), "rows": [asdict(row) for row in self.rows]}
        self.file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def describe_machine() -> dict[str, Any]:
    """Return a description of the machine from Python's standard library."""
    return {
        "system": platform.system(),
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
    }


def _shown(metric: str, value: float) -> str:
    if metric == "cosine":
        return f"{value:.6f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
