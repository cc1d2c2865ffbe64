"""Ground to compose plots on: colours of real photographs without any shape of theirs, and the light over a plot.

What belongs here: pictures on which no species grows. A photograph lends eight by eight mean colours, from its rim
where plants are seldom; what is made of them are clouds, clods and grain from noise, never a recognisable plant.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from plantclef_assets.images.resizing import crop_resize

_THUMBNAIL = 8
_STOPS = 6
"""Colours of a ground, from the darkest to the lightest."""
_GREYED = 0.45
"""How far colours are drawn to their own grey: ground is duller than leaves and flowers."""
_BRIGHTNESS = (70.0, 120.0)
"""Least and greatest luminance of a ground's middle tone, 0 … 255."""
_TONES = (0.5, 1.5)
"""The darkest and the lightest colour, as factors of the middle tone."""
_LUMINANCE = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601."""
_OCTAVES = ((3, 0.5), (9, 0.5), (29, 0.5), (71, 0.7), (149, 1.0), (311, 1.0))
"""Bumps along a side, and how strong they are: slopes, clods, litter, grain."""
_STEPS = 512
"""Steps between the colours of a palette."""
_CONTRAST = 0.2
"""Standard deviation of the texture, where 1 is the whole way from dark to light."""


def noise(side: int, bumps: int, rng: np.random.Generator) -> np.ndarray:
    """Make smooth noise with about `bumps` bumps along a side, standard deviation about 1.

    Returns:
        float32 (side, side).
    """
    coarse = Image.fromarray(rng.standard_normal((bumps, bumps), dtype=np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def paint_ground(photographs: Sequence[Image.Image], side: int, rng: np.random.Generator) -> Image.Image:
    """Paint ground in the colours of photographs.

    Args:
        photographs: RGB, one at least; the first two lend their colours to different patches.
        side: of the result, px.
        rng: decides the texture.

    Returns:
        an RGB image of `side` × `side` px.

    Raises:
        ValueError: there is no photograph.
    """
    if not photographs:
        raise ValueError("ground needs the colours of one photograph at least")
    texture = np.asarray(sum(strength * noise(side, bumps, rng) for bumps, strength in _OCTAVES))
    level = 0.5 + texture * np.float32(_CONTRAST / np.sqrt(sum(strength**2 for _, strength in _OCTAVES)))
    middle = rng.uniform(*_BRIGHTNESS)
    pixels, *others = (_coloured(level, _palette(photograph, middle)) for photograph in photographs[:2])
    for other in others:
        share = np.clip(0.5 + 0.7 * noise(side, 4, rng) + 0.5 * noise(side, 37, rng), 0, 1)
        pixels += share[..., None] * (other - pixels)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def cast_light(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay light over a plot: exposure, warmth, a slope, the shade of clouds, and the grain of a sensor.

    Args:
        pixels: float32 (side, side, 3), 0 … 255.
        rng: decides the light.

    Returns:
        float32 of the same shape, not clipped.
    """
    side = len(pixels)
    slope = rng.normal(0, 0.08, 2)
    along = np.linspace(-1, 1, side, dtype=np.float32)
    field = 1 + slope[0] * along[:, None] + slope[1] * along[None, :] + 0.05 * noise(side, 4, rng)
    warmth, exposure = rng.normal(0, 0.04), rng.uniform(0.85, 1.15)
    tint = np.array([1 + warmth, 1, 1 - warmth], np.float32) * np.float32(exposure)
    grain = rng.standard_normal((side, side, 1), dtype=np.float32) * np.float32(rng.uniform(1, 4))
    return pixels * field[..., None].astype(np.float32) * tint + grain


def _palette(photograph: Image.Image, middle: float) -> np.ndarray:
    """Give the colours at a photograph's rim, dulled, from dark to light around a middle tone: float64 (stops, 3)."""
    small = np.asarray(crop_resize(photograph, _THUMBNAIL), np.float64)
    rim = np.concatenate([small[0], small[-1], small[1:-1, 0], small[1:-1, -1]])
    rim = rim[np.argsort(rim @ _LUMINANCE, kind="stable")]
    colours = rim[np.linspace(0, len(rim) - 1, _STOPS).round().astype(int)]
    colours = (colours + rim.mean(axis=0)) / 2 + 1  # what is nearly black has a colour by accident
    grey = (colours @ _LUMINANCE)[:, None]
    dulled = colours + _GREYED * (grey - colours)
    return dulled / grey * (middle * np.linspace(*_TONES, _STOPS)[:, None])


def _coloured(level: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Look levels, 0 … 1, up in a palette: float32 (side, side, 3)."""
    stops, steps = np.linspace(0, 1, len(palette)), np.linspace(0, 1, _STEPS)
    table = np.stack([np.interp(steps, stops, channel) for channel in palette.T], axis=-1).astype(np.float32)
    return table[np.clip(level * (_STEPS - 1), 0, _STEPS - 1).astype(np.intp)]
