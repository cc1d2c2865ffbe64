"""Pictures on photographs, by Pillow: contact sheets, plots with labelled tiles, and plots coloured by species."""

import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from plantclef_assets.images.decoding import UndecodableImage, decode_image
from plantclef_assets.images.resizing import crop_resize
from plantclef_assets.images.tiling import Box, Tile
from plantclef_assets.report.charts import COLOURS

_PAPER, _SHEET = (255, 255, 255), (246, 245, 240)
_INK, _GREY = (34, 34, 34), (105, 105, 105)
_LABEL, _LABEL_BAND = (255, 255, 255), (20, 40, 25)
_OTHERS = (200, 200, 200)
"""The colour of the species beyond the first five."""
_FILL = 105
"""Opacity of a tile's colour, of 255: the plants below must stay visible."""
_LINE, _MARGIN, _SWATCH = 22, 10, 14
_JPEG_QUALITY = 80
"""Pictures go into Dagster's event log, so they stay small: some ten kilobytes each."""


def contact_sheet(pictures: Sequence[bytes], *, columns: int = 8, side: int = 72, gap: int = 4) -> bytes:
    """Arrange pictures as squares of `side` px in rows of `columns`; undecodable ones leave an empty square.

    Returns:
        a JPEG.
    """
    rows = max(1, -(-len(pictures) // columns))
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), _SHEET)
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
        tiles: the tiles of one tiling, in px of the upright plot. Of overlapping tiles only the smallest are drawn.
        labels: tile index → lines of text.
        side: the longer side of the result, px.

    Returns:
        a JPEG.

    Raises:
        UndecodableImage: the plot cannot be decoded.
    """
    picture, factor = _plot_to_draw_on(data, side)
    draw = ImageDraw.Draw(picture, "RGBA")
    font = ImageFont.load_default(size=11)
    for tile in side_by_side(tiles):
        left, top = tile.x * factor, tile.y * factor
        box = (left, top, left + tile.width * factor - 1, top + tile.height * factor - 1)
        draw.rectangle(box, outline=(*_LABEL, 180))
        lines = [_shortened(line, draw, font, tile.width * factor - 8) for line in labels.get(tile.index, ())]
        if lines:
            draw.rectangle((box[0], box[1], box[2], box[1] + 14 * len(lines) + 3), fill=(*_LABEL_BAND, 150))
            draw.multiline_text((left + 4, top + 1), "\n".join(lines), fill=_LABEL, font=font, spacing=2)
    return _jpeg(picture)


@dataclass(frozen=True)
class Shown:
    """One species of a plot: its line in the legend, and its tiles.

    Attributes:
        label: the line in the legend.
        boxes: its tiles, px of the upright plot.
        scores: the probability of the species in each tile.
    """

    label: str
    boxes: Sequence[Box]
    scores: Sequence[float]


def draw_cover(data: bytes, species: Sequence[Shown], note: str, *, side: int = 640) -> bytes:
    """Colour the tiles of a plot by species, with a legend below.

    Of overlapping tiles the smallest is on top, of equal ones the one with the highest probability; colours do not mix.
    Species beyond the first five share a grey.

    Args:
        data: the plot's picture as published.
        species: the visible species, the most important first.
        note: the last line of the legend.
        side: the longer side of the plot in the result, px.

    Returns:
        a JPEG.

    Raises:
        UndecodableImage: the plot cannot be decoded.
    """
    plot, factor = _plot_to_draw_on(data, side)
    colours = [*COLOURS, *[_OTHERS] * len(species)][: len(species)]
    tiles = [
        (box, score, colour)
        for one, colour in zip(species, colours, strict=True)
        for box, score in zip(one.boxes, one.scores, strict=True)
    ]
    veil = Image.new("RGBA", plot.size)
    draw = ImageDraw.Draw(veil)
    for (x, y, width, height), _, colour in sorted(tiles, key=lambda tile: (-tile[0][2] * tile[0][3], tile[1])):
        corners = [edge * factor for edge in (x, y, x + width, y + height)]
        draw.rectangle((*corners[:2], corners[2] - 1, corners[3] - 1), (*colour, _FILL), (*colour, 255), width=2)
    legend = [(one.label, colour) for one, colour in zip(species, COLOURS, strict=False)]
    if len(species) > len(COLOURS):
        legend.append((f"{len(species) - len(COLOURS)} more species", _OTHERS))
    below = (len(legend) + 1) * _LINE + _MARGIN
    picture = Image.new("RGB", (plot.width, plot.height + below), _PAPER)
    picture.paste(Image.alpha_composite(plot.convert("RGBA"), veil).convert("RGB"))
    draw = ImageDraw.Draw(picture)
    for number, (label, colour) in enumerate([*legend, (note, None)]):
        middle = plot.height + _MARGIN // 2 + (number + 0.5) * _LINE
        if colour:
            swatch = (_MARGIN, middle - _SWATCH / 2, _MARGIN + _SWATCH, middle + _SWATCH / 2)
            draw.rectangle(swatch, colour)
        left = _MARGIN + (_SWATCH + 8 if colour else 0)
        font = ImageFont.load_default(14 if colour else 12)
        text = _shortened(_drawable(label), draw, font, plot.width - left - _MARGIN)
        draw.text((left, middle), text, _INK if colour else _GREY, font, anchor="lm")
    return _jpeg(picture)


def _plot_to_draw_on(data: bytes, side: int) -> tuple[Image.Image, float]:
    """Return a plot whose longer side is `side` px, and the factor from px of the upright plot to px of the picture.

    Raises:
        UndecodableImage: the plot cannot be decoded.
    """
    plot = decode_image(data)
    factor = side / max(plot.size)
    size = round(plot.width * factor), round(plot.height * factor)
    return plot.resize(size, Image.Resampling.LANCZOS), factor


def side_by_side(tiles: Sequence[Tile]) -> list[Tile]:
    """Return tiles that do not overlap each other, preferring the smallest; all of them if none overlap."""
    chosen: list[Tile] = []
    for tile in sorted(tiles, key=lambda tile: (tile.width * tile.height, tile.index)):
        if not any(_overlap(tile, other) for other in chosen):
            chosen.append(tile)
    return sorted(chosen, key=lambda tile: tile.index)


def _overlap(one: Tile, other: Tile) -> bool:
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return across > 0 and down > 0


def _shortened(
    line: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: float
) -> str:
    """Shorten a line of text to at most `room` px."""
    if draw.textlength(line, font=font) <= room:
        return line
    while line and draw.textlength(line + "…", font=font) > room:
        line = line[:-1]
    return line + "…"


def _drawable(name: str) -> str:
    """Return a name in the letters of Pillow's own font: without accents, and with x for the × of a hybrid."""
    plain = unicodedata.normalize("NFKD", name.replace("×", "x").replace("ß", "ss").replace("ø", "o"))
    return "".join(letter if letter.isascii() else "?" for letter in plain if not unicodedata.combining(letter))


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, exif=b"", comment=b"", icc_profile=None)
    return buffer.getvalue()
