import io

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.images.resizing import crop_resize, encode_jpeg, resize_tile
from plantclef_assets.images.tiling import Tile
from plantclef_assets_tests.images.pictures import picture


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def area_average(pixels: np.ndarray, size: int) -> np.ndarray:
    """Average exactly: weight of a source pixel = the part of it inside the output pixel."""

    def weights(length: int) -> np.ndarray:
        edges = np.arange(size + 1) * length / size
        low = np.maximum(edges[:-1, None], np.arange(length)[None])
        high = np.minimum(edges[1:, None], np.arange(length)[None] + 1)
        return np.clip(high - low, 0, None) * size / length

    height, width = pixels.shape[:2]
    return np.einsum("yh,xw,hwc->yxc", weights(height), weights(width), pixels.astype(float), optimize=True)


@pytest.mark.parametrize(
    ("make", "width", "height", "tolerance"),
    # Sizes that divide evenly must be exact but for rounding in each direction, on noise too; others nearly so.
    [(noise, 96, 64, 1.0), (noise, 64, 97, 1.0), (picture, 165, 165, 4), (picture, 301, 270, 3)],
)
def test_crop_resize_is_the_references(make, width, height, tolerance):
    image = make(width, height)
    side = min(width, height)
    top, left = height // 2 - side // 2, width // 2 - side // 2
    square = np.asarray(image)[top : top + side, left : left + side]
    result = np.asarray(crop_resize(image, 32))
    assert result.shape == (32, 32, 3)
    assert np.abs(result - area_average(square, 32)).max() <= tolerance


@pytest.mark.parametrize(("width", "height", "left", "top"), [(100, 33, 34, 0), (33, 100, 0, 34), (101, 40, 30, 0)])
def test_the_square_begins_where_the_references_does(width, height, left, top):
    image, side = noise(width, height), min(width, height)
    expected = np.asarray(image)[top : top + side, left : left + side]
    assert np.array_equal(np.asarray(crop_resize(image, side)), expected)


def test_the_centre_square_is_not_squeezed():
    image = Image.new("RGB", (90, 30), "red")
    image.paste("green", (30, 0, 60, 30))
    assert crop_resize(image, 10).getcolors() == [(100, (0, 128, 0))]


def test_enlarging_blends_and_does_not_overshoot():
    image = Image.new("L", (2, 2), 50)
    image.putpixel((1, 0), 200)
    enlarged = np.asarray(crop_resize(image, 16))
    assert (enlarged.min(), enlarged.max()) == (50, 200)
    assert len(np.unique(enlarged)) > 4


def test_a_tile_is_shown_whole_and_nothing_beside_it():
    plot = Image.new("RGB", (100, 60), "red")
    plot.paste("blue", (20, 10, 50, 40))
    plot.paste("green", (50, 10, 80, 40))
    tile = np.asarray(resize_tile(plot, Tile(0, 20, 10, 60, 30, 0.5), 10))
    assert np.array_equal(tile[:, :5], np.broadcast_to([0, 0, 255], (10, 5, 3)))
    assert np.array_equal(tile[:, 5:], np.broadcast_to([0, 128, 0], (10, 5, 3)))


@pytest.mark.parametrize("size", [0, -3])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(ValueError, match="at least 1"):
        crop_resize(picture(8, 8), size)


def test_jpeg_is_deterministic_small_in_error_and_without_metadata():
    image = picture(64, 64)
    image.info["exif"] = b"Exif\0\0secret"
    data = encode_jpeg(image)
    assert data == encode_jpeg(image)
    assert b"secret" not in data
    decoded = Image.open(io.BytesIO(data))
    assert np.abs(np.asarray(decoded, float) - np.asarray(image, float)).mean() < 2
    assert len(encode_jpeg(image, quality=30)) < len(data)
