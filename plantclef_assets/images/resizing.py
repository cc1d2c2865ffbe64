"""Resizing pictures: the crop-resize of the reference for photographs, the whole tile for plots, and JPEG.

Source of the crop-resize: DS@GT PlantCLEF 2024 (arXiv 2407.06298) and its code: side = min(height, width), start =
dim // 2 − side // 2 in both directions, area interpolation to 128 × 128, JPEG quality 95.

Shrinking averages areas with Pillow's BOX filter: an output pixel is the mean of the source pixels whose centres lie
in it, which is the exact area average wherever sizes divide evenly. Enlarging has no area to average (the same
filter would repeat pixels as blocks), so it is bilinear, which is also what OpenCV's area interpolation falls back
to; unlike bicubic it cannot overshoot.
"""

import io

from PIL import Image

from plantclef_assets.images.tiling import Tile

JPEG_QUALITY = 95
"""Quality of the stored crops, as in the reference."""


def crop_resize(image: Image.Image, size: int) -> Image.Image:
    """Cut the centre square out of an image and resize it to `size` × `size` pixels, keeping its mode.

    Raises:
        ValueError: `size` is not positive.
    """
    width, height = image.size
    side = min(width, height)
    return _resize_box(image, (width // 2 - side // 2, height // 2 - side // 2, side, side), size)


def resize_tile(plot: Image.Image, tile: Tile, size: int) -> Image.Image:
    """Cut a tile out of a plot and resize the whole of it to `size` × `size` pixels, keeping the mode.

    A tile that is not square is squeezed rather than cropped, so that no part of a plot goes unseen. On composed plots
    with 4:3 tiles both recognised equally well: what squeezing costs in shape it gains in cover.

    Args:
        plot: the upright plot from whose size the tile was made.
        tile: which part of it.
        size: the side of the crops that the classifier was trained on. A tile is then as sharp as they are,
            which recognises at least as well as the tile's full resolution. For a classifier that came with
            the model: the model's input size.

    Raises:
        ValueError: `size` is not positive.
    """
    return _resize_box(plot, (tile.x, tile.y, tile.width, tile.height), size)


def encode_jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Encode an RGB image as baseline JPEG without metadata; equal pixels give equal bytes."""
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
