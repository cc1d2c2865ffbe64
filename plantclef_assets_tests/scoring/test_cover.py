"""The cover of species in one plot: areas to the pixel, and which tiles show what."""

import numpy as np
import pytest

from plantclef_assets.images.tiling import tile_boxes
from plantclef_assets.scoring.cover import Hits, cover_plot, union_area

PLOT = (300, 200)


def hits(*entries: tuple[int, tuple[int, int, int, int], int, float, int]) -> Hits:
    """Make hits from (tile_index, box, species_id, score, rank)."""
    tile, boxes, species, score, rank = zip(*entries, strict=True) if entries else ((), (), (), (), ())
    return Hits(
        np.array(tile, np.int32),
        np.array(boxes, np.int32).reshape(-1, 4),
        np.array(species, np.int64),
        np.array(score, np.float32),
        np.array(rank, np.int32),
    )


def cover(*entries: tuple, min_score: float = 0.1, max_rank: int = 1):
    return cover_plot(hits(*entries), *PLOT, min_score=min_score, max_rank=max_rank)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_the_area_of_a_union_is_its_number_of_pixels(count: int) -> None:
    random = np.random.default_rng(count)
    corners = random.integers(0, 60, (count, 2))
    boxes = np.column_stack([corners, random.integers(1, 40, (count, 2))])
    pixels = np.zeros((100, 100), bool)
    for x, y, width, height in boxes:
        pixels[y : y + height, x : x + width] = True
    assert union_area(boxes) == pixels.sum()


@pytest.mark.parametrize("tiling", ["full", "3x3", "7x5~20", "w90s40", "5x5+4x4+3x3+w120s70"])
def test_all_tiles_of_a_tiling_cover_the_whole_plot(tiling: str) -> None:
    assert union_area(np.array([tile.box for tile in tile_boxes(*PLOT, tiling)])) == 300 * 200


def test_areas_of_large_plots_do_not_overflow() -> None:
    assert union_area(np.array([[0, 0, 60_000, 60_000]], np.int32)) == 3_600_000_000


def test_overlapping_tiles_of_a_species_count_once() -> None:
    one = cover((0, (0, 0, 200, 200), 7, 0.9, 1), (1, (100, 0, 200, 100), 7, 0.4, 1)).species[0]
    assert one.coverage == (200 * 200 + 100 * 100) / (300 * 200)
    assert one.max_score == pytest.approx(0.9)
    assert one.hits.tile_index.tolist() == [0, 1]


def test_species_may_share_ground_and_all_of_it_is_covered_once() -> None:
    found = cover((0, (0, 0, 150, 200), 7, 0.9, 1), (1, (75, 0, 150, 200), 8, 0.9, 1))
    assert [one.coverage for one in found.species] == [0.5, 0.5]
    assert found.uncovered == 0.25
    assert (found.tiles, found.matched) == (2, 2)


def test_rank_and_score_decide_what_shows_with_the_threshold_itself() -> None:
    entries = (
        (0, (0, 0, 150, 200), 7, 0.7, 1),
        (0, (0, 0, 150, 200), 8, 0.2, 2),
        (1, (150, 0, 150, 200), 8, 0.69, 1),
    )
    assert [one.species_id for one in cover(*entries, min_score=0.7).species] == [7]
    assert cover(*entries, min_score=0.7).matched == 1
    both = cover(*entries, max_rank=2).species
    assert [(one.species_id, one.coverage) for one in both] == [(8, 1.0), (7, 0.5)]
    assert cover(*entries, max_rank=2).matched == 2


def test_more_cover_comes_first_then_the_surer_then_the_smaller_id() -> None:
    side_by_side = [(index, (60 * index, 0, 60, 200)) for index in range(5)]
    said = [(9, 0.5), (8, 0.6), (7, 0.5), (6, 0.3), (6, 0.3)]
    found = cover(*((*place, *answer, 1) for place, answer in zip(side_by_side, said, strict=True)))
    assert [one.species_id for one in found.species] == [6, 8, 7, 9]


def test_a_plot_in_which_nothing_shows_is_uncovered() -> None:
    found = cover((0, (0, 0, 300, 200), 7, 0.09, 1))
    assert (found.tiles, found.matched, found.uncovered, found.species) == (1, 0, 1.0, ())
    assert cover().tiles == 0
    assert cover().uncovered == 1.0


@pytest.mark.parametrize("box", [(200, 0, 101, 200), (0, 1, 300, 200), (-1, 0, 10, 10)])
def test_tiles_that_do_not_fit_the_plot_are_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="a tile reaches beyond the plot of 300 × 200 px"):
        cover((0, box, 7, 0.9, 1))
