"""Drawn photographs of vegetation plots, seen from above: several species in patches over ground and grass.

What belongs here: plots drawn from traits of species. Plots composed of photographs are in `images/composition.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from plantclef_assets.demo.flora import Species
from plantclef_assets.demo.grounds import LIGHT, paint_ground
from plantclef_assets.demo.layers import ENLARGEMENT, clear_layer, lay
from plantclef_assets.demo.outlines import golden_angles
from plantclef_assets.demo.painting import grow_individual, paint_plant
from plantclef_assets.demo.palette import random_palette, shaded
from plantclef_assets.demo.strokes import Brush
from plantclef_assets.images.backdrops import cast_light

PLANTS = (28, 38)
"""Fewest and most plants on a plot seen at closeness 1."""

REACHES = (0.075, 0.15)
"""Range of the radius of a plant as a share of the plot's longer side, at closeness 1. One to four plants fill a ninth
of a plot, while a single plant is small on the whole plot."""

CLOSENESS = (0.85, 2.0)
"""Range of the factor by which the plants of a plot look larger: survey plots differ in size, and plants in height."""


class _Stand(NamedTuple):
    """Position of a plant in px, its radius, and the index of its species on the plot."""

    at: complex
    radius: float
    species: int


def photograph_plot(
    species: Sequence[Species], size: tuple[int, int], ground: str, rng: np.random.Generator
) -> Image.Image:
    """Return an RGB photograph of a plot on which exactly the given species grow, each at least once.

    Args:
        species: the species of the plot, the most abundant first.
        size: (width, height) in px.
        ground: a kind of `grounds.GROUNDS`.
        rng: decides the positions of plants and their appearance.

    Raises:
        ValueError: there is no species.
    """
    if not species:
        raise ValueError("a plot needs at least one species")
    image = paint_ground(ground, size, grain=max(size) * rng.uniform(0.012, 0.02), rng=rng)
    light = float(rng.uniform(-3.1, 3.1))
    stands = _stands(len(species), size, rng)
    _lay_grass(image, rng, tufts=26)
    for number, stand in enumerate(stands):
        side = int(3.4 * stand.radius)  # the longest stalked leaves reach 1.7 radii
        layer = clear_layer((side, side))
        individual = grow_individual(species[stand.species], rng)
        brush = Brush(ImageDraw.Draw(layer), individual.palette, rng, 1.0, light)
        paint_plant(brush, individual, layer.width / 2 * (1 + 1j), ENLARGEMENT * stand.radius)
        corner = (round(stand.at.real - side / 2), round(stand.at.imag - side / 2))
        lay(image, layer, corner, depth=0.08 * stand.radius)
        if number % 4 == 3:
            _lay_grass(image, rng, tufts=2)
    return cast_light(np.asarray(image, np.float32), LIGHT, rng)


def _stands(species: int, size: tuple[int, int], rng: np.random.Generator) -> list[_Stand]:
    """Spread plants evenly over the plot; each has the species of the nearest patch.

    Every species has at least one patch, in the order of abundance, and at least one plant.
    """
    closeness = rng.uniform(*CLOSENESS)
    # The covered area stays about the same, except for plants cut by the frame.
    plants = max(round(rng.integers(PLANTS[0], PLANTS[1] + 1) / closeness**1.5), species + 2)
    extent = np.array(size, dtype=np.float64)
    spots = _even_spots(plants, extent, rng)
    owners = np.concatenate([np.arange(species), rng.integers(0, max(1, (species + 1) // 2), species // 2 + 1)])
    patches = _even_spots(len(owners), extent, rng)
    # Random factors on the distances mix the species at the borders of patches.
    distance = np.linalg.norm(spots[:, None] - patches[None], axis=2)
    distance = distance * rng.uniform(0.8, 1.25, distance.shape)
    nearest = owners[distance.argmin(axis=1)]
    nearest[distance[:, :species].argmin(axis=0)] = np.arange(species)
    radii = max(size) * closeness * rng.uniform(*REACHES, plants)
    stands = [
        _Stand(complex(*spot), float(radius), int(owner))
        for spot, radius, owner in zip(spots, radii, nearest, strict=True)
    ]
    # Plants overlap in random order; the rarest species is painted last, so that it stays visible.
    return sorted(stands, key=lambda stand: (stand.species == species - 1, rng.random()))


def _even_spots(count: int, extent: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `count` spots (x, y) within `extent`, each the farthest from all others among ten random candidates."""
    spots = [rng.uniform(0.06, 0.94, 2) * extent]
    while len(spots) < count:
        tries = rng.uniform(0.03, 0.97, (10, 2)) * extent
        gaps = np.linalg.norm(tries[:, None] - np.array(spots)[None], axis=2).min(axis=1)
        spots.append(tries[int(gaps.argmax())])
    return np.array(spots)


def _lay_grass(image: Image.Image, rng: np.random.Generator, tufts: int) -> None:
    """Lay tufts of grass, which belongs to none of the species, over the plot."""
    reach = max(image.size) * 0.045
    side = int(3 * reach)
    for _ in range(tufts):
        layer = clear_layer((side, side))
        draw = ImageDraw.Draw(layer)
        green = random_palette(rng).blade
        middle = layer.width / 2 * (1 + 1j)
        for angle in golden_angles(int(rng.integers(5, 12)), rng.uniform(0, 6.3)):
            tip = middle + ENLARGEMENT * reach * rng.uniform(0.4, 1.3) * np.exp(1j * (angle + rng.normal(0, 0.4)))
            bow = (middle + tip) / 2 + 0.12 * (tip - middle) * 1j
            points = (middle.real, middle.imag, bow.real, bow.imag, tip.real, tip.imag)
            draw.line(points, fill=shaded(green, rng.uniform(0.7, 1.15)), width=3)
        spot = rng.uniform(-0.05, 1.0, 2) * image.size
        lay(image, layer, (round(spot[0] - side / 2), round(spot[1] - side / 2)), depth=2)
