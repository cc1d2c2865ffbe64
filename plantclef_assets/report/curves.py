"""Pictures of a training: how its figures went from epoch to epoch."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK, _GREY, _GRID = (255, 255, 255), (34, 34, 34), (105, 105, 105), (228, 228, 228)
_COLOURS = ((68, 119, 170), (238, 102, 119))
"""The first two of Paul Tol's "bright" scheme (https://personal.sron.nl/~pault/)."""
_SCALE = 2
"""All is drawn so much larger and then averaged, so that edges are smooth."""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 400, 250, 52, 14, 52, 34
_TICKS = 5


@dataclass(frozen=True)
class Curves:
    """One panel: its title, and at most two lines by their names, each a value for some epochs in a row."""

    title: str
    lines: Mapping[str, Mapping[int, float]]


def draw_curves(panels: Sequence[Curves], *, best_epoch: int) -> bytes:
    """Draw the panels side by side over the same epochs; a vertical line is at the epoch that was kept.

    Returns:
        a PNG.
    """
    picture = Image.new("RGB", (len(panels) * _WIDTH * _SCALE, _HEIGHT * _SCALE), _PAPER)
    draw = ImageDraw.Draw(picture)
    for number, panel in enumerate(panels):
        _draw_panel(draw, panel, number * _WIDTH, best_epoch)
    buffer = io.BytesIO()
    size = (len(panels) * _WIDTH, _HEIGHT)
    picture.resize(size, Image.Resampling.BOX).quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_panel(draw: ImageDraw.ImageDraw, panel: Curves, offset: int, best_epoch: int) -> None:
    small, plain = ImageFont.load_default(size=11 * _SCALE), ImageFont.load_default(size=14 * _SCALE)
    left, right, top, bottom = offset + _LEFT, offset + _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    values = [value for line in panel.lines.values() for value in line.values()]
    epochs = sorted({epoch for line in panel.lines.values() for epoch in line})
    first, last = epochs[0], epochs[-1]
    ticks = _ticks(min(values), max(values))

    def place(epoch: float, value: float) -> tuple[float, float]:
        across = (epoch - first) / max(1, last - first)
        up = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return (left + across * (right - left)) * _SCALE, (bottom - up * (bottom - top)) * _SCALE

    draw.text((left * _SCALE, 8 * _SCALE), panel.title, _INK, plain)
    for tick in ticks:
        start, end = place(first, tick), place(last, tick)
        draw.line((start, end), _GRID, _SCALE)
        draw.text((start[0] - 6 * _SCALE, start[1]), f"{tick:g}", _GREY, small, anchor="rm")
    for epoch in sorted({first, last}):
        draw.text((place(epoch, 0)[0], (bottom + 5) * _SCALE), str(epoch), _GREY, small, anchor="ma")
    draw.text(((left + right) / 2 * _SCALE, (bottom + 14) * _SCALE), "epoch", _GREY, small, anchor="ma")
    if first <= best_epoch <= last:
        draw.line((place(best_epoch, ticks[0]), place(best_epoch, ticks[-1])), _GREY, 2 * _SCALE)
    across = left
    for (name, line), colour in zip(panel.lines.items(), _COLOURS, strict=False):
        points = [place(epoch, value) for epoch, value in line.items()]
        draw.line(points, colour, 2 * _SCALE, joint="curve")
        for x, y in points if len(points) <= 40 else points[-1:]:
            draw.ellipse((x - 2.5 * _SCALE, y - 2.5 * _SCALE, x + 2.5 * _SCALE, y + 2.5 * _SCALE), colour)
        draw.line((across * _SCALE, 38 * _SCALE, (across + 14) * _SCALE, 38 * _SCALE), colour, 2 * _SCALE)
        draw.text(((across + 19) * _SCALE, 38 * _SCALE), name, _INK, small, anchor="lm")
        across += 19 + draw.textlength(name, small) / _SCALE + 16


def _ticks(least: float, most: float) -> list[float]:
    """Give round numbers, evenly spaced, from below the least value to above the most."""
    room = (most - least) or abs(most) or 1.0
    raw = room / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first, last = math.floor(least / step), math.ceil(most / step)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
