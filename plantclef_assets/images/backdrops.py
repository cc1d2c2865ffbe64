"""Backdrops of composed pictures: noise, ground in the colours of photographs, and light.

What belongs here: everything in a picture on which no species grows. Ground takes the eight by eight mean colours of a
photograph, from its rim, where plants are rare, and turns them into texture by noise, so that no plant is recognisable.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from plantclef_assets.images.resizing import crop_resize

_THUMBNAIL = 8
_STOPS = 6
"""Colours of a ground, from the darkest to the lightest."""
_GREYED = 0.45
"""How far colours are moved towards grey: ground is duller than leaves and flowers."""
_BRIGHTNESS = (70.0, 120.0)
"""Range of the luminance of a ground's middle tone, 0 … 255."""
_TONES = (0.5, 1.5)
"""The darkest and the lightest colour, as factors of the middle tone."""
_LUMINANCE = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601."""
_OCTAVES = ((3, 0.5), (9, 0.5), (29, 0.5), (71, 0.7), (149, 1.0), (311, 1.0))
"""Bumps along a side, and their strength: slopes, clods, litter, grain."""
_STEPS = 512
"""Steps between the colours of a palette."""
_CONTRAST = 0.2
"""Standard deviation of the texture, where 1 is the whole range from dark to light."""


@dataclass(frozen=True)
class Light:
    """How much the light varies from picture to picture.

    Attributes:
        slope: standard deviation of the brightness gradient along each side.
        warmth: standard deviation of the shift from blue to red.
        exposure: range of the brightness factor.
        grain: range of the standard deviation of the sensor noise, 0 … 255.
    """

    slope: float
    warmth: float
    exposure: tuple[float, float]
    grain: tuple[float, float]


LIGHT = Light(slope=0.08, warmth=0.04, exposure=(0.85, 1.15), grain=(1.0, 4.0))
"""The light over composed plots."""


def noise(size: tuple[int, int], bumps: int, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise with about `bumps` bumps along the longer side, standard deviation about 1.

    Args:
        size: (width, height) in px.
        bumps: number of bumps, 2 or more.
        rng: source of randomness.

    Returns:
        float32 (height, width).
    """
    width, height = size
    longer = max(size)
    grid = (max(2, round(bumps * height / longer)), max(2, round(bumps * width / longer)))
    coarse = Image.fromarray(rng.standard_normal(grid, dtype=np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))


def paint_ground(photographs: Sequence[Image.Image], side: int, rng: np.random.Generator) -> Image.Image:
    """Paint ground in the colours of photographs.

    Args:
        photographs: RGB, at least one; patches take the colours of the first two.
        side: side of the result in px.
        rng: source of randomness.

    Returns:
        an RGB image of `side` × `side` px.

    Raises:
        ValueError: there is no photograph.
    """
    if not photographs:
        raise ValueError("ground needs the colours of at least one photograph")
    size = (side, side)
    texture = np.asarray(sum(strength * noise(size, bumps, rng) for bumps, strength in _OCTAVES))
    level = 0.5 + texture * np.float32(_CONTRAST / np.sqrt(sum(strength**2 for _, strength in _OCTAVES)))
    middle = rng.uniform(*_BRIGHTNESS)
    pixels, *others = (_coloured(level, _palette(photograph, middle)) for photograph in photographs[:2])
    for other in others:
        share = np.clip(0.5 + 0.7 * noise(size, 4, rng) + 0.5 * noise(size, 37, rng), 0, 1)
        pixels += share[..., None] * (other - pixels)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def cast_light(pixels: np.ndarray, light: Light, rng: np.random.Generator) -> Image.Image:
    """Return a picture under a random light: exposure, warmth, a gradient, cloud shade and sensor noise.

    Args:
        pixels: float32 (height, width, 3), 0 … 255.
        light: how much the light varies.
        rng: source of randomness.
    """
    height, width = pixels.shape[:2]
    slope = rng.normal(0, light.slope, 2)
    down, across = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    shade = 0.05 * noise((width, height), 4, rng)
    field = 1 + slope[0] * down[:, None] + slope[1] * across[None, :] + shade
    warmth, exposure = rng.normal(0, light.warmth), rng.uniform(*light.exposure)
    tint = np.array([1 + warmth, 1, 1 - warmth], np.float32) * np.float32(exposure)
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(*light.grain))
    lit = pixels * field[..., None].astype(np.float32) * tint + grain
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def _palette(photograph: Image.Image, middle: float) -> np.ndarray:
    """Return the dulled colours of a photograph's rim, from dark to light around a middle tone: float64 (stops, 3)."""
    small = np.asarray(crop_resize(photograph, _THUMBNAIL), np.float64)
    rim = np.concatenate([small[0], small[-1], small[1:-1, 0], small[1:-1, -1]])
    rim = rim[np.argsort(rim @ _LUMINANCE, kind="stable")]
    colours = rim[np.linspace(0, len(rim) - 1, _STOPS).round().astype(int)]
    colours = (colours + rim.mean(axis=0)) / 2 + 1  # the hue of nearly black pixels is arbitrary
    grey = (colours @ _LUMINANCE)[:, None]
    dulled = colours + _GREYED * (grey - colours)
    return dulled / grey * (middle * np.linspace(*_TONES, _STOPS)[:, None])


def _coloured(level: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Look levels, 0 … 1, up in a palette: float32 (side, side, 3)."""
    stops, steps = np.linspace(0, 1, len(palette)), np.linspace(0, 1, _STEPS)
    table = np.stack([np.interp(steps, stops, channel) for channel in palette.T], axis=-1).astype(np.float32)
    return table[np.clip(level * (_STEPS - 1), 0, _STEPS - 1).astype(np.intp)]
