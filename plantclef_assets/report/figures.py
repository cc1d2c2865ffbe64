"""Pictures of shards: a contact sheet of photographs, and a plot with its tiles and their labels."""

import io
import unicodedata
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from plantclef_assets.images.decoding import UndecodableImage, decode_image
from plantclef_assets.images.resizing import crop_resize
from plantclef_assets.images.tiling import Tile

_PAPER = (246, 245, 240)
_INK = (255, 255, 255)
_SHADE = (20, 40, 25)
JPEG_QUALITY = 80
"""Pictures go into Dagster's event log, so they stay small: some ten kilobytes each."""


def contact_sheet(pictures: Sequence[bytes], *, columns: int = 8, side: int = 72, gap: int = 4) -> bytes:
    """Lay pictures out as squares of `side` px in rows of `columns`; those that cannot be decoded stay empty.

    Returns:
        a JPEG.
    """
    rows = max(1, -(-len(pictures) // columns))
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), _PAPER)
    for index, data in enumerate(pictures):
        place = (gap + index % columns * (side + gap), gap + index // columns * (side + gap))
        try:
            sheet.paste(crop_resize(decode_image(data), side), place)
        except UndecodableImage:
            continue
    return _jpeg(sheet)


def tiled_plot(data: bytes, tiles: Sequence[Tile], labels: Mapping[int, Sequence[str]], *, side: int = 640) -> bytes:
    """Draw the tiles of a plot over it, each with the lines of its label.

    Args:
        data: the plot's picture as published.
        tiles: the tiles of one tiling, in px of the upright plot. Where some lie over others, the smallest are drawn
            and no tile that touches their inside.
        labels: tile index → lines of text.
        side: the longer side of the result, px.

    Returns:
        a JPEG.

    Raises:
        UndecodableImage: the plot cannot be decoded.
    """
    picture, factor = plot_to_draw_on(data, side)
    draw = ImageDraw.Draw(picture, "RGBA")
    font = ImageFont.load_default(size=11)
    for tile in side_by_side(tiles):
        left, top = tile.x * factor, tile.y * factor
        box = (left, top, left + tile.width * factor - 1, top + tile.height * factor - 1)
        draw.rectangle(box, outline=(*_INK, 180))
        lines = [shortened(line, draw, font, tile.width * factor - 8) for line in labels.get(tile.index, ())]
        if lines:
            draw.rectangle((box[0], box[1], box[2], box[1] + 14 * len(lines) + 3), fill=(*_SHADE, 150))
            draw.multiline_text((left + 4, top + 1), "\n".join(lines), fill=_INK, font=font, spacing=2)
    return _jpeg(picture)


def plot_to_draw_on(data: bytes, side: int) -> tuple[Image.Image, float]:
    """Give a plot whose longer side is `side` px, and the factor from px of the upright plot to px of the picture.

    Raises:
        UndecodableImage: the plot cannot be decoded.
    """
    plot = decode_image(data)
    factor = side / max(plot.size)
    size = round(plot.width * factor), round(plot.height * factor)
    return plot.resize(size, Image.Resampling.LANCZOS), factor


def side_by_side(tiles: Sequence[Tile]) -> list[Tile]:
    """Choose tiles of which none overlaps another, the smallest first; all of them where none does."""
    chosen: list[Tile] = []
    for tile in sorted(tiles, key=lambda tile: (tile.width * tile.height, tile.index)):
        if not any(_overlap(tile, other) for other in chosen):
            chosen.append(tile)
    return sorted(chosen, key=lambda tile: tile.index)


def _overlap(one: Tile, other: Tile) -> bool:
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return across > 0 and down > 0


def shortened(
    line: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: float
) -> str:
    """Cut a line of text so that it is no wider than the room, px."""
    if draw.textlength(line, font=font) <= room:
        return line
    while line and draw.textlength(line + "…", font=font) > room:
        line = line[:-1]
    return line + "…"


def drawable(name: str) -> str:
    """Write a name in letters that Pillow's own font has: accents go, a hybrid's × becomes x."""
    plain = unicodedata.normalize("NFKD", name.replace("×", "x").replace("ß", "ss").replace("ø", "o"))
    return "".join(letter if letter.isascii() else "?" for letter in plain if not unicodedata.combining(letter))


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
