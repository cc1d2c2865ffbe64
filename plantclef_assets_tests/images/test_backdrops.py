import numpy as np
import pytest
from PIL import Image

from plantclef_assets.images.backdrops import LIGHT, cast_light, noise, paint_ground
from plantclef_assets_tests.images.pictures import picture


def flower(rim, centre):
    """Make a photograph with a square of one colour in the middle of another."""
    image = Image.new("RGB", (200, 200), rim)
    image.paste(centre, (40, 40, 160, 160))
    return image


def test_ground_has_the_colours_of_the_rim_and_nothing_of_the_flower():
    green = flower((70, 110, 50), (250, 20, 20))
    mean = np.asarray(paint_ground([green, green], 128, np.random.default_rng(1))).mean((0, 1))
    assert mean[1] > mean[0] > mean[2]
    other = flower((70, 110, 50), (20, 20, 250))
    assert np.array_equal(
        np.asarray(paint_ground([green], 64, np.random.default_rng(1))),
        np.asarray(paint_ground([other], 64, np.random.default_rng(1))),
    )


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128)])
def test_a_photograph_of_one_colour_gives_ground_with_texture(colour):
    pixels = np.asarray(paint_ground([Image.new("RGB", (50, 50), colour)], 128, np.random.default_rng(2)))
    assert 40 < pixels.mean() < 150
    assert pixels.std() > 8


def test_grounds_are_decided_by_their_seed_alone():
    grounds = [
        np.asarray(paint_ground([picture(60, 40), picture(40, 60, 1)], 96, np.random.default_rng(s))) for s in (1, 1, 2)
    ]
    assert np.array_equal(grounds[0], grounds[1])
    assert not np.array_equal(grounds[0], grounds[2])


def test_ground_needs_a_photograph():
    with pytest.raises(ValueError, match="one photograph"):
        paint_ground([], 64, np.random.default_rng(1))


def test_light_alters_a_plot_without_hiding_it():
    pixels = np.asarray(picture(80, 60), np.float32)
    lit = np.asarray(cast_light(pixels, LIGHT, np.random.default_rng(5)), np.float32)
    assert lit.shape == pixels.shape
    assert 0.6 < lit.mean() / pixels.mean() < 1.5
    assert np.corrcoef(lit.ravel(), pixels.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("size", [(120, 120), (120, 90), (90, 120)])
def test_noise_has_the_size_asked_for_and_a_standard_deviation_of_about_one(size):
    field = noise(size, 30, np.random.default_rng(4))
    assert field.shape == size[::-1]
    assert 0.5 < field.std() < 1.5
