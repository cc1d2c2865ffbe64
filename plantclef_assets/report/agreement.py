"""The picture of how alike runs answer: a heat map with a number in every cell."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK = (255, 255, 255), (34, 34, 34)
_LEAST, _MOST = (247, 252, 245), (0, 109, 44)
"""Ends of ColorBrewer's Greens (https://colorbrewer2.org)."""
_CELL, _MARGIN = 44, 10


def draw_agreement(names: Sequence[str], values: Sequence[Sequence[float]]) -> bytes:
    """Draw a square matrix of values in [0, 1] with its names at the left and, by number, at the top.

    Returns:
        a PNG.
    """
    font = ImageFont.load_default(size=12)
    labels = [f"{number}  {name}" for number, name in enumerate(names, 1)]
    left = round(max(map(font.getlength, labels), default=0)) + 2 * _MARGIN
    top = 2 * _MARGIN + 12
    size = (left + len(names) * _CELL + _MARGIN, top + len(names) * _CELL + _MARGIN)
    picture = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(picture)
    for row, (label, line) in enumerate(zip(labels, values, strict=True)):
        middle = top + (row + 0.5) * _CELL
        draw.text((left - _MARGIN, middle), label, _INK, font, anchor="rm")
        draw.text((left + (row + 0.5) * _CELL, top - _MARGIN), str(row + 1), _INK, font, anchor="mm")
        for column, value in enumerate(line):
            place = (left + column * _CELL, top + row * _CELL)
            colour = tuple(round(low + value * (high - low)) for low, high in zip(_LEAST, _MOST, strict=True))
            draw.rectangle((*place, place[0] + _CELL - 2, place[1] + _CELL - 2), fill=colour)
            ink = _PAPER if value > 0.5 else _INK
            draw.text((place[0] + _CELL / 2 - 1, middle - 1), f"{value:.2f}", ink, font, anchor="mm")
    buffer = io.BytesIO()
    picture.quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
