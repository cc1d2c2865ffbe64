"""Composed plots: photographs of single plants laid out on ground, with a truth measured through their masks.

What belongs here: the outlines and positions of plants, the visible share of each, and the pixels. What does not: the
choice of photographs (`ingest/validation_plots.py`). Equal arguments and seeds give equal pixels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image

from plantclef_assets.images.backdrops import LIGHT, cast_light, paint_ground
from plantclef_assets.images.resizing import crop_resize

SIDES = (0.15, 0.5)
"""Range of the side of a plant's square, as a share of the plot's side."""
LEAST_VISIBLE = 0.5
"""A species is in a plot if at least this share of the area of its most visible plant is visible."""

_WANTED_VISIBLE = 0.6
"""The share that layouts are searched for; it allows for the difference between `_SKETCH` px and the plot's size."""
_SKETCH = 160
_LAYOUTS, _SPOTS, _VIEWS = 8, 4, 6
"""Number of candidate layouts, of candidate positions of a plant, and of candidate views of a revisit."""
_COVERED = (0.9, 1.5)
"""Range of the summed area of all squares as a share of the plot's, within the limits of `SIDES`."""
_ZOOM, _SHIFT = (0.82, 1.22), 0.08
"""Range of a revisit's zoom, and its greatest shift as a share of the plot's side."""
_MARGIN = 0.25
"""Width of the ground painted beyond each edge of the plot, as a share of its side; revisits show parts of it."""
_SHADOW_DEPTH, _SHADOW = 0.03, 0.3
"""Offset of a plant's shadow as a share of its side, and its darkness."""
_BRIGHTNESS = (0.85, 1.15)

_WAVES = np.arange(2, 10)
"""Bulges along an outline, in superposition; a single bulge would only move it."""
_FURTHEST = 0.92
"""Greatest radius of the smooth outline, in half sides; fringe and fading edge use the rest."""
_NARROWEST = 0.5
"""Least radius as a share of the greatest, so that outlines stay in one piece."""
_FRINGE = 0.07
"""Greatest raggedness of the edge, in half sides."""
_FADE = (0.1, 0.22)
"""Range of the width of the fading edge, in half sides."""


@dataclass(frozen=True)
class Plant:
    """A photograph on a plot; lengths are shares of the plot's side.

    Attributes:
        species_id: label of the photograph.
        image_name: name of the photograph.
        x, y: its centre.
        side: side of its square.
        turn: rotation in degrees.
        mirrored: whether left and right are swapped.
        brightness: factor on the pixels.
        outline: seed of its mask.
    """

    species_id: int
    image_name: str
    x: float
    y: float
    side: float
    turn: float
    mirrored: bool
    brightness: float
    outline: int


@dataclass(frozen=True)
class View:
    """Zoom and shift of a visit; 1, 0, 0 shows the plot as it was laid out."""

    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def of(self, plants: Sequence[Plant]) -> list[Plant]:
        """Return the plants at their positions in this view."""
        return [
            replace(
                plant,
                x=0.5 + (plant.x - 0.5) * self.zoom + self.right,
                y=0.5 + (plant.y - 0.5) * self.zoom + self.down,
                side=plant.side * self.zoom,
            )
            for plant in plants
        ]


def lay_out(photographs: Sequence[tuple[int, str]], rng: np.random.Generator) -> list[Plant]:
    """Lay photographs out on a plot so that, if possible, enough of every species is visible.

    Args:
        photographs: (species_id, image_name) of each plant, at least one.
        rng: source of randomness.

    Returns:
        the plants in the order in which they are pasted, the topmost last.

    Raises:
        ValueError: there is no photograph.
    """
    if not photographs:
        raise ValueError("a plot needs at least one photograph")
    layouts = [_layout(photographs, rng) for _ in range(_LAYOUTS)]
    return max(layouts, key=_species_well_seen)  # the first among equals


def revisit(plants: Sequence[Plant], rng: np.random.Generator) -> View:
    """Choose the view of a second visit: another scale and position that, if possible, hides no species."""
    views = [View(rng.uniform(*_ZOOM), *rng.uniform(-_SHIFT, _SHIFT, 2)) for _ in range(_VIEWS)]
    return max([*views, View()], key=lambda view: _species_well_seen(view.of(plants)))


def visible_shares(plants: Sequence[Plant], side: int) -> list[float]:
    """Return the visible share of the area of each plant: within the plot and under no other plant.

    Args:
        plants: in the order in which they are pasted.
        side: side of the plot in px.
    """
    clear = np.ones((side, side), np.float32)
    shares = []
    for plant in reversed(plants):
        mask, inside, (rows, columns) = _placed(plant, side)
        seen = clear[rows, columns]
        share = float((mask[inside] * seen).sum() / mask.sum())
        shares.append(min(1.0, share))  # rounding can make it slightly larger
        seen *= 1 - mask[inside]
    return shares[::-1]


def without_hidden_species(plants: Sequence[Plant], side: int) -> list[tuple[Plant, float]]:
    """Remove species that are too little visible, the least visible first; return the plants with their shares.

    A partly visible species would be neither present nor absent.
    """
    kept = list(plants)
    while True:
        shares = visible_shares(kept, side)
        best = _best_shares(kept, shares)
        species = min(best, key=lambda one: (best[one], one))
        if best[species] >= LEAST_VISIBLE or len(best) == 1:
            return [(plant, share) for plant, share in zip(kept, shares, strict=True) if share > 0]
        kept = [plant for plant in kept if plant.species_id != species]


def box_of(plant: Plant, side: int) -> tuple[int, int, int, int]:
    """Return x, y, width and height in px of the part of a plant's square within the plot."""
    _, _, (rows, columns) = _placed(plant, side)
    return columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start


def compose(
    plants: Sequence[Plant],
    photographs: Mapping[str, Image.Image],
    ground: Image.Image,
    side: int,
    rng: np.random.Generator,
) -> Image.Image:
    """Paste plants on ground, each with a soft shadow, and apply a random light.

    Args:
        plants: at their positions in the view, in the order in which they are pasted.
        photographs: the upright RGB photographs by name.
        ground: the result of `ground_of` for the view.
        side: side of the plot in px.
        rng: source of randomness of the light.

    Returns:
        an RGB image of `side` × `side` px.
    """
    pixels = np.array(ground, np.float32)
    for plant in plants:
        mask, inside, (rows, columns) = _placed(plant, side)
        sunken = replace(plant, x=plant.x + _SHADOW_DEPTH * plant.side, y=plant.y + _SHADOW_DEPTH * plant.side)
        _, beneath, (below, beside) = _placed(sunken, side)
        pixels[below, beside] *= 1 - _SHADOW * mask[beneath][..., None]
        square = crop_resize(photographs[plant.image_name], len(mask))
        if plant.mirrored:
            square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        square = square.rotate(plant.turn, Image.Resampling.BICUBIC)  # black corners lie outside the mask
        painted = np.asarray(square, np.float32)[inside] * np.float32(plant.brightness)
        pixels[rows, columns] += mask[inside][..., None] * (painted - pixels[rows, columns])
    return cast_light(pixels, LIGHT, rng)


def ground_of(photographs: Sequence[Image.Image], view: View, side: int, rng: np.random.Generator) -> Image.Image:
    """Paint ground wider than a plot, and return its part in a view, `side` × `side` px."""
    whole = paint_ground(photographs, math.ceil(side * (1 + 2 * _MARGIN)), rng)
    scale = whole.width / (1 + 2 * _MARGIN)
    left, upper = (_MARGIN + 0.5 - (0.5 + moved) / view.zoom for moved in (view.right, view.down))
    box = (left * scale, upper * scale, (left + 1 / view.zoom) * scale, (upper + 1 / view.zoom) * scale)
    return whole.resize((side, side), Image.Resampling.BICUBIC, box=box)


@lru_cache(maxsize=32)
def blob_mask(seed: int, side: int) -> np.ndarray:
    """Return the mask of a soft, irregular blob that touches no border of its square.

    Args:
        seed: seed of the outline, which is the same at every `side`.
        side: side of the square in px.

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


def _layout(photographs: Sequence[tuple[int, str]], rng: np.random.Generator) -> list[Plant]:
    """Spread plants: each on the freest of some random positions, large ones below small ones."""
    smallest, largest = SIDES
    sides = smallest * (largest / smallest) ** rng.random(len(photographs))
    wanted = rng.uniform(*_COVERED)
    sides = np.clip(sides * math.sqrt(wanted / float((sides**2).sum())), smallest, largest)
    plants: list[Plant] = []
    order = sorted(range(len(photographs)), key=lambda one: -sides[one])
    for one in order:
        side = float(sides[one])
        reach = 0.42 * side  # the frame may cut a plant slightly
        spots = rng.uniform(reach, 1 - reach, (_SPOTS, 2))
        x, y = max(spots.tolist(), key=lambda spot: _room(spot, side, plants))
        plants.append(
            Plant(
                *photographs[one],
                x=x,
                y=y,
                side=side,
                turn=float(rng.uniform(0, 360)),
                mirrored=bool(rng.random() < 0.5),
                brightness=float(rng.uniform(*_BRIGHTNESS)),
                outline=int(rng.integers(2**31)),
            )
        )
    return plants


def _room(spot: Sequence[float], side: float, plants: Sequence[Plant]) -> float:
    """Return the least distance to another plant, relative to the sides of both; 1 if there is no other plant."""
    gaps = (math.dist(spot, (plant.x, plant.y)) / (0.5 * (side + plant.side)) for plant in plants)
    return min(1.0, *gaps) if plants else 1.0


def _species_well_seen(plants: Sequence[Plant]) -> int:
    best = _best_shares(plants, visible_shares(plants, _SKETCH))
    return sum(share >= _WANTED_VISIBLE for share in best.values())


def _best_shares(plants: Sequence[Plant], shares: Sequence[float]) -> dict[int, float]:
    best: dict[int, float] = {}
    for plant, share in zip(plants, shares, strict=True):
        best[plant.species_id] = max(best.get(plant.species_id, 0.0), share)
    return best


def _placed(plant: Plant, side: int) -> tuple[np.ndarray, tuple[slice, slice], tuple[slice, slice]]:
    """Return a plant's mask, the part of it within the plot, and the rows and columns of this part in the plot."""
    width = max(1, round(plant.side * side))
    down, across = (_within(middle * side - width / 2, width, side) for middle in (plant.y, plant.x))
    return blob_mask(plant.outline, width), (down[0], across[0]), (down[1], across[1])


def _within(start: float, width: int, side: int) -> tuple[slice, slice]:
    """Clip [start, start + width) to [0, side); return the result in the object's and in the plot's coordinates."""
    first = round(start)
    low, high = min(max(first, 0), side), max(min(first + width, side), 0)
    high = max(low, high)
    return slice(low - first, high - first), slice(low, high)
