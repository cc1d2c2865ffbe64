"""Unknown scores and sure ranks in the report: on the pages of plots, and in plots.csv."""

import csv
import json
import re
from pathlib import Path

import pytest

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.report.site.certainty import Certainty
from plantclef_assets.report.site.scope import Run, Scope
from plantclef_assets.report.site.species import Species, read_species
from plantclef_assets.report.site.survey import ListedSpecies, Plot
from plantclef_assets.settings import Settings

PAIR = ("base_cls", "2x2")
THRESHOLDS = {"base_cls": {"species": 0.8, "genus": 0.7, "family": None}}


def certainty(*, shards: tuple[str, ...] = (), species: dict[int, Species] | None = None) -> Certainty:
    runs = (Run("tiles", *PAIR, "union"),)
    scope = Scope("", runs, "tiles", (), shards, ("base_cls",), (), 10**6, None, False, ())
    known = species or {
        one: Species(one, f"Poa {one}", f"Poa {one} L.", "Poa", "Poaceae", None, 1) for one in (1, 2, 3)
    }
    return Certainty(scope, known, {one: (found.genus, found.family) for one, found in known.items()}, THRESHOLDS)


def test_a_listed_species_has_the_certainty_of_its_likeliest_tile() -> None:
    box = (0, 0, 10, 10)
    tiles = {PAIR: [(box, [(1, 0.5), (2, 0.45)]), (box, [(2, 0.9), (3, 0.05)]), (box, [(3, 0.3), (1, 0.2)])]}
    plot = Plot("plot", "survey", 20, 20, tiles=tiles, unknown={PAIR: [0.25, 0.5, 0.75]})
    known = certainty()

    def listed(species_id: int) -> tuple[str | None, str | None, float | None]:
        sure, unknown = known.of_listed(plot, "tiles", ListedSpecies(species_id, None, None, []))
        return sure and sure.rank, known.name(sure), unknown

    assert listed(1) == ("genus", "Poa", 0.25)
    assert listed(2) == ("species", "Poa 2", 0.5)
    assert listed(3) == (None, None, 0.75)
    assert listed(4) == (None, None, None)
    assert known.of_listed(plot, "cover", ListedSpecies(2, None, None, []))[1] == 0.5


def test_thresholds_are_those_of_the_validation_photographs(tiny_lake: Settings) -> None:
    lake = Lake(tiny_lake.lake)
    species = read_species(lake)
    of_lake = Certainty.read(lake, certainty(shards=("00",)).scope, species)
    rows = lake.read(Artifact("val_predictions", "base_cls")).to_pylist()
    assert len(rows) < 20  # too few photographs to calibrate on
    assert of_lake.thresholds == {"base_cls": {"species": None, "genus": None, "family": None}}
    assert Certainty.read(lake, certainty().scope, species).thresholds == {}


def test_the_report_shows_the_unknown_score_of_each_tile(tiny_lake: Settings) -> None:
    lake = Lake(tiny_lake.lake)
    rows = lake.read(Artifact("tile_novelty", "00")).to_pylist()
    wanted = [
        row for row in rows if (row["feature_set"], row["tiling"]) == PAIR and row["plot_id"] == rows[0]["plot_id"]
    ]
    (pages,) = [path for path in Path(tiny_lake.lake, "plot_report").iterdir() if path.is_dir()]
    found = {}
    for page in (pages / "plots").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        data = json.loads(re.search(r'id="plot-data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
        found[data["plot"]] = data["certainty"]["|".join(PAIR)], text
    tiles, text = found[rows[0]["plot_id"]]
    assert [unknown for unknown, *_ in tiles] == pytest.approx([row["unknown"] for row in wanted], abs=1e-3)
    assert "no species, genus or family is trusted · unknown score" in text
    with (pages / "plots.csv").open(encoding="utf-8-sig", newline="") as stream:
        listed = [row for row in csv.DictReader(stream) if row["species_id"]]
    assert listed
    assert all(0 <= float(row["unknown"]) <= 1 and row["trusted_rank"] == "" for row in listed)
