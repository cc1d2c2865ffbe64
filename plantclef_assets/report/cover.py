"""Pictures of cover: a plot whose tiles have the colours of the species that they show, with a legend."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from plantclef_assets.images.tiling import Box
from plantclef_assets.report.figures import JPEG_QUALITY, drawable, plot_to_draw_on, shortened
from plantclef_assets.report.maps import COLOURS

_OTHERS = (200, 200, 200)
_PAPER, _INK, _GREY = (255, 255, 255), (34, 34, 34), (105, 105, 105)
_FILL = 105
"""Opacity of a tile's colour, of 255: the plants below have to be seen."""
_LINE, _MARGIN, _SWATCH = 22, 10, 14


@dataclass(frozen=True)
class Shown:
    """One species of a plot: its line in the legend, and where it shows.

    Attributes:
        label: the line.
        boxes: its tiles, px of the upright plot.
        scores: the probability in each tile.
    """

    label: str
    boxes: Sequence[Box]
    scores: Sequence[float]


def draw_cover(data: bytes, species: Sequence[Shown], note: str, *, side: int = 640) -> bytes:
    """Colour the tiles of a plot by species, and tell the colours below it.

    Where tiles overlap, the smallest lies on top, of equal ones the surest, so that no colours mix. Species beyond the
    first five share a grey.

    Args:
        data: the plot's picture as published.
        species: the species that show, the most important first.
        note: the last line of the legend.
        side: the longer side of the plot in the result, px.

    Returns:
        a JPEG.

    Raises:
        UndecodableImage: the plot cannot be decoded.
    """
    plot, factor = plot_to_draw_on(data, side)
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
        text = shortened(drawable(label), draw, font, plot.width - left - _MARGIN)
        draw.text((left, middle), text, _INK if colour else _GREY, font, anchor="lm")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
