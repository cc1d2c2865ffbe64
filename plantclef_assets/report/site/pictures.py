"""Photographs of the report: JPEG files without any metadata, small enough for a page."""

from pathlib import Path

from PIL import Image

from plantclef_assets.images.decoding import decode_reduced
from plantclef_assets.images.resizing import encode_jpeg

PLOT_SIDE, THUMBNAIL_SIDE, PHOTOGRAPH_SIDE = 1200, 320, 192
"""Longer sides in px: of a plot on its page, of a plot in a gallery, and of a training photograph."""
_QUALITY = 78


def write_plot(data: bytes, picture: Path, thumbnail: Path, *, max_pixels: int) -> None:
    """Write a plot for its page, and a thumbnail.

    Raises:
        UndecodableImage: it cannot be decoded.
    """
    plot = _decode(data, PLOT_SIDE, max_pixels)
    picture.write_bytes(encode_jpeg(plot, _QUALITY))
    plot.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    thumbnail.write_bytes(encode_jpeg(plot, _QUALITY))


def write_photograph(data: bytes, file: Path) -> None:
    """Write a training photograph.

    Raises:
        UndecodableImage: it cannot be decoded.
    """
    file.write_bytes(encode_jpeg(_decode(data, PHOTOGRAPH_SIDE), _QUALITY))


def write_thumbnail(data: bytes, file: Path, *, max_pixels: int) -> None:
    """Write the thumbnail of any photograph.

    Raises:
        UndecodableImage: it cannot be decoded.
    """
    file.write_bytes(encode_jpeg(_decode(data, THUMBNAIL_SIDE, max_pixels), _QUALITY))


def _decode(data: bytes, side: int, max_pixels: int = 10**8) -> Image.Image:
    """Return an upright picture of at most `side` px; large JPEG files are decoded at a reduced scale."""
    image = decode_reduced(data, side, max_pixels=max_pixels).image
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image
