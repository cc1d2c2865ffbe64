"""Results of benchmarks: rows for a JSON file, printed as markdown tables while they are measured."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
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

    Tables of an earlier run stay until they are measured again, if that run was on the same machine.

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

    def __post_init__(self) -> None:
        if self.file.is_file():
            content = json.loads(self.file.read_text(encoding="utf-8"))
            if content["machine"] == dict(self.machine):
                self.rows = [Row(**row) for row in content["rows"]]

    def start(self, table: str, units: Mapping[str, str], baseline: str | None = None) -> None:
        """Start a table of the metrics in `units` (metric → unit); the first arm of a ratio is `baseline`."""
        self._table, self._units, self._baseline = table, units, baseline
        self.rows = [row for row in self.rows if row.table != table]
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
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    """Return the name of the processor; only Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as markdown tables, one for each table, with the ratios to its baseline."""
    parts = []
    for table in dict.fromkeys(row.table for row in rows):
        found = [row for row in rows if row.table == table]
        units = {row.metric: row.unit for row in found if row.value is not None}
        baseline = next((row.baseline for row in found if row.baseline), None)
        head = [f"{metric}, {unit}" if unit else metric for metric, unit in units.items()]
        lines = [f"## {table}", "", " | ".join(["| arm", *head, *([f"× {baseline}"] if baseline else []), ""])]
        lines.append("|---" + "|---:" * (len(head) + bool(baseline)) + "|")
        for arm in dict.fromkeys(row.arm for row in found):
            of_arm = {row.metric: row for row in found if row.arm == arm}
            failed = [metric for metric, row in of_arm.items() if row.value is None]
            cells = failed or [_cell(of_arm.get(metric)) for metric in units]
            ratio = next((row.ratio for row in of_arm.values() if row.ratio is not None), None)
            lines.append(" | ".join([f"| {arm}", *cells, *([_shown("ratio", ratio)] if ratio is not None else []), ""]))
        parts.append("\n".join(line.rstrip() for line in lines))
    return "\n\n".join(parts) + "\n"


def _cell(row: Row | None) -> str:
    return "" if row is None or row.value is None else _shown(row.metric, row.value)


def _shown(metric: str, value: float) -> str:
    if metric == "cosine":
        return f"{value:.6f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
