"""The picture of cover: the colours of tiles, what lies on top, and the legend."""

import io

import numpy as np
from PIL import Image

from plantclef_assets.report.cover import Shown, draw_cover
from plantclef_assets.report.maps import COLOURS

SIDE = 400
GROUND = 60


def drawn(*species: Shown) -> np.ndarray:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (GROUND, GROUND, GROUND)).save(buffer, "PNG")
    return np.asarray(Image.open(io.BytesIO(draw_cover(buffer.getvalue(), species, "a note", side=SIDE))), int)


def veiled(number: int) -> np.ndarray:
    """Give the colour of a species as it lies over the ground."""
    return (np.array(COLOURS[number]) * 105 + GROUND * 150) / 255


def test_a_tile_has_the_colour_of_its_species_and_the_rest_none() -> None:
    picture = drawn(Shown("one", [(0, 0, 200, 200)], [0.9]), Shown("two", [(200, 200, 200, 200)], [0.9]))
    assert np.abs(picture[100, 100] - veiled(0)).max() < 6
    assert np.abs(picture[300, 300] - veiled(1)).max() < 6
    assert np.abs(picture[100, 300] - GROUND).max() < 6


def test_smaller_tiles_lie_on_top_and_of_equal_ones_the_surer() -> None:
    whole, corner = (0, 0, SIDE, SIDE), (200, 200, 200, 200)
    picture = drawn(Shown("one", [corner, whole], [0.2, 0.9]), Shown("two", [corner], [0.3]))
    assert np.abs(picture[100, 100] - veiled(0)).max() < 6
    assert np.abs(picture[300, 300] - veiled(1)).max() < 6, "no mixture of two colours"


def test_the_legend_has_a_line_for_each_colour_and_one_for_all_others() -> None:
    def below(count: int) -> np.ndarray:
        return drawn(*(Shown(f"Salvia × nº {number}", [(0, 0, 50, 50)], [0.5]) for number in range(count)))[SIDE:]

    line = len(below(1)) - len(below(0))
    assert len(below(5)) == len(below(0)) + 5 * line
    assert len(below(9)) == len(below(0)) + 6 * line
    swatches = [below(9)[int(5 + (number + 0.5) * line), 17] for number in range(6)]
    for number in range(5):
        assert np.abs(swatches[number] - COLOURS[number]).max() < 30
    assert np.ptp(swatches[5]) < 8, "grey"
