"""Resizing: the crop-resize of the reference for photographs and its shards, whole tiles of plots, and JPEG.

Source of the crop-resize: DS@GT PlantCLEF 2024 (arXiv 2407.06298) and its code: side = min(height, width), start =
dim // 2 − side // 2 in both directions, area interpolation to 128 × 128, JPEG quality 95.

Shrinking averages areas with Pillow's BOX filter: an output pixel is the mean of the source pixels whose centres lie
in it, which is the exact area average if sizes divide evenly. Enlarging is bilinear, as in OpenCV's area interpolation:
the BOX filter would repeat pixels as blocks, and bicubic interpolation can overshoot.

With scaled decoding, libjpeg decodes a photograph at 1/2, 1/4 or 1/8 of its size, at least twice the wanted side. The
areas then have few pixels, so those on a border matter, and the exact area average is computed in place of BOX.

No model library is imported here, so that worker processes start fast.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from plantclef_assets.images.decoding import ReducedImage, UndecodableImage, decode_image, decode_reduced, scale_divisor
from plantclef_assets.images.tiling import Box, Tile
from plantclef_assets.lake.schemas import RESIZED_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, read_rows, write_shard

if TYPE_CHECKING:
    from scipy.sparse import csr_array

JPEG_QUALITY = 95
"""Quality of the stored crops, as in the reference."""

_LEAST_REDUCTION = 2
"""Scaled decoding leaves at least this many pixels for one of the square, in each direction. With one, the PSNR against
the full decode falls from about 50 to 31 dB."""


@dataclass(frozen=True)
class ResizingConfig:
    """What the bytes of resized photographs depend on.

    Attributes:
        image_size: side of the squares, px.
        max_pixels: limit on the pixels of a photograph.
        scaled_decoding: whether large JPEG files are decoded at a reduced scale.
    """

    image_size: int
    max_pixels: int
    scaled_decoding: bool = False

    def provenance(self) -> dict[str, Any]:
        """Return what is recorded; a parameter that is not set is no part of provenance."""
        scaled = {"scaled_decoding": True} if self.scaled_decoding else {}
        return {"image_size": self.image_size, "max_pixels": self.max_pixels, **scaled}


@dataclass(frozen=True)
class ResizedImages:
    """Writes shards of resized_images: upright centre squares of the raw photographs."""

    lake: Lake
    config: ResizingConfig

    def __call__(self, shard: Shard) -> None:
        """Write one shard; photographs that cannot be decoded are quarantined."""
        with write_shard(self.lake, shard, RESIZED_IMAGES) as table:
            for row in read_rows(self.lake, Artifact("raw_images", shard.artifact.partition)):
                table.rows_in += 1
                try:
                    # Kept until the next one is decoded: memory that is freed in between returns to the system, and
                    # mapping it again costs a tenth of the time of a photograph of 3,000 px.
                    decoded = decode_for_resizing(row["data"], self.config)
                except UndecodableImage as error:
                    table.quarantine(row["image_name"], row["image_name"], error.reason, error.detail)
                else:
                    table.add([row | {"data": encode_jpeg(crop_reduced(decoded, self.config.image_size))}])


def decode_for_resizing(data: bytes, config: ResizingConfig) -> ReducedImage:
    """Return a photograph for `crop_reduced`, at a reduced scale if the configuration says so.

    Raises:
        UndecodableImage: as `decode_image`.
    """
    if config.scaled_decoding:
        return decode_reduced(data, _LEAST_REDUCTION * config.image_size, max_pixels=config.max_pixels)
    image = decode_image(data, max_pixels=config.max_pixels)
    return ReducedImage(image, 1, *image.size)


def crop_resize(image: Image.Image, size: int) -> Image.Image:
    """Return the centre square of an image, resized to `size` × `size` px in the same mode.

    Raises:
        ValueError: `size` is not positive.
    """
    return _resize_box(image, _centre_square(*image.size), size)


def crop_reduced(reduced: ReducedImage, size: int) -> Image.Image:
    """Return the centre square of the original picture, resized to `size` × `size` px.

    A picture that was decoded at a reduced scale must have at least `size` px in its centre square; its areas are
    averaged exactly. Otherwise the result is that of `crop_resize`.
    """
    if reduced.divisor == 1:
        return crop_resize(reduced.image, size)
    return _average_box(reduced, _centre_square(reduced.width, reduced.height), size)


def resize_tile(plot: Image.Image, tile: Tile, size: int) -> Image.Image:
    """Return a tile of a plot, resized as a whole to `size` × `size` px in the same mode.

    A tile that is not square is squeezed instead of cropped, so that every part of a plot is seen. On composed plots
    with 4:3 tiles, squeezing and cropping recognised equally well.

    Args:
        plot: the upright plot.
        tile: a tile of a plot of this size.
        size: side of the crops that the classifier was trained on. Tiles are then as sharp as these crops, which
            recognises at least as well as the full resolution of a tile. For the classifier of a checkpoint: the input
            size of the model.

    Raises:
        ValueError: `size` is not positive.
    """
    return _resize_box(plot, (tile.x, tile.y, tile.width, tile.height), size)


def reduced_tile(reduced: ReducedImage, tile: Tile, size: int) -> Image.Image:
    """Return a tile of the original plot, resized as a whole to `size` × `size` px.

    A plot that was decoded at a reduced scale must have at least `size` px in each direction of the tile; areas are
    averaged exactly. Otherwise the result is that of `resize_tile`.
    """
    return resize_tile(reduced.image, tile, size) if reduced.divisor == 1 else _average_box(reduced, tile.box, size)


def tile_divisor(tile: Tile, size: int) -> int:
    """Return the divisor of the size at which a plot can be decoded for a tile, with scaled decoding."""
    return scale_divisor(min(tile.width, tile.height), _LEAST_REDUCTION * size)


def encode_jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Return an RGB image as baseline JPEG without metadata; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, exif=b"", icc_profile=None)
    return buffer.getvalue()


def _centre_square(width: int, height: int) -> tuple[int, int, int, int]:
    """Return the centre square (x, y, width, height) of an image of a size."""
    side = min(width, height)
    return width // 2 - side // 2, height // 2 - side // 2, side, side


def _average_box(reduced: ReducedImage, box: Box, size: int) -> Image.Image:
    """Average a box of the original exactly: the weight of a pixel is the part of it inside the output pixel.

    Only sums and products of single elements are computed, so the result is the same on every machine.
    """
    image, divisor = reduced.image, reduced.divisor
    left, top = reduced.left + box[0] / divisor, reduced.top + box[1] / divisor
    right, bottom = left + box[2] / divisor, top + box[3] / divisor
    x, y = int(left), int(top)
    pixels = np.asarray(image.crop((x, y, min(ceil(right), image.width), min(ceil(bottom), image.height))))
    height, width, channels = pixels.shape
    rows = _area_weights(height, top - y, box[3] / divisor, size) @ pixels.reshape(height, -1).astype(np.float32)
    # A pixel is moved as one item, which is faster than channel by channel.
    columns = np.ascontiguousarray(rows.view(np.dtype((np.void, rows.itemsize * channels))).T).view(np.float32)
    averaged = _area_weights(width, left - x, box[2] / divisor, size) @ columns
    square = (averaged + np.float32(0.5)).astype(np.uint8).reshape(size, size, channels)
    return Image.fromarray(np.ascontiguousarray(square.transpose(1, 0, 2)))


@lru_cache(maxsize=64)
def _area_weights(lines: int, start: float, length: float, size: int) -> "csr_array":
    """Return the weight of each line in `size` averages, which together cover `length` lines from `start`; float32."""
    from scipy.sparse import csr_array

    edges = start + length * np.arange(size + 1) / size
    first = np.floor(edges[:-1]).astype(int)
    most = int((np.ceil(edges[1:]).astype(int) - first).max())
    positions = first[:, None] + np.arange(most)
    parts = np.minimum(edges[1:, None], positions + 1) - np.maximum(edges[:-1, None], positions)
    weights = (np.clip(parts, 0, None) * size / length).astype(np.float32)
    positions = np.minimum(positions, lines - 1)
    return csr_array((weights.ravel(), positions.ravel(), np.arange(size + 1) * most), shape=(size, lines))


def _resize_box(image: Image.Image, box: tuple[int, int, int, int], size: int) -> Image.Image:
    """Resize the box (x, y, width, height) of an image to a square."""
    if size < 1:
        raise ValueError(f"an image cannot be resized to {size} pixels; the side must be at least 1")
    x, y, width, height = box
    shrinks = min(width, height) >= size
    resample = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return image.resize((size, size), resample, box=(x, y, x + width, y + height))
