"""The tables of a profile: runs as documented, fine-tuning as configured, downloads as limited."""

import dataclasses
import re
import tomllib

from plantclef_assets.ingest.limits import Limits
from plantclef_assets.learning.finetuning_config import FinetuningConfig
from plantclef_assets.locations import PACKAGE_FOLDER
from plantclef_assets.profile_tables import DownloadSettings, FinetuningSettings, RunSettings
from plantclef_assets.scoring.aggregation import AGGREGATIONS
from plantclef_assets.vision.tiling import parse_tiling


def test_the_runs_in_the_documentation_can_be_declared() -> None:
    text = (PACKAGE_FOLDER.parent / "docs" / "runs.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    runs = {name: RunSettings(**run) for block in blocks for name, run in tomllib.loads(block)["runs"].items()}
    assert len(runs) == 4
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
