import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.engines.local import run_shards
from plantclef_assets.ingest.validation_plots import (
    CompositionConfig,
    TooFewPhotographsError,
    ValidationPlots,
    plan_places,
    plot_name,
    read_truth,
)
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.scoring.plot_names import place_of

from .photograph_lake import survey, write_photographs

PLOTS = 7


def make(lake: Lake, *, training_shards: int = 2, shards: int = 2, workers: int = 1, **changes: Any) -> list[dict]:
    """Make all shards and return their rows."""
    keys = shard_keys(shards)
    values = {"plots": PLOTS, "shards": shards, "side": 160, "species": (2, 4), "validation_share": 0.3, "seed": 5}
    config = CompositionConfig(**(values | changes))
    maker = ValidationPlots(lake, shard_keys(training_shards), config, max_pixels=10**6)
    for outcome in run_shards(maker, [Shard(Artifact("validation_plots", key), {}) for key in keys], workers=workers):
        if outcome.error:
            raise outcome.error
    return [row for key in keys for row in lake.read(Artifact("validation_plots", key)).to_pylist()]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with photographs alone."""
    return write_photographs(tmp_path / "lake", survey())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake in which the plots are composed; to be read only."""
    lake = write_photographs(tmp_path_factory.mktemp("made") / "lake", survey())
    make(lake)
    return lake


@pytest.fixture(scope="module")
def rows(made: Lake) -> list[dict]:
    return [row for key in ("00", "01") for row in made.read(Artifact("validation_plots", key)).to_pylist()]


def test_equal_inputs_give_equal_bytes_however_shards_are_cut(
    lake: Lake, made: Lake, rows: list[dict], tmp_path: Path
) -> None:
    make(lake)
    files = [some.path(Artifact("validation_plots", "00")) for some in (lake, made)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert make(lake, shards=3) == rows
    assert make(write_photographs(tmp_path / "cut", survey(), 5), training_shards=5, shards=1) == rows
    assert make(lake, seed=6) != rows


@pytest.mark.slow
def test_worker_processes_give_the_same_plots(lake: Lake, rows: list[dict]) -> None:
    assert make(lake, workers=2) == rows


def test_fewer_plots_are_the_first_of_more(lake: Lake, rows: list[dict]) -> None:
    assert make(lake, plots=4) == rows[:4]


def test_plots_are_upright_squares_of_the_side_that_was_asked_for(rows: list[dict]) -> None:
    assert len({row["plot_id"] for row in rows}) == PLOTS
    for row in rows:
        image = Image.open(io.BytesIO(row["data"]))
        assert image.format == "JPEG"
        assert (image.size, image.mode) == ((row["width"], row["height"]), "RGB") == ((160, 160), "RGB")


def test_some_places_are_visited_twice_with_the_same_plants_seen_otherwise(rows: list[dict]) -> None:
    visits: dict[str, list[dict]] = {}
    for row in rows:
        visits.setdefault(place_of(row["plot_id"]), []).append(row)
    assert Counter(len(some) for some in visits.values()) == {2: 2, 1: 3}
    for first, second in (some for some in visits.values() if len(some) == 2):
        photographs = [{one["image_name"] for one in row["objects"]} for row in (first, second)]
        assert photographs[0] & photographs[1]
        boxes = [{(one["x"], one["y"], one["width"]) for one in row["objects"]} for row in (first, second)]
        assert boxes[0] != boxes[1]


def test_the_truth_is_what_is_seen_of_held_out_photographs(rows: list[dict]) -> None:
    side_of = {name: (species, tag) for name, species, _, tag in survey()}
    for row in rows:
        seen = set()
        for one in row["objects"]:
            assert side_of[one["image_name"]] == (one["species_id"], "val")
            assert 0 < one["visible_share"] <= 1
            assert 0 <= one["x"] < one["x"] + one["width"] <= 160
            assert 0 <= one["y"] < one["y"] + one["height"] <= 160
            seen |= {one["species_id"]} if one["visible_share"] >= 0.5 else set()
        assert row["species_ids"] == sorted(seen)
        assert {one["species_id"] for one in row["objects"]} == seen, "no species is half there"
        assert 2 <= len(seen) <= 4
        observations = [one["image_name"].rsplit("-", 1)[0] for one in row["objects"]]
        assert len(set(observations)) == len(observations), "photographs of a species are of several observations"


def test_the_colours_of_a_species_are_where_its_objects_are(rows: list[dict]) -> None:
    """Among the objects that lie free, pixels are nearer to the colour of their own species than to any other's."""
    colours = {one: np.random.default_rng(one).integers(40, 220, 3) for one in range(1, 7)}
    right = []
    for row in rows:
        pixels = np.asarray(Image.open(io.BytesIO(row["data"])), float)
        for one in row["objects"]:
            if one["visible_share"] > 0.98:
                x, y = one["x"] + one["width"] // 2, one["y"] + one["height"] // 2
                spot = pixels[y - 3 : y + 4, x - 3 : x + 4].mean((0, 1))
                # The light may alter brightness, so colours are compared by their direction.
                likeness = {k: spot @ c / np.linalg.norm(spot) / np.linalg.norm(c) for k, c in colours.items()}
                right.append(max(likeness, key=lambda k: likeness[k]) == one["species_id"])
    assert len(right) > 5
    assert np.mean(right) > 0.8


def test_figures_say_which_species_there_are_and_that_no_photograph_trained(made: Lake, rows: list[dict]) -> None:
    shards = [made.record(Artifact("validation_plots", key)) for key in ("00", "01")]
    found: set[int] = set()
    for record in shards:
        assert record is not None
        assert (record.statistics["not_held_out"], record.statistics["first_not_held_out"]) == (0, [])
        assert record.statistics["held_out_species"] == [1, 2, 3, 4, 5, 6]
        assert (record.statistics["rows_in"], record.statistics["quarantined"]) == (record.rows, 0)
        found.update(record.statistics["species"])
    assert found == {1, 2, 3, 4, 5, 6} == {one for row in rows for one in row["species_ids"]}


def test_the_truth_is_read_by_plot(made: Lake, rows: list[dict]) -> None:
    assert read_truth(made, ["00", "01"]) == {row["plot_id"]: row["species_ids"] for row in rows}


def test_too_few_species_are_told_with_what_to_do(tmp_path: Path) -> None:
    lake = write_photographs(tmp_path, survey(1))
    with pytest.raises(
        TooFewPhotographsError, match=r"photographs of 2 species .* there are 1: .*VALIDATION__PLOTS to 0"
    ):
        make(lake)
    assert not lake.exists(Artifact("validation_plots", "00"))


HELD_OUT = {one: {f"{one}{letter}": [f"{one}{letter}.jpg"] for letter in "abcdef"} for one in range(20)}


def test_places_use_all_species_and_photographs_before_any_twice() -> None:
    places = plan_places(HELD_OUT, 30, (2, 8), 3)
    assert [place.number for place in places] == list(range(20))
    assert places[:7] == plan_places(HELD_OUT, 10, (2, 8), 3)
    species = Counter(one for place in places for one in {one for one, _ in place.photographs})
    assert max(species.values()) - min(species.values()) <= 1
    assert set(species) == set(HELD_OUT)
    numbers = [len({one for one, _ in place.photographs}) for place in plan_places(HELD_OUT, 300, (2, 8), 3)]
    assert (min(numbers), max(numbers)) == (2, 8)
    assert numbers.count(2) > 2 * numbers.count(8), "many species are rare"
    plants = Counter(name for place in places for _, name in place.photographs)
    for observations in HELD_OUT.values():
        uses = [plants[name] for (name,) in observations.values()]
        assert max(uses) - min(uses) <= 1


def test_the_names_of_visits_differ_in_their_date() -> None:
    names = [plot_name(number, 42) for number in range(12)]
    assert [place_of(name) for name in names[:4]] == ["VAL-0000", "VAL-0000", "VAL-0001", "VAL-0002"]
    assert len(set(names)) == 12
    assert [name[9:13] for name in names[:3]] == ["2024", "2025", "2024"]
    assert all(1 <= int(name[-2:]) <= 28 and 5 <= int(name[-4:-2]) <= 8 for name in names)


def test_any_seed_will_do() -> None:
    assert plan_places(HELD_OUT, 3, (2, 2), -1) != plan_places(HELD_OUT, 3, (2, 2), 1)
