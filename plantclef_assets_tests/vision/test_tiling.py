import numpy as np
import pytest

from plantclef_assets.vision.tiling import Tile, parse_tiling, tile_boxes


def test_full_is_the_whole_plot():
    assert tile_boxes(300, 200, "full") == [Tile(0, 0, 0, 300, 200, 1.0)]


@pytest.mark.parametrize(("width", "height"), [(3024, 3024), (1980, 1824), (1024, 1025), (7, 5)])
@pytest.mark.parametrize("tiling", ["full", "3x3", "4x4", "2x5"])
def test_every_pixel_is_covered_once(width, height, tiling):
    cover = np.zeros((height, width), int)
    for tile in tile_boxes(width, height, tiling):
        cover[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] += 1
    assert cover.min() == cover.max() == 1


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
    assert parse_tiling("2x5") == (2, 5)
    assert parse_tiling("full") == (1, 1)


@pytest.mark.parametrize("name", ["", "3", "0x3", "3X3", "3x3x3", "100x100", " 3x3", "whole"])
def test_an_unknown_tiling_is_refused(name):
    with pytest.raises(ValueError, match="unknown tiling"):
        parse_tiling(name)


@pytest.mark.parametrize("size", [(2, 10), (10, 2)])
def test_a_plot_smaller_than_its_grid_is_refused(size):
    with pytest.raises(ValueError, match="too small"):
        tile_boxes(*size, "3x3")
