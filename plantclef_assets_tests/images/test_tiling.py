from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from plantclef_assets.images import tiling as tilings
from plantclef_assets.images.tiling import Box, Grid, Tile, Tiling, Windows, distinct_boxes, parse_tiling, tile_boxes

ALL_SCALES = "6x6+5x5+4x4+3x3+2x2+1x1"


def cover(width: int, height: int, tiles: list[Tile]) -> np.ndarray:
    """Count for each pixel in how many tiles it is."""
    counts = np.zeros((height, width), int)
    for tile in tiles:
        assert min(tile.x, tile.y) >= 0 and tile.x + tile.width <= width and tile.y + tile.height <= height
        counts[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] += 1
    return counts


def test_full_is_the_whole_plot():
    assert tile_boxes(300, 200, "full") == [Tile(0, 0, 0, 300, 200, 1.0)]


@pytest.mark.parametrize(("width", "height"), [(3024, 3024), (1980, 1824), (1024, 1025), (7, 5)])
@pytest.mark.parametrize("tiling", ["full", "3x3", "4x4", "2x5"])
def test_every_pixel_is_covered_once(width, height, tiling):
    counts = cover(width, height, tile_boxes(width, height, tiling))
    assert counts.min() == counts.max() == 1


def test_tiles_go_row_by_row_and_the_remainder_to_the_last():
    tiles = tile_boxes(11, 8, "2x3")
    assert [(t.index, t.x, t.y, t.width, t.height) for t in tiles] == [
        (0, 0, 0, 3, 4),
        (1, 3, 0, 3, 4),
        (2, 6, 0, 5, 4),
        (3, 0, 4, 3, 4),
        (4, 3, 4, 3, 4),
        (5, 6, 4, 5, 4),
    ]
    assert {t.scale for t in tiles} == {(1 / 6) ** 0.5}


def test_rows_come_before_columns():
    assert parse_tiling("2x5") == Tiling((Grid(2, 5),))
    assert parse_tiling("full") == Tiling((Grid(1, 1),))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "3",
        "0x3",
        "3X3",
        "3x3x3",
        "100x100",
        " 3x3",
        "3x3\n",
        "whole",
        "3x3+",
        "+3x3",
        "3x3,4x4",
        "3x3~",
        "full~10",
        "4x4~100",
        "w518",
        "w518s0",
        "w9s9",
        "4x4-b",
        "4x4-b0",
        "4x4-b10+5x5",
        "-b10",
    ],
)
def test_an_unknown_tiling_is_refused(name):
    with pytest.raises(ValueError, match="unknown tiling"):
        parse_tiling(name)


@pytest.mark.parametrize("size", [(2, 10), (10, 2)])
def test_a_plot_smaller_than_its_grid_is_refused(size):
    with pytest.raises(ValueError, match="too small"):
        tile_boxes(*size, "3x3")


@pytest.mark.parametrize(
    ("name", "tiles"),
    [("full", 1), ("3x3", 9), (ALL_SCALES, 91), ("full+3x3", 10), ("4x4~10", 16), ("4x4+5x5-b10", 41)],
)
def test_the_number_of_tiles_follows_from_the_name_of_grids(name, tiles):
    assert parse_tiling(name).tiles == tiles
    assert [tile.index for tile in tile_boxes(1980, 1824, name)] == list(range(tiles))


@pytest.mark.parametrize("name", ["w518s259", "full+w518s259"])
def test_the_number_of_windows_depends_on_the_plot(name):
    assert parse_tiling(name).tiles is None
    assert len(tile_boxes(600, 600, name)) < len(tile_boxes(3000, 2000, name))


def test_the_tiles_of_several_scales_come_one_scale_after_the_other():
    single = [tile for name in ALL_SCALES.split("+") for tile in tile_boxes(301, 211, name)]
    together = tile_boxes(301, 211, ALL_SCALES)
    assert [(tile.box, tile.scale) for tile in together] == [(tile.box, tile.scale) for tile in single]
    assert [round(tile.scale * 12) for tile in tile_boxes(24, 24, "full+2x2")] == [12, 6, 6, 6, 6]


def test_grown_tiles_overlap_and_stay_within_the_plot():
    assert [tile.box for tile in tile_boxes(40, 80, "2x2~10")] == [
        (0, 0, 22, 44),
        (18, 0, 22, 44),
        (0, 36, 22, 44),
        (18, 36, 22, 44),
    ]
    assert {tile.scale for tile in tile_boxes(40, 80, "2x2~10")} == {0.5 * 1.2}


def test_a_border_is_cut_off_before_tiling():
    assert [tile.box for tile in tile_boxes(100, 50, "2x2-b10")] == [
        (10, 5, 40, 20),
        (50, 5, 40, 20),
        (10, 25, 40, 20),
        (50, 25, 40, 20),
    ]
    assert [tile.box for tile in tile_boxes(105, 57, "full-b10")] == [(10, 5, 85, 47)]
    assert tile_boxes(100, 50, "full-b10")[0].scale == pytest.approx(0.8)
    everything = cover(109, 87, tile_boxes(109, 87, "4x4-b10"))
    assert everything[8:-8, 10:-10].min() == everything.max() == 1
    assert everything.sum() == (109 - 20) * (87 - 16)


def test_windows_go_row_by_row_and_the_last_ends_at_the_edge():
    assert [tile.box for tile in tile_boxes(25, 14, "w10s5")] == [
        *((x, 0, 10, 10) for x in (0, 5, 10, 15)),
        *((x, 4, 10, 10) for x in (0, 5, 10, 15)),
    ]
    assert [tile.x for tile in tile_boxes(26, 10, "w10s5")] == [0, 5, 10, 15, 16]
    assert tile_boxes(100, 100, "w50s50")[0].scale == pytest.approx(0.5)


@pytest.mark.parametrize(("width", "height"), [(3024, 3024), (1980, 1824), (1036, 518), (519, 517), (7, 5), (518, 518)])
@pytest.mark.parametrize("tiling", ["w518s259", "w518s172", "w518s518", "w100s99", "2x2~30"])
def test_overlapping_tiles_cover_every_pixel_and_none_occurs_twice(width, height, tiling):
    tiles = tile_boxes(width, height, tiling)
    assert cover(width, height, tiles).min() >= 1
    assert len({tile.box for tile in tiles}) == len(tiles)


def test_a_plot_smaller_than_the_window_is_one_window():
    assert [tile.box for tile in tile_boxes(300, 200, "w518s259")] == [(0, 0, 300, 200)]
    assert [tile.box for tile in tile_boxes(300, 700, "w518s259")] == [(0, 0, 300, 518), (0, 182, 300, 518)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("full+1x1", "the same tiles twice"),
        ("3x3+2x2+3x3", "the same tiles twice"),
        ("w518s519", "windows must meet"),
        ("w518s51", "at most 10 strides long"),
        ("4x4-b46", "the maximum is 45 %"),
    ],
)
def test_a_tiling_that_makes_no_sense_is_refused(name, said):
    with pytest.raises(ValueError, match=said):
        parse_tiling(name)


def test_windows_have_a_side_and_a_stride():
    assert parse_tiling("full+w518s259-b5") == Tiling((Grid(1, 1), Windows(518, 259)), 5)


def test_boxes_that_several_tilings_share_are_counted_once():
    boxes = distinct_boxes(300, 210, ["3x3", ALL_SCALES, "full", "w300s300"])
    assert len(boxes) == 91
    assert list(boxes.values()) == list(range(91))
    assert list(boxes)[:9] == [tile.box for tile in tile_boxes(300, 210, "3x3")]


def test_a_scale_is_added_by_one_decorated_class(monkeypatch):
    monkeypatch.setattr(tilings, "_SCALES", [*tilings._SCALES])
    parse_tiling.cache_clear()

    @tilings.register_scale(r"top([1-9]\d?)", "an upper strip such as 'top20'")
    @dataclass(frozen=True)
    class Strip:
        percent: int
        tiles = 1

        def boxes(self, width: int, height: int) -> Iterator[tuple[Box, float]]:
            yield (0, 0, width, height * self.percent // 100), (self.percent / 100) ** 0.5

    assert [tile.box for tile in tile_boxes(100, 50, "top20+1x2")] == [(0, 0, 100, 10), (0, 0, 50, 50), (50, 0, 50, 50)]
    assert parse_tiling("top20+1x2").tiles == 3
    with pytest.raises(ValueError, match="'top20', or several joined"):
        parse_tiling("bottom20")
    parse_tiling.cache_clear()
