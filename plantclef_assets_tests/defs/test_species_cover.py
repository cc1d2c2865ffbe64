"""The cover of species as an asset: every plot in three files, by the run and the thresholds that are set."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dagster import DagsterInstance

from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.scoring.cover import union_area
from plantclef_assets.scoring.cover_files import CoverConfig, SpeciesCover, box_of
from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import SettingsError
from plantclef_assets_tests.defs.chain_runs import evaluate_checks, failed
from plantclef_assets_tests.defs.lake_corruption import rewrite, with_column
from plantclef_assets_tests.defs.test_materialization import materialization_metadata, stamps
from plantclef_assets_tests.tiny import failed_checks, materialize, tiny_settings

OwnLake = Callable[..., Settings]
FIRST, SECOND = Artifact("species_cover", "00"), Artifact("species_cover", "01")
SIDE = 240
"""A tiny plot's, px."""


def made_again(settings: Settings, first: str = "00", last: str = "01") -> list[dict]:
    result = materialize(settings, "species_cover", first=first, last=last)
    assert result.success
    assert not failed_checks(result)
    return [row for one in (FIRST, SECOND) for row in Lake(settings.lake).read(one).to_pylist()]


def texts(settings: Settings, shard: str) -> tuple[list[dict[str, str]], list[dict]]:
    folder = Path(settings.lake, "species_cover")
    table = (folder / f"{shard}.csv").read_text(encoding="utf-8-sig")
    return [*csv.DictReader(io.StringIO(table))], json.loads((folder / f"{shard}.json").read_text(encoding="utf-8"))


def test_the_table_says_what_the_tile_predictions_say(tiny_lake: Settings) -> None:
    lake = Lake(tiny_lake.lake)
    rows = lake.read(FIRST).to_pylist()
    best = lake.read(
        Artifact("tile_predictions", "00"),
        filters=[("feature_set", "=", "base_dct"), ("tiling", "=", "2x2"), ("rank", "=", 1)],
    ).to_pylist()
    said = {(one["plot_id"], one["tile_index"]): (one["species_id"], one["probability"]) for one in best}
    told = {
        (row["plot_id"], place["tile_index"]): (row["species_id"], place["score"])
        for row in rows
        for place in row["positions"]
    }
    assert told == said, "of three species the best is always above 0.1"
    for row in rows:
        assert row["count"] == len(row["positions"])
        assert row["coverage"] == row["count"] / 4
        assert row["max_score"] == max(place["score"] for place in row["positions"])
        assert (row["tiles"], row["matched"], row["uncovered"]) == (4, 4, 0.0)
        assert (row["name"], row["gbif_species_id"]) == (f"Planta {row['species_id']}", 12)
    corners = {place["tile_index"]: (place["centre_x"], place["centre_y"]) for place in rows[0]["positions"]}
    assert corners.items() <= {0: (60, 60), 1: (180, 60), 2: (60, 180), 3: (180, 180)}.items()


def test_csv_and_json_say_the_same_as_the_table(tiny_lake: Settings) -> None:
    rows = Lake(tiny_lake.lake).read(FIRST).to_pylist()
    flat, plots = texts(tiny_lake, "00")
    assert [(row["plot_id"], int(row["species_id"]), float(row["coverage"])) for row in flat] == [
        (row["plot_id"], row["species_id"], row["coverage"]) for row in rows
    ]
    assert set(flat[0]) == set(rows[0]) - {"positions"}
    assert [plot["plot_id"] for plot in plots] == list(dict.fromkeys(row["plot_id"] for row in rows))
    first = plots[0]
    assert first["image"] == {"width": SIDE, "height": SIDE, "uncovered": 0.0, "tiles": 4, "matched": 4}
    told = first["species"][0]
    assert set(told) >= {"binomial", "name", "genus", "family", "gbif_id", "coverage", "max_score", "count"}
    place = told["location"][0]
    assert place["size"] == {"width": 120, "height": 120}
    assert place["organ"] is None
    assert place["center"] == {"x": rows[0]["positions"][0]["centre_x"], "y": rows[0]["positions"][0]["centre_y"]}
    assert place["score"] == pytest.approx(rows[0]["positions"][0]["score"], abs=1e-6)


def test_nothing_is_lost_where_nothing_is_sure_enough(own_lake: OwnLake) -> None:
    settings = own_lake(cover={"min_score": 1.0})
    rows = made_again(settings)
    assert [(row["plot_id"], row["species_id"]) for row in rows] == [(f"PLOT-{n}-20240501", None) for n in range(4)]
    assert {(row["uncovered"], row["tiles"], row["matched"], row["count"]) for row in rows} == {(1.0, 4, 0, 0)}
    flat, plots = texts(settings, "01")
    assert [(row["plot_id"], row["species_id"], row["uncovered"]) for row in flat] == [
        ("PLOT-2-20240501", "", "1.0"),
        ("PLOT-3-20240501", "", "1.0"),
    ]
    assert [plot["species"] for plot in plots] == [[], []]


def test_a_plot_without_tiles_has_its_row(own_lake: OwnLake) -> None:
    settings = own_lake()
    rewrite(
        settings,
        Artifact("tile_predictions", "00"),
        lambda table: table.filter(pc.not_equal(table.column("plot_id"), "PLOT-1-20240501")),
    )
    lost = [row for row in made_again(settings) if row["plot_id"] == "PLOT-1-20240501"]
    assert [(row["species_id"], row["tiles"], row["uncovered"]) for row in lost] == [(None, 0, 1.0)]


def test_names_have_no_authors_and_a_genus_that_the_class_map_lacks_is_read_from_them(own_lake: OwnLake) -> None:
    written = ["Bellis perennis L.", "Salvia × sylvestris L.", None]
    settings = own_lake()
    rewrite(settings, Artifact("class_map"), lambda table: with_column(table, "species", pa.array(written)))
    make = SpeciesCover(Lake(settings.lake), CoverConfig("base_cls", "2x2", 0.0, 3))
    make(Shard(FIRST, {}))
    told = {(row["binomial"], row["name"], row["genus"]) for row in Lake(settings.lake).read(FIRST).to_pylist()}
    assert told == {
        ("Bellis perennis", written[0], "Bellis"),
        ("Salvia × sylvestris", written[1], "Salvia"),
        (None, None, None),
    }


def test_run_and_rank_are_settings(own_lake: OwnLake) -> None:
    rows = made_again(own_lake(cover={"run": "base_cls_full", "max_rank": 3, "min_score": 0.0}))
    assert len(rows) == 4 * 3, "every species is among the best three of the only tile"
    assert {(row["count"], row["coverage"], row["uncovered"], row["tiles"]) for row in rows} == {(1, 1.0, 0.0, 1)}
    assert {row["positions"][0]["rank"] for row in rows} == {1, 2, 3}


def test_tiles_of_several_scales_that_overlap_are_counted_once(own_lake: OwnLake) -> None:
    """The tiles of a run are moved, so that they overlap, lie apart, and leave ground uncovered."""
    boxes = {0: (0, 0, 240, 100), 1: (50, 50, 100, 100), 2: (0, 140, 60, 60), 3: (61, 140, 60, 60)}

    def moved(table: pa.Table) -> pa.Table:
        rows = [
            {**row, **dict(zip(("x", "y", "width", "height"), boxes[row["tile_index"]], strict=True))}
            if row["tiling"] == "2x2"
            else row
            for row in table.to_pylist()
        ]
        return pa.Table.from_pylist(rows, schema=table.schema)

    settings = own_lake()
    rewrite(settings, Artifact("tile_predictions", "00"), moved)
    made_again(settings)
    pixels = np.zeros((SIDE, SIDE), bool)
    for x, y, width, height in boxes.values():
        pixels[y : y + height, x : x + width] = True
    for row in Lake(settings.lake).read(FIRST).to_pylist():
        assert row["uncovered"] == 1 - pixels.sum() / SIDE**2
        tiles = np.array([box_of(place) for place in row["positions"]])
        assert {tuple(tile) for tile in tiles.tolist()} <= set(boxes.values())
        assert row["coverage"] == union_area(tiles) / SIDE**2


def test_a_new_shard_of_plots_gets_its_cover_alone_and_byte_for_byte(own_lake: OwnLake) -> None:
    settings = own_lake()
    files = [Path(settings.lake, "species_cover", f"01.{kind}") for kind in ("parquet", "csv", "json")]
    before, contents = stamps(settings), [file.read_bytes() for file in files]
    files[1].unlink()
    assert materialize(settings, "species_cover", first="00", last="01").success
    assert [file.read_bytes() for file in files] == contents
    changed = {name for name, stamp in stamps(settings).items() if before[name] != stamp}
    assert changed == {f"species_cover/01.{kind}" for kind in ("parquet", "csv", "json")}


def test_a_run_that_aggregates_otherwise_leaves_the_cover_valid(own_lake: OwnLake) -> None:
    runs = {**own_lake().model_dump()["runs"], "another": {"feature_set": "base_dct", "tiling": "2x2"}}
    assert "up_to_date" not in failed(evaluate_checks(own_lake(runs=runs), "species_cover"), "species_cover")


def test_the_first_plot_is_shown_with_its_colours_and_rows(own_lake: OwnLake) -> None:
    settings = own_lake()
    Lake(settings.lake).path(FIRST).unlink()
    with DagsterInstance.ephemeral() as instance:
        assert materialize(settings, "species_cover", first="00", instance=instance).success
        metadata = materialization_metadata(instance, "species_cover")["00"]
    assert metadata["covered_plot"].startswith("![PLOT-0-20240501](data:image/jpeg;base64,")
    first = metadata["preview"].records[0].data
    assert (first["plot_id"], first["binomial"].split()[0]) == ("PLOT-0-20240501", "Planta")
    assert metadata["species_per_plot"] >= 1


def test_sql_finds_species_and_their_places(tiny_lake: Settings) -> None:
    question = "select plot_id, unnest(positions, recursive := true) from species_cover where species_id = 1000001"
    with open_catalog(Lake(tiny_lake.lake)) as catalog:
        answer = catalog.sql(question).to_arrow_table()
    assert {"plot_id", "centre_x", "width", "score", "tile_index"} <= set(answer.column_names)
    assert answer.num_rows


def test_the_last_run_that_cuts_plots_tells_the_cover(tiny_survey: Path, tmp_path: Path) -> None:
    def of(**runs: str) -> str:
        declared = {name: {"feature_set": "base_cls", "tiling": tiling} for name, tiling in runs.items()}
        profile = tmp_path / "runs.toml"
        profile.write_text("")
        return tiny_settings(tiny_survey, tmp_path / "lake", profile=str(profile), runs=declared).cover_run.tiling

    assert of(first="2x2", second="3x3", third="full") == "3x3"
    assert of(first="full+w120s80", second="full") == "full+w120s80"
    assert of(first="w120s80", second="1x1") == "w120s80"
    assert of(first="full") == "full"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cover": {"run": "base_cls_9x9"}}, "PLANTCLEF_COVER__RUN: there is no run 'base_cls_9x9'"),
        ({"cover": {"run": "finetuned_cls_full"}}, "whose feature set exists; use one of base_cls_full, base_cls_2x2"),
        ({"cover": {"max_rank": 4}, "top_k": 3}, "PLANTCLEF_COVER__MAX_RANK: 4 species of each tile are needed"),
        ({"cover": {"min_score": 1.5}}, "PLANTCLEF_COVER__MIN_SCORE: "),
    ],
)
def test_what_cannot_be_is_one_sentence(tiny_survey: Path, tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        tiny_settings(tiny_survey, tmp_path / "lake", **changes)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
