"""Scaled decoding: nearly the pixels of the complete decoding, and the same refusals."""

import io

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.images.decoding import (
    OVERSIZED,
    UndecodableImage,
    decode_at_scale,
    decode_image,
    decode_reduced,
)
from plantclef_assets.images.resizing import (
    ResizedImages,
    ResizingConfig,
    crop_reduced,
    crop_resize,
    reduced_tile,
    tile_divisor,
)
from plantclef_assets.images.tiling import TileConfig, tile_boxes
from plantclef_assets.lake.schemas import RAW_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard
from plantclef_assets_tests.images.pictures import ORIENTATION_TAG, encoded, picture
from plantclef_assets_tests.images.test_resizing import area_average

SIZE = 32


def centre(image: Image.Image) -> np.ndarray:
    side = min(image.size)
    top, left = image.height // 2 - side // 2, image.width // 2 - side // 2
    return np.asarray(image)[top : top + side, left : left + side]


@pytest.mark.parametrize(
    ("width", "height", "divisor"),
    [(127, 900, 1), (128, 300, 2), (300, 255, 2), (256, 256, 4), (511, 700, 4), (512, 513, 8), (3001, 2003, 8)],
)
def test_the_scale_is_the_smallest_that_leaves_twice_the_target(width: int, height: int, divisor: int) -> None:
    reduced = decode_reduced(encoded(picture(width, height), "JPEG"), 2 * SIZE)
    assert (reduced.divisor, reduced.width, reduced.height) == (divisor, width, height)
    assert min(reduced.image.size) >= min(width, height, 2 * SIZE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("width", "height"), [(203, 301), (1000, 517), (259, 259)])
def test_the_square_is_the_area_average_of_the_complete_picture(orientation: int, width: int, height: int) -> None:
    """Odd sizes and every orientation: the square must lie where it lies in the complete picture."""
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    data = encoded(picture(width, height, seed=3), "JPEG", quality=98, exif=exif)
    reduced = decode_reduced(data, 2 * SIZE)
    assert reduced.divisor > 1
    result = np.asarray(crop_reduced(reduced, SIZE), float)
    assert np.abs(result - area_average(centre(decode_image(data)), SIZE)).max() <= 3


def test_areas_are_averaged_exactly() -> None:
    """Blocks of one colour survive JPEG, so that only the weights of the pixels matter."""
    edges = np.asarray(Image.new("L", (208, 208)))
    edges = np.where(np.arange(208)[None, :] // 8 % 2 == 1, 255, edges).astype(np.uint8)
    data = encoded(Image.fromarray(edges).convert("RGB"), "JPEG", quality=100)
    reduced = decode_reduced(data, 2 * 29)
    assert reduced.divisor == 2
    result = np.asarray(crop_reduced(reduced, 29), float)
    assert np.abs(result - area_average(np.asarray(decode_image(data)), 29)).max() <= 2


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_grey_and_progressive_files_are_reduced(mode: str, progressive: bool) -> None:
    data = encoded(picture(300, 200).convert(mode), "JPEG", progressive=progressive)
    reduced = decode_reduced(data, 2 * SIZE)
    assert (reduced.divisor, reduced.image.mode) == (2, "RGB")
    assert np.abs(np.asarray(crop_reduced(reduced, SIZE), float) - crop_resize(decode_image(data), SIZE)).max() < 6


def test_multi_picture_files_are_reduced() -> None:
    buffer = io.BytesIO()
    picture(300, 200).save(buffer, "MPO", save_all=True, append_images=[picture(300, 200, seed=1)])
    assert decode_reduced(buffer.getvalue(), 2 * SIZE).divisor == 2


@pytest.mark.parametrize(
    "data",
    [
        encoded(picture(300, 200), "PNG"),
        encoded(picture(300, 200), "WEBP"),
        encoded(picture(300, 200).convert("CMYK"), "JPEG"),
        encoded(picture(120, 90), "JPEG"),
        encoded(picture(20, 30), "JPEG"),
    ],
    ids=["png", "webp", "cmyk", "small", "smaller than the target"],
)
def test_other_files_give_the_bytes_of_the_complete_decoding(data: bytes) -> None:
    reduced = decode_reduced(data, 2 * SIZE)
    assert reduced.divisor == 1
    assert crop_reduced(reduced, SIZE).tobytes() == crop_resize(decode_image(data), SIZE).tobytes()


def test_a_file_that_cannot_be_drafted_is_decoded_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *arguments: None)
    data = encoded(picture(300, 200), "JPEG")
    reduced = decode_reduced(data, 2 * SIZE)
    assert (reduced.divisor, reduced.image.tobytes()) == (1, decode_image(data).tobytes())


def test_refusals_are_those_of_the_complete_decoding() -> None:
    """Truncated and damaged files: the same reason and detail, or pixels from both."""
    data = encoded(picture(640, 480), "JPEG", quality=95)
    random = np.random.default_rng(0)
    cases = [data[:length] for length in range(0, len(data), len(data) // 60)]
    for _ in range(60):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 8):
            damaged[place] = random.integers(256)
        cases.append(bytes(damaged))

    def refusal(decode) -> tuple[str, str] | None:
        try:
            decode()
        except UndecodableImage as error:
            return error.reason, error.detail
        return None

    refusals = [refusal(lambda case=case: decode_image(case)) for case in cases]
    assert [refusal(lambda case=case: decode_reduced(case, 2 * SIZE)) for case in cases] == refusals
    assert sum(one is not None for one in refusals) > 60


def test_the_limit_applies_to_the_original_size() -> None:
    data = encoded(picture(640, 480), "JPEG")
    assert decode_reduced(data, 2 * SIZE, max_pixels=640 * 480).divisor == 4
    with pytest.raises(UndecodableImage) as caught:
        decode_reduced(data, 2 * SIZE, max_pixels=640 * 480 - 1)
    assert caught.value.reason == OVERSIZED


def test_a_shard_has_the_same_rows_and_nearly_the_same_pixels(tmp_path) -> None:
    lake = Lake(str(tmp_path))
    with write_shard(lake, Shard(Artifact("raw_images", "00"), {}), RAW_IMAGES) as table:
        for name, data in {"a": encoded(picture(300, 200), "JPEG"), "b": b"no picture"}.items():
            table.add([{"image_name": name, "species_id": 1, "data": data}])
    shard, made = Shard(Artifact("resized_images", "00"), {}), {}
    for scaled in (False, True):
        ResizedImages(lake, ResizingConfig(SIZE, 10**6, scaled))(shard)
        made[scaled] = lake.read(shard.artifact).to_pylist()
    assert [row["image_name"] for row in made[True]] == [row["image_name"] for row in made[False]] == ["a"]
    first, second = (np.asarray(Image.open(io.BytesIO(made[scaled][0]["data"])), float) for scaled in (False, True))
    assert made[True] != made[False]
    assert np.abs(first - second).mean() < 2


def test_only_a_set_parameter_is_part_of_provenance() -> None:
    assert ResizingConfig(128, 9).provenance() == {"image_size": 128, "max_pixels": 9}
    assert ResizingConfig(128, 9, True).provenance() == {"image_size": 128, "max_pixels": 9, "scaled_decoding": True}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tile_is_the_area_average_of_the_complete_tile(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    data = encoded(picture(523, 407, seed=3), "JPEG", quality=98, exif=exif)
    plot = decode_image(data)
    for tile in tile_boxes(*plot.size, "2x2"):
        divisor = tile_divisor(tile, SIZE)
        assert divisor == 2
        result = np.asarray(reduced_tile(decode_at_scale(data, divisor), tile, SIZE), float)
        x, y, width, height = tile.box
        across = area_weights(width) @ np.asarray(plot, float)[y : y + height, x : x + width].transpose(
            1, 0, 2
        ).reshape(width, -1)
        down = across.reshape(SIZE, height, 3).transpose(1, 0, 2).reshape(height, -1)
        expected = (area_weights(height) @ down).reshape(SIZE, SIZE, 3)
        assert np.abs(result - expected).max() <= 4


def area_weights(length: int) -> np.ndarray:
    """The part of each of `length` lines in each of SIZE lines, computed on a grid that divides both."""
    fine = np.repeat(np.eye(length), SIZE, axis=0).reshape(SIZE, length, length)
    return fine.mean(1)


def test_tile_config_records_scaled_decoding_only_when_set() -> None:
    assert "scaled_decoding" not in TileConfig(("full",), 64, 9).provenance()
    assert TileConfig(("full",), 64, 9, True).provenance()["scaled_decoding"] is True
