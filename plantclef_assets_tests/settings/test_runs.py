"""Runs of a profile, as the documentation shows them."""

from pathlib import Path

import pytest

from plantclef_assets.images.tiling import parse_tiling
from plantclef_assets.settings.presets import PRESETS
from plantclef_assets.settings.runs import CoverSettings, RunSettings, SweepSettings
from plantclef_assets_tests.cli.commands import PROJECT
from plantclef_assets_tests.settings.documentation import first_cells, toml_blocks


def test_the_runs_in_the_documentation_can_be_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "survey").mkdir()
    (tmp_path / "survey" / "flora.csv").write_text("1363875\n")
    text = (PROJECT / "docs" / "runs.md").read_text()
    blocks = toml_blocks(text)
    runs = {name: RunSettings(**run) for block in blocks for name, run in block.get("runs", {}).items()}
    assert len(runs) == 2
    assert [block["presets"] for block in blocks if "presets" in block] == [list(PRESETS)]
    assert first_cells(text, "| preset |") == list(PRESETS)
    tilings = first_cells(text, "| tiling |")
    assert len(tilings) == 6
    for tiling in tilings:
        parse_tiling(tiling)


def test_every_field_of_runs_sweep_and_cover_has_a_description() -> None:
    for table in (RunSettings, SweepSettings, CoverSettings):
        for name, field in table.model_fields.items():
            assert field.description and field.description.endswith("."), f"{table.__name__}.{name}"
    of_votes = RunSettings.model_fields["min_votes"].description
    assert of_votes == "Minimum number of tiles whose most probable species it is (vote)."
