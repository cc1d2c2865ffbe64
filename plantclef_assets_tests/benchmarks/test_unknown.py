"""The benchmark of unknown scores, on the lake of the settings."""

from pathlib import Path

from benchmarks.results import Results
from benchmarks.unknown import measure
from plantclef_assets.settings import Settings


def test_species_are_left_out_of_the_lake_of_the_settings(tiny_lake: Settings, tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json", {})
    measure(tiny_lake, results, share=0.25, draws=2)
    tables = {row.table for row in results.rows}
    assert tables == {f"unknown species, {name}: 1 of 3 left out, 2 draws" for name in ("base_dct", "base_cls")}
    for row in results.rows:
        assert row.value is not None
        assert 0 <= row.value <= 1
    arm = "closed form ridge"
    found = {row.metric: row.value for row in results.rows if row.arm == arm and "base_cls:" in row.table}
    assert found["least"] <= found["max_logit"] <= found["greatest"]  # type: ignore[operator]
    assert found["accuracy"] > 0.5  # type: ignore[operator]
