"""Drawing of areas, lines and dots from shapes in the complex plane (real to the right, imaginary downwards)."""

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from plantclef_assets.demo.outlines import Points
from plantclef_assets.demo.palette import Colour, Palette, shaded


@dataclass(frozen=True)
class Brush:
    """What the painting of one individual needs: the sheet, its colours, the view and a source of randomness.

    `tilt` is the vertical scale of flat shapes: 1 is the view from straight above. `light` is the direction of the
    light in radians.
    """

    draw: ImageDraw.ImageDraw
    palette: Palette
    rng: np.random.Generator
    tilt: float = 1.0
    light: float = -2.2


def placed(brush: Brush, points: Points, at: complex, factor: complex) -> Points:
    """Turn and scale a shape by `factor`, squash it by the brush's tilt and move it to `at` (px)."""
    turned = points * factor
    return at + turned.real + 1j * brush.tilt * turned.imag


def fill(brush: Brush, points: Points, colour: Colour, *, edged: bool = False) -> None:
    """Fill a closed outline; `edged` draws its rim a little darker."""
    edge = shaded(colour, 0.74) if edged else None
    brush.draw.polygon(np.ascontiguousarray(points).view(np.float64).tolist(), fill=colour, outline=edge)


def stroke(brush: Brush, points: Points, colour: Colour, width: float) -> None:
    """Draw a line through the points, `width` px but at least one pixel wide."""
    flat = np.ascontiguousarray(points).view(np.float64).tolist()
    brush.draw.line(flat, fill=colour, width=max(1, round(width)), joint="curve" if width > 4 else None)


def dot(brush: Brush, at: complex, radius: float, colour: Colour) -> None:
    """Draw a disc of `radius` px, squashed by the brush's tilt."""
    height = radius * brush.tilt
    brush.draw.ellipse((at.real - radius, at.imag - height, at.real + radius, at.imag + height), fill=colour)
