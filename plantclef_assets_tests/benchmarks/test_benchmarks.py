"""Every benchmark runs at its smallest size and adds rows; each compares the outputs of its arms itself."""

import importlib

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.results import Results
from benchmarks.timing import Size


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_small_run(name, tmp_path):
    results = Results(tmp_path / "results.json", {})
    importlib.import_module(f"benchmarks.{name}").measure(results, Size.SMALL)
    tables = {row.table for row in results.rows}
    assert tables
    for table in tables:
        assert any(row.value is not None and row.value > 0 for row in results.rows if row.table == table)
