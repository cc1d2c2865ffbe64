"""Drawn photographs of single plants: one organ of one individual on a random ground in a random light."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from plantclef_assets.demo.flora import Species
from plantclef_assets.demo.flowers import paint_flower
from plantclef_assets.demo.grounds import GROUNDS, LIGHT, paint_ground, paper
from plantclef_assets.demo.layers import ENLARGEMENT, clear_layer, lay
from plantclef_assets.demo.painting import Individual, grow_individual, paint_leaf, paint_plant, paint_shoot
from plantclef_assets.demo.strokes import Brush
from plantclef_assets.images.backdrops import cast_light

ORGANS = ("habit", "flower", "leaf", "branch", "scan")
"""The organs that are photographed, by PlantCLEF's names."""

ORGAN_SHARES = (0.52, 0.26, 0.09, 0.1, 0.03)
"""Share of each of `ORGANS` among the photographs of a survey."""


class View(NamedTuple):
    """The view of one photograph: the organ, (width, height) in px, and the source of its random variation.

    `on_paper` lays the plant on a sheet, as in a herbarium, in place of ground.
    """

    organ: str
    size: tuple[int, int]
    rng: np.random.Generator
    on_paper: bool = False


def photograph(individual: Individual, view: View) -> Image.Image:
    """Return an RGB photograph of an organ of the individual.

    Raises:
        KeyError: the organ is none of `ORGANS`.
    """
    take = {
        "habit": _take_habit,
        "flower": _take_flower,
        "leaf": _take_leaf,
        "branch": _take_branch,
        "scan": _take_scan,
    }[view.organ]
    return cast_light(np.asarray(take(individual, view), np.float32), LIGHT, view.rng)


def draw_view(
    rng: np.random.Generator, individual: Individual, longer_side: int, organ_shares: Sequence[float] = ORGAN_SHARES
) -> View:
    """Draw a random view of the individual in one of three common formats; `longer_side` is in px."""
    organ = str(rng.choice(ORGANS, p=organ_shares))
    if organ == "flower" and not individual.flowers:
        organ = "habit"
    ratio = (1.0, 0.75, 0.75)[int(rng.integers(3))]
    shorter_side = round(longer_side * ratio)
    lying = rng.random() < 0.5
    return View(organ, (longer_side, shorter_side) if lying else (shorter_side, longer_side), rng)


def _ground(view: View, grain: float) -> Image.Image:
    if view.on_paper:
        return paper(view.size, view.rng)
    return paint_ground(str(view.rng.choice(GROUNDS)), view.size, grain, view.rng)


def _brush(layer: Image.Image, individual: Individual, rng: np.random.Generator, tilt: float = 1.0) -> Brush:
    return Brush(ImageDraw.Draw(layer), individual.palette, rng, tilt, light=float(rng.uniform(-3.1, 3.1)))


def _middle(view: View, wander: float) -> complex:
    """Return a point near the middle of the enlarged sheet, at most `wander` of the shorter side away."""
    off = wander * min(view.size) * view.rng.uniform(-1, 1, 2)
    return ENLARGEMENT * complex(view.size[0] / 2 + off[0], view.size[1] / 2 + off[1])


def _take_habit(individual: Individual, view: View) -> Image.Image:
    """Show the plant from above or obliquely, sometimes with companions of its species, among blades."""
    rng = view.rng
    short = min(view.size)
    radius = short * rng.uniform(0.38, 0.78)
    ground = _ground(view, grain=radius * rng.uniform(0.08, 0.2))
    layer = clear_layer(view.size)
    brush = _brush(layer, individual, rng, tilt=float(rng.choice([1.0, 1.0, rng.uniform(0.6, 1.0)])))
    at = _middle(view, 0.16)
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        aside = 1.5 * ENLARGEMENT * radius * np.exp(1j * rng.uniform(0, 2 * np.pi))
        paint_plant(brush, individual, at + complex(aside), ENLARGEMENT * radius * rng.uniform(0.6, 1.0))
    paint_plant(brush, individual, at, ENLARGEMENT * radius)
    _cross_with_blades(layer, individual, rng)
    lay(ground, layer, (0, 0), depth=0.07 * radius)
    return ground


def _cross_with_blades(layer: Image.Image, individual: Individual, rng: np.random.Generator) -> None:
    """Draw a few stray grass blades over the plant."""
    draw = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(0, 5))):
        ends = rng.uniform(0, 1, (2, 2)) * layer.size
        draw.line(ends.ravel().tolist(), fill=individual.palette.stem, width=int(rng.integers(2, 8)))


def _take_flower(individual: Individual, view: View) -> Image.Image:
    """Show one flower close up, in front of its plant, which is out of focus."""
    rng = view.rng
    short = min(view.size) * ENLARGEMENT
    ground = _ground(view, grain=short * 0.06)
    behind = clear_layer(view.size)
    at = _middle(view, 0.12)
    paint_plant(_brush(behind, individual, rng), individual, at + short * rng.normal(0, 0.2), short * 0.9)
    lay(ground, behind, (0, 0), depth=8)
    ground = ground.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 4)))
    layer = clear_layer(view.size)
    brush = _brush(layer, individual, rng, tilt=float(rng.uniform(0.7, 1.0)))
    radius = short * rng.uniform(0.22, 0.46)
    paint_flower(brush, individual.species.flower, at, radius * np.exp(1j * rng.normal(-np.pi / 2, 0.6)))
    lay(ground, layer, (0, 0), depth=6)
    return ground


def _take_leaf(individual: Individual, view: View) -> Image.Image:
    """Show one or two leaves close up."""
    rng = view.rng
    short = min(view.size) * ENLARGEMENT
    ground = _ground(view, grain=short * 0.05).filter(ImageFilter.GaussianBlur(rng.uniform(0, 2.5)))
    layer = clear_layer(view.size)
    brush = _brush(layer, individual, rng, tilt=float(rng.uniform(0.8, 1.0)))
    for _ in range(int(rng.integers(1, 3))):
        factor = short * rng.uniform(0.55, 1.0) * np.exp(1j * rng.uniform(0, 2 * np.pi))
        paint_leaf(brush, individual, _middle(view, 0.1) - 0.6 * factor, complex(factor))
    lay(ground, layer, (0, 0), depth=5)
    return ground


def _take_branch(individual: Individual, view: View) -> Image.Image:
    """Show a shoot from the side in front of a blurred background."""
    rng = view.rng
    ground = _ground(view, grain=min(view.size) * 0.1).filter(ImageFilter.GaussianBlur(rng.uniform(2, 6)))
    layer = clear_layer(view.size)
    _paint_upright_shoot(layer, individual, view)
    lay(ground, layer, (0, 0), depth=0)
    return ground


def _take_scan(individual: Individual, view: View) -> Image.Image:
    """Show a pressed shoot on paper."""
    sheet = paper(view.size, view.rng)
    layer = clear_layer(view.size)
    _paint_upright_shoot(layer, individual, view)
    lay(sheet, layer, (0, 0), depth=2)
    return sheet


def _paint_upright_shoot(layer: Image.Image, individual: Individual, view: View) -> None:
    rng = view.rng
    length = layer.height * rng.uniform(0.6, 0.85)
    foot = complex(layer.width * rng.uniform(0.38, 0.62), layer.height * rng.uniform(0.93, 1.05))
    paint_shoot(_brush(layer, individual, rng), individual, foot, length)


def photograph_species(
    species: Species,
    longer_side: int,
    rng: np.random.Generator,
    organ_shares: Sequence[float] = ORGAN_SHARES,
    *,
    on_paper: bool = False,
) -> tuple[str, Image.Image]:
    """Photograph a new individual of the species on ground or paper; return the organ and the RGB image."""
    individual = grow_individual(species, rng)
    view = draw_view(rng, individual, longer_side, organ_shares)._replace(on_paper=on_paper)
    return view.organ, photograph(individual, view)
