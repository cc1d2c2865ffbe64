"""Pictures of maps: the same photographs as points in several spaces, side by side, coloured by species."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from plantclef_assets.report.figures import drawable, shortened

COLOURS = ((68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (170, 51, 119))
"""Paul Tol's "bright" scheme, which all kinds of colour vision tell apart (https://personal.sron.nl/~pault/)."""
_PAPER, _INK, _GREY, _FRAME = (255, 255, 255), (34, 34, 34), (105, 105, 105), (205, 205, 205)
_FAINT = 95
"""Opacity of photographs that are not held out, of 255."""
_SCALE = 3
"""All is drawn so much larger and then averaged, so that edges are smooth."""
_SIDE, _MARGIN, _TITLE, _LINE = 500, 24, 34, 26
_NOTE = "Solid: held out from training. Faint: the others. Separation: mean silhouette of held-out features by species."


@dataclass(frozen=True)
class Panel:
    """One space: its title, and the positions of the n photographs in it, float (n, 2)."""

    title: str
    positions: np.ndarray


def draw_map(
    panels: Sequence[Panel], species_id: np.ndarray, held_out: np.ndarray, names: Mapping[int, str | None]
) -> bytes:
    """Draw the panels side by side, and below them a legend: the species, the commonest first.

    Args:
        panels: the spaces. Their axes have no unit and no meaning, so none are drawn.
        species_id: int64 (n,), of at most five species.
        held_out: bool (n,); these photographs are drawn solid and above the others, which are faint.
        names: what the legend calls a species; its id where it has none.

    Returns:
        a PNG.

    Raises:
        ValueError: there are more species than colours.
    """
    species, counts = np.unique(species_id, return_counts=True)
    species = species[np.lexsort((species, -counts))].tolist()
    if len(species) > len(COLOURS):
        raise ValueError(f"a map shows {len(COLOURS)} species at most, not {len(species)}")
    colours = dict(zip(species, COLOURS, strict=False))
    labels = [(colours[one], drawable(names.get(one) or str(one))) for one in species]
    width = _MARGIN + len(panels) * (_SIDE + _MARGIN)
    lines = _flow(labels, width - 2 * _MARGIN)
    below = _MARGIN + _TITLE + _SIDE + _MARGIN // 2
    height = below + (len(lines) + 1) * _LINE + _MARGIN // 2
    picture = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
    draw = ImageDraw.Draw(picture, "RGBA")
    for index, panel in enumerate(panels):
        left = _MARGIN + index * (_SIDE + _MARGIN)
        _text(draw, (left, _MARGIN + _TITLE / 2 - 6), panel.title, 20, _INK)
        _frame(draw, left, _MARGIN + _TITLE)
        _points(draw, panel.positions, (left, _MARGIN + _TITLE), [colours[one] for one in species_id], held_out)
    for number, line in enumerate(lines):
        for left, colour, label in line:
            middle = below + (number + 0.5) * _LINE
            _dot(draw, (_MARGIN + left + 6, middle), 6, colour)
            _text(draw, (_MARGIN + left + 18, middle), label, 15, _INK)
    _text(draw, (_MARGIN, below + (len(lines) + 0.5) * _LINE), _NOTE, 13, _GREY)
    return _png(picture.resize((width, height), Image.Resampling.BOX))


def _flow(labels: Sequence[tuple], room: float) -> list[list[tuple]]:
    """Set labels in lines that are no wider than the room, px; gives (left, colour, text) for each."""
    ruler, font = ImageDraw.Draw(Image.new("L", (1, 1))), ImageFont.load_default(15 * _SCALE)
    lines, left = [[]], 0.0
    for colour, label in labels:
        text = shortened(label, ruler, font, (room - 18) * _SCALE)
        wide = 18 + ruler.textlength(text, font=font) / _SCALE
        if lines[-1] and left + wide > room:
            lines.append([])
            left = 0.0
        lines[-1].append((left, colour, text))
        left += wide + 24
    return lines


def _points(
    draw: ImageDraw.ImageDraw,
    positions: np.ndarray,
    corner: tuple[float, float],
    colours: Sequence[tuple[int, int, int]],
    held_out: np.ndarray,
) -> None:
    if not len(positions):
        return
    radius = float(np.clip(90 / np.sqrt(len(positions)), 2.5, 6))
    least, most = positions.min(axis=0), positions.max(axis=0)
    # One scale for both directions: the shape of a cluster is all that a map has to say.
    scale = (_SIDE - 6 * radius) / max(float((most - least).max()), 1e-9)
    places = (positions - (least + most) / 2) * scale * (1, -1) + _SIDE / 2 + corner
    for row in np.flatnonzero(~held_out).tolist():
        _dot(draw, places[row], radius, (*colours[row], _FAINT))
    for row in np.flatnonzero(held_out).tolist():
        _dot(draw, places[row], radius + 0.7, _PAPER)
        _dot(draw, places[row], radius, colours[row])


def _frame(draw: ImageDraw.ImageDraw, left: float, top: float) -> None:
    box = [value * _SCALE for value in (left, top, left + _SIDE, top + _SIDE)]
    draw.rectangle(box, outline=_FRAME, width=_SCALE)


def _dot(
    draw: ImageDraw.ImageDraw, centre: Sequence[float] | np.ndarray, radius: float, colour: tuple[int, ...]
) -> None:
    x, y = float(centre[0]), float(centre[1])
    draw.ellipse([value * _SCALE for value in (x - radius, y - radius, x + radius, y + radius)], fill=colour)


def _text(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, colour: tuple) -> None:
    """Write a line whose left end and middle are at a place."""
    font = ImageFont.load_default(size * _SCALE)
    draw.text((place[0] * _SCALE, place[1] * _SCALE), text, fill=colour, font=font, anchor="lm")


def _png(picture: Image.Image) -> bytes:
    """Encode with a palette: few colours are in the picture, and it goes into Dagster's event log."""
    buffer = io.BytesIO()
    picture.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
