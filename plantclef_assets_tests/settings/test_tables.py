"""The tables of a profile: runs as documented, fine-tuning as configured, downloads as limited."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from plantclef_assets.images.tiling import parse_tiling
from plantclef_assets.ingest.downloads import Limits
from plantclef_assets.models.finetuning_config import FinetuningConfig
from plantclef_assets.models.training_config import TrainingConfig
from plantclef_assets.scoring.aggregation import AGGREGATIONS
from plantclef_assets.settings.presets import PRESETS
from plantclef_assets.settings.tables import (
    ClassifierSettings,
    DownloadSettings,
    FinetuningSettings,
    RunSettings,
    check_classifiers,
    check_runs,
)
from plantclef_assets_tests.cli.commands import PROJECT


def test_the_runs_in_the_documentation_can_be_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flora_of_the_region.csv").write_text("1363875\n")
    text = (PROJECT / "docs" / "runs.md").read_text()
    blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
    runs = {name: RunSettings(**run) for block in blocks for name, run in block.get("runs", {}).items()}
    assert len(runs) == 2
    assert [block["presets"] for block in blocks if "presets" in block] == [list(PRESETS)]
    assert _first_cells(text, "| preset |") == list(PRESETS)
    tilings = _first_cells(text, "| tiling |")
    assert len(tilings) == 6
    for tiling in tilings:
        parse_tiling(tiling)
    assert sorted(_first_cells(text, "| aggregation |")) == sorted(AGGREGATIONS)


def _first_cells(text: str, header: str) -> list[str]:
    """Give the names in the first column of a Markdown table."""
    rows = text.partition(header)[2].partition("\n\n")[0].splitlines()[2:]
    return [name.strip(" `") for row in rows for name in row.split("|")[1].split(",")]


def test_the_settings_of_downloads_are_their_limits() -> None:
    assert DownloadSettings().model_dump() == dataclasses.asdict(Limits())


def test_the_settings_of_fine_tuning_are_those_of_its_configuration() -> None:
    config = dataclasses.asdict(FinetuningConfig())
    assert FinetuningSettings().model_dump() == {name: value for name, value in config.items() if name != "seed"}


def test_the_settings_of_a_classifier_are_those_of_its_configuration() -> None:
    assert ClassifierSettings().training_config(seed=42) == TrainingConfig()
    ours, theirs = (
        ClassifierSettings.model_fields,
        {one.name: one.default for one in dataclasses.fields(TrainingConfig)},
    )
    assert set(ours) - {"preset", "learning_rate", "validation_share"} == set(theirs) - {"seed"}
    assert (ours["learning_rate"].default,) == theirs["learning_rates"]
    for name in set(ours) & set(theirs) - {"learning_rates"}:
        assert ours[name].default == theirs[name], name


def test_the_classifiers_in_the_documentation_can_be_declared() -> None:
    text = (PROJECT / "docs" / "classifiers.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    tables = tomllib.loads(block)
    declared = {name: ClassifierSettings(**one) for name, one in tables["classifiers"].items()}
    check_runs({name: RunSettings(**run) for name, run in tables["runs"].items()}, check_classifiers(declared))
    assert len(declared) == 2
    options = set(_first_cells(text, "| option |"))
    assert {one.strip("`") for one in options} == set(ClassifierSettings.model_fields) - {"validation_share"}
