"""The benchmark of trusted ranks, on the lake of the settings."""

from pathlib import Path

import pytest

from benchmarks.results import Results
from benchmarks.trusted_ranks import measure
from plantclef_assets.scoring import ranks
from plantclef_assets.settings import Settings


def test_answers_are_counted_on_photographs_and_on_tiles(
    tiny_lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "LEAST_ANSWERS", 1)
    results = Results(tmp_path / "results.json", {})
    measure(tiny_lake, results)
    found = {(row.table, row.arm, row.metric): row.value for row in results.rows}
    pairs = {(run.feature_set, run.tiling) for run in tiny_lake.active_runs.values()}
    tables = {f"trusted ranks, {name}, {cut} tiles of composed plots" for name, cut in pairs}
    assert {table for table, *_ in found} == tables
    tiles = 0.0
    for table in tables:
        assert 0 < sum(found[table, rank, "photographs"] or 0 for rank in ranks.RANKS) <= 12
        assert (found[table, "species", "right photographs"] or 0) >= 0.9
        tiles += sum(found[table, rank, "tiles"] or 0 for rank in ranks.RANKS)
    assert tiles > 0
