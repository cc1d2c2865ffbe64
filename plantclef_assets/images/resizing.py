"""Resizing: the crop-resize of the reference for photographs and its shards, whole tiles of plots, and JPEG.

Source of the crop-resize: DS@GT PlantCLEF 2024 (arXiv 2407.06298) and its code: side = min(height, width), start =
dim // 2 − side // 2 in both directions, area interpolation to 128 × 128, JPEG quality 95.

Shrinking averages areas with Pillow's BOX filter: an output pixel is the mean of the source pixels whose centres lie
in it, which is the exact area average if sizes divide evenly. Enlarging is bilinear, as in OpenCV's area interpolation:
the BOX filter would repeat pixels as blocks, and bicubic interpolation can overshoot.

No model library is imported here, so that worker processes start fast.
"""

import io
from dataclasses import dataclass

from PIL import Image

from plantclef_assets.images.decoding import UndecodableImage, decode_image
from plantclef_assets.images.tiling import Tile
from plantclef_assets.lake.schemas import RESIZED_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, read_rows, write_shard

JPEG_QUALITY = 95
"""Quality of the stored crops, as in the reference."""


@dataclass(frozen=True)
class ResizingConfig:
    """What the bytes of resized photographs depend on; it is recorded in their provenance.

    Attributes:
        image_size: side of the squares, px.
        max_pixels: limit on the pixels of a photograph.
    """

    image_size: int
    max_pixels: int


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
                    image = decode_image(row["data"], max_pixels=self.config.max_pixels)
                except UndecodableImage as error:
                    table.quarantine(row["image_name"], row["image_name"], error.reason, error.detail)
                else:
                    table.add([row | {"data": encode_jpeg(crop_resize(image, self.config.image_size))}])


def crop_resize(image: Image.Image, size: int) -> Image.Image:
    """Return the centre square of an image, resized to `size` × `size` px in the same mode.

    Raises:
        ValueError: `size` is not positive.
    """
    width, height = image.size
    side = min(width, height)
    return _resize_box(image, (width // 2 - side // 2, height // 2 - side // 2, side, side), size)


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


def encode_jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Return an RGB image as baseline JPEG without metadata; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, exif=b"", icc_profile=None)
    return buffer.getvalue()


def _resize_box(image: Image.Image, box: tuple[int, int, int, int], size: int) -> Image.Image:
    """Resize the box (x, y, width, height) of an image to a square."""
    if size < 1:
        raise ValueError(f"an image cannot be resized to {size} pixels; the side must be at least 1")
    x, y, width, height = box
    shrinks = min(width, height) >= size
    resample = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return image.resize((size, size), resample, box=(x, y, x + width, y + height))
