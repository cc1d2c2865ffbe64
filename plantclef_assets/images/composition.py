"""Composed plots: photographs of single plants laid out on ground, with a truth measured through their masks.

What belongs here: where plants lie, what of each is seen, and the pixels. What does not: which photographs are taken.
Everything is decided by seeds, so that equal arguments give equal pixels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from plantclef_assets.images.backdrops import cast_light, paint_ground
from plantclef_assets.images.masks import blob_mask
from plantclef_assets.images.resizing import crop_resize

SIDES = (0.15, 0.5)
"""Least and greatest side of a plant's square, as shares of the plot's."""
LEAST_VISIBLE = 0.5
"""A species is in a plot where this share of its best plant's area is seen, or more."""

_WANTED_VISIBLE = 0.6
"""What a layout is searched for: shares at the plot's own size differ a little from those at `_SKETCH` px."""
_SKETCH = 160
_LAYOUTS, _SPOTS, _VIEWS = 8, 4, 6
"""How many layouts, spots of a plant, and views of a revisit are tried."""
_COVERED = (0.9, 1.5)
"""Squares together have so much of the plot's area, as far as `SIDES` allow; a good third of it lies within masks."""
_ZOOM, _SHIFT = (0.82, 1.22), 0.08
"""How much nearer and how far aside a revisit stands, the latter as a share of the plot's side."""
_MARGIN = 0.25
"""Ground is painted so much further than the plot at each edge, for a revisit to look at."""
_SHADOW_DEPTH, _SHADOW = 0.03, 0.3
"""How far a plant's shadow falls, as a share of its side, and how dark it is."""
_BRIGHTNESS = (0.85, 1.15)


@dataclass(frozen=True)
class Plant:
    """A photograph and where it lies; lengths are shares of the plot's side.

    Attributes:
        species_id: its label.
        image_name: the photograph.
        x, y: of its middle.
        side: of its square.
        turn: degrees.
        mirrored: whether left and right are swapped.
        brightness: factor.
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
    """Where a photographer stands: 1, 0, 0 sees the plot as it was laid out."""

    zoom: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def of(self, plants: Sequence[Plant]) -> list[Plant]:
        """Give the plants as this view shows them."""
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
    """Lay photographs out on a plot so that, if it can be had, enough of every species is seen.

    Args:
        photographs: (species_id, image_name) of each plant, one at least.
        rng: decides the layout.

    Returns:
        the plants in the order in which they are pasted, the topmost last.

    Raises:
        ValueError: there is no photograph.
    """
    if not photographs:
        raise ValueError("a plot needs at least one photograph")
    layouts = [_layout(photographs, rng) for _ in range(_LAYOUTS)]
    return max(layouts, key=_species_well_seen)  # the first of equals


def revisit(plants: Sequence[Plant], rng: np.random.Generator) -> View:
    """Choose where a second visit stands: another scale and place that loses no species, where there is one."""
    views = [View(rng.uniform(*_ZOOM), *rng.uniform(-_SHIFT, _SHIFT, 2)) for _ in range(_VIEWS)]
    return max([*views, View()], key=lambda view: _species_well_seen(view.of(plants)))


def visible_shares(plants: Sequence[Plant], side: int) -> list[float]:
    """Measure through the masks which share of each plant's area is seen: within the plot, under no other plant.

    Args:
        plants: in the order in which they are pasted.
        side: of the plot, px.
    """
    clear = np.ones((side, side), np.float32)
    shares = []
    for plant in reversed(plants):
        mask, inside, (rows, columns) = _placed(plant, side)
        seen = clear[rows, columns]
        share = float((mask[inside] * seen).sum() / mask.sum())
        shares.append(min(1.0, share))  # two sums of the same numbers in another order differ in the last digit
        seen *= 1 - mask[inside]
    return shares[::-1]


def without_hidden_species(plants: Sequence[Plant], side: int) -> list[tuple[Plant, float]]:
    """Take away the species of which too little is seen, the least visible first; gives each plant with its share.

    A species that is half there would be neither a truth nor its absence.
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
    """Give x, y, width and height of the part of a plant's square that lies within the plot, px."""
    _, _, (rows, columns) = _placed(plant, side)
    return columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start


def compose(
    plants: Sequence[Plant],
    photographs: Mapping[str, Image.Image],
    ground: Image.Image,
    side: int,
    rng: np.random.Generator,
) -> Image.Image:
    """Paste plants on ground, each with a soft shadow, and lay light over all.

    Args:
        plants: as the view shows them, in the order in which they are pasted.
        photographs: the upright RGB photographs by name.
        ground: what `ground_of` gives for the view.
        side: of the plot, px.
        rng: decides the light.

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
        square = square.rotate(plant.turn, Image.Resampling.BICUBIC)  # what turns in from outside lies outside the mask
        painted = np.asarray(square, np.float32)[inside] * np.float32(plant.brightness)
        pixels[rows, columns] += mask[inside][..., None] * (painted - pixels[rows, columns])
    return Image.fromarray(np.clip(cast_light(pixels, rng), 0, 255).astype(np.uint8))


def ground_of(photographs: Sequence[Image.Image], view: View, side: int, rng: np.random.Generator) -> Image.Image:
    """Paint the ground of a plot, wider than the plot, and give what a view shows of it, `side` × `side` px."""
    whole = paint_ground(photographs, math.ceil(side * (1 + 2 * _MARGIN)), rng)
    scale = whole.width / (1 + 2 * _MARGIN)
    left, upper = (_MARGIN + 0.5 - (0.5 + moved) / view.zoom for moved in (view.right, view.down))
    box = (left * scale, upper * scale, (left + 1 / view.zoom) * scale, (upper + 1 / view.zoom) * scale)
    return whole.resize((side, side), Image.Resampling.BICUBIC, box=box)


def _layout(photographs: Sequence[tuple[int, str]], rng: np.random.Generator) -> list[Plant]:
    """Spread plants: each on the freest of some spots, large ones below small ones."""
    smallest, largest = SIDES
    sides = smallest * (largest / smallest) ** rng.random(len(photographs))
    wanted = rng.uniform(*_COVERED)
    sides = np.clip(sides * math.sqrt(wanted / float((sides**2).sum())), smallest, largest)
    plants: list[Plant] = []
    order = sorted(range(len(photographs)), key=lambda one: -sides[one])
    for one in order:
        side = float(sides[one])
        reach = 0.42 * side  # some are cut by the frame, a little
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
    """Give the least distance to another plant, in sides of both; 1 where there is none."""
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
    """Give a plant's mask, the part of it within the plot, and that part's rows and columns in the plot."""
    width = max(1, round(plant.side * side))
    down, across = (_within(middle * side - width / 2, width, side) for middle in (plant.y, plant.x))
    return blob_mask(plant.outline, width), (down[0], across[0]), (down[1], across[1])


def _within(start: float, width: int, side: int) -> tuple[slice, slice]:
    """Cut [start, start + width) at 0 and `side`; gives the rest in the object's and in the plot's coordinates."""
    first = round(start)
    low, high = min(max(first, 0), side), max(min(first + width, side), 0)
    high = max(low, high)
    return slice(low - first, high - first), slice(low, high)
