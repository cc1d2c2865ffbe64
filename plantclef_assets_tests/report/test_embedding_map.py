"""The embedding map: two panels of points in the colours of their species, and a legend."""

import io

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.report import embedding_map
from plantclef_assets.report.charts import COLOURS
from plantclef_assets.report.embedding_map import EmbeddingMap, MissingUmapError, Panel, draw_map, umap_available

PAPER = np.array([255, 255, 255])


def drawn(
    positions: np.ndarray, species: list[int], held_out: list[bool], names: dict[int, str | None] | None = None
) -> np.ndarray:
    panels = [Panel("base: separation 0.12", positions), Panel("fine-tuned: separation 0.48", -positions)]
    data = draw_map(panels, np.array(species), np.array(held_out, bool), names or {})
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def frames(picture: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return left, top, right and bottom of the two panels, by their light grey frames."""
    grey = np.abs(picture - 213).max(-1) < 10
    rows, columns = np.flatnonzero(grey.sum(1) > 800), np.flatnonzero(grey.sum(0) > 400)
    edges = [int(one) for one, before in zip(columns, [-9, *columns], strict=False) if one > before + 1]
    return [(edges[0], int(rows[0]), edges[1], int(rows[-1])), (edges[2], int(rows[0]), edges[3], int(rows[-1]))]


def colour_at(picture: np.ndarray, panel: int, across: float, down: float) -> np.ndarray:
    """Return the colour at a place of a panel; (0, 0) is the upper left point of a map, (1, 1) the lower right."""
    left, top, right, bottom = frames(picture)[panel]
    margin = 0.07 / 2.14  # of a panel, around the points
    x, y = (margin + place * (1 - 2 * margin) for place in (across, down))
    return picture[round(top + y * (bottom - top)), round(left + x * (right - left))]


CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def test_points_are_in_their_places_and_in_the_colours_of_their_species() -> None:
    picture = drawn(CORNERS, [1, 1, 1, 2], [True] * 4)
    first, second = np.array(COLOURS[:2])
    for panel, places in ((0, [(0, 1), (1, 1), (1, 0), (0, 0)]), (1, [(1, 0), (0, 0), (0, 1), (1, 1)])):
        for place, wanted in zip(places, (first, first, first, second), strict=True):
            assert np.abs(colour_at(picture, panel, *place) - wanted).max() < 12, (panel, place)
        assert np.abs(colour_at(picture, panel, 0.5, 0.5) - PAPER).max() == 0


def test_photographs_that_are_not_held_out_are_faint() -> None:
    picture = drawn(CORNERS, [1] * 4, [True, False, True, False])
    solid, faint = colour_at(picture, 0, 0, 1), colour_at(picture, 0, 1, 1)
    assert np.abs(faint - PAPER).sum() < np.abs(solid - PAPER).sum() / 2
    assert np.abs(faint - PAPER).sum() > 60


def test_held_out_photographs_lie_above_the_others() -> None:
    picture = drawn(np.zeros((3, 2)), [1, 1, 2], [False, False, True])
    assert np.abs(colour_at(picture, 0, 0.5, 0.5) - COLOURS[1]).max() < 12


@pytest.mark.parametrize("count", [0, 1])
def test_few_photographs_are_no_reason_to_fail(count: int) -> None:
    picture = drawn(np.zeros((count, 2)), [7] * count, [True] * count)
    middle = np.array(COLOURS[0]) if count else PAPER
    assert np.abs(colour_at(picture, 0, 0.5, 0.5) - middle).max() < 12


def test_the_legend_grows_with_its_names_and_stays_in_the_picture() -> None:
    species = list(range(5))
    positions, held_out = np.random.default_rng(1).normal(size=(5, 2)), [True] * 5
    short = drawn(positions, species, held_out, dict.fromkeys(species, "Aster alpinus L."))
    long = drawn(positions, species, held_out, dict.fromkeys(species, "Hieracium × murorum (Fée) Öå. " * 9))
    assert long.shape[0] > short.shape[0]
    assert long.shape[1] == short.shape[1]
    assert np.abs(long[:, :8] - PAPER).max() == 0, "nothing is written into the margins"
    assert np.abs(long[:, -8:] - PAPER).max() == 0
    assert [right - left for left, _, right, _ in frames(long)] == [right - left for left, _, right, _ in frames(short)]


def test_species_without_a_name_are_known_by_their_id() -> None:
    one = drawn(CORNERS, [1234567] * 4, [True] * 4)
    same = drawn(CORNERS, [1234567] * 4, [True] * 4, {1234567: "1234567"})
    assert np.array_equal(one, same)


def test_there_are_five_colours() -> None:
    with pytest.raises(ValueError, match="5 species at most, not 6"):
        drawn(np.zeros((6, 2)), list(range(6)), [True] * 6)


def test_a_map_stays_small_enough_for_an_event_log() -> None:
    random = np.random.default_rng(1)
    positions = random.normal(size=(2500, 2))
    panels = [Panel("base", positions), Panel("fine-tuned", positions[::-1])]
    assert len(draw_map(panels, random.integers(0, 5, 2500), random.random(2500) < 0.2, {})) < 120_000


def test_without_umap_the_map_is_refused_with_what_to_do(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert umap_available()
    monkeypatch.setattr(embedding_map.importlib.util, "find_spec", lambda name: None)
    assert not umap_available()
    make = EmbeddingMap(Lake(str(tmp_path)), ("base", "finetuned"), ("00",), 0.2, 0, print)
    with pytest.raises(MissingUmapError, match=r"needs umap-learn.*pip install 'plantclef-assets\[umap\]'"):
        make(Shard(Artifact("embedding_map"), {}))
