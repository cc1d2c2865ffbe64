"""The colours of the flora: one palette for all species, so that colour does not identify a species."""

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]
"""Red, green and blue, 0 … 255."""

_PETAL_HUES = (
    (0.0, 0.03, 0.96),  # white
    (0.145, 0.62, 0.95),  # yellow
    (0.91, 0.42, 0.9),  # pink
    (0.75, 0.45, 0.82),  # violet
)
"""Hue, saturation and value of the possible petals of an individual of any species."""


@dataclass(frozen=True)
class Palette:
    """The colours of one individual."""

    blade: Colour
    vein: Colour
    mark: Colour
    stem: Colour
    petal: Colour
    throat: Colour
    disc: Colour


def random_palette(rng: np.random.Generator) -> Palette:
    """Draw random colours of one individual, independent of its species."""
    hue, saturation, value = rng.normal(0.27, 0.028), rng.uniform(0.32, 0.68), rng.uniform(0.42, 0.7)
    vein_lightness = rng.choice([0.72, 1.32, 1.45])
    petal = np.array(_PETAL_HUES[int(rng.integers(len(_PETAL_HUES)))])
    petal += rng.normal(0, (0.012, 0.05, 0.03))
    return Palette(
        blade=_rgb(hue, saturation, value),
        vein=_rgb(hue - 0.02, saturation * 0.75, value * vein_lightness),
        mark=_rgb(hue - 0.03, saturation * 0.5, value * 1.3 + 0.08),
        stem=_rgb(hue - rng.uniform(0.02, 0.16), saturation * 0.8, value * 0.92),
        petal=_rgb(*petal),
        throat=_rgb(petal[0] + 0.03, petal[1] * 1.4 + 0.06, petal[2] * 0.82),
        disc=_rgb(rng.uniform(0.09, 0.17), rng.uniform(0.5, 0.9), rng.uniform(0.55, 0.95)),
    )


def shaded(colour: Colour, factor: float) -> Colour:
    """Return a lighter (`factor` > 1) or darker (< 1) colour."""
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return int(red * 255), int(green * 255), int(blue * 255)
