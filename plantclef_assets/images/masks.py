"""Soft irregular outlines: which part of a photograph is pasted into a plot, and how its edge fades.

What belongs here: masks of one object. What does not: where objects lie, and what of them is seen.
"""

from functools import lru_cache

import numpy as np
from PIL import Image

_WAVES = np.arange(2, 10)
"""An outline is a circle with so many bulges at a time; one bulge would only move it."""
_FURTHEST = 0.92
"""How far the smooth outline reaches at most, in half sides: fringe and fade need the rest."""
_NARROWEST = 0.5
"""The least radius as a share of the greatest, so that no outline is pinched through."""
_FRINGE = 0.07
"""By how much of half a side the edge is ragged at most."""
_FADE = (0.1, 0.22)
"""Width of the fading edge, in half sides."""


@lru_cache(maxsize=32)
def blob_mask(seed: int, side: int) -> np.ndarray:
    """Draw a soft, irregular blob that touches no border of its square.

    Args:
        seed: names the outline; the same one at every `side`.
        side: of the square, px.

    Returns:
        float32 (side, side), 0 … 1, read-only. Its outermost pixels are 0.

    Raises:
        ValueError: `side` is not positive.
    """
    if side < 1:
        raise ValueError(f"a mask cannot be {side} px wide; its side must be at least 1")
    rng = np.random.default_rng(seed)
    strengths = rng.normal(0, 0.18, len(_WAVES)) / _WAVES**0.8
    phases = rng.uniform(0, 2 * np.pi, len(_WAVES))
    fringe = rng.standard_normal((14, 14), dtype=np.float32)
    fade = rng.uniform(*_FADE)

    angles = np.linspace(-np.pi, np.pi, 721)
    outline = 1 + (strengths * np.cos(np.multiply.outer(angles, _WAVES) + phases)).sum(axis=1)
    outline = np.maximum(outline, _NARROWEST * outline.max()) * (_FURTHEST / outline.max())

    across = (np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1
    radius = np.hypot(across[:, None], across[None, :])
    angle = np.arctan2(across[:, None], across[None, :])
    reach = np.interp(angle.ravel(), angles, outline).reshape(side, side)
    ragged = np.asarray(Image.fromarray(fringe).resize((side, side), Image.Resampling.BICUBIC))
    inside = (reach + _FRINGE * np.clip(0.5 * ragged, -1, 1) - radius) / fade
    inside = np.clip(inside, 0, 1).astype(np.float32)
    inside[radius >= 1 - 2 / side] = 0
    mask = inside * inside * (3 - 2 * inside)
    mask.setflags(write=False)
    return mask
