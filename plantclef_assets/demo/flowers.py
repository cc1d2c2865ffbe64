"""Painting a flower or a flower head of each kind of `flora.FLOWER_KINDS`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from plantclef_assets.demo.flora import Flower
from plantclef_assets.demo.outlines import Points, directions, golden_angles, petal_outline
from plantclef_assets.demo.palette import shaded
from plantclef_assets.demo.strokes import Brush, dot, fill, placed, stroke


def paint_flower(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    """Paint one flower centred at `at` px.

    The modulus of `factor` is its radius in px, its argument the direction of an inflorescence.
    """
    _PAINTERS[flower.kind](brush, flower, at, factor)


def _ring(
    brush: Brush,
    petal: Points,
    at: complex,
    factor: complex,
    angles: NDArray[np.float64],
    lightness: float = 1.0,
) -> None:
    """Paint petals in the given directions, later ones over earlier ones, each with a darker line to its throat."""
    shades = lightness * brush.rng.uniform(0.88, 1.04, len(angles))
    sizes = brush.rng.uniform(0.93, 1.05, len(angles))
    line = np.array([0.1, 0.62 + 0j])
    for angle, shade, size in zip(angles, shades, sizes, strict=True):
        turned = factor * size * np.exp(1j * angle)
        fill(brush, placed(brush, petal, at, turned), shaded(brush.palette.petal, shade), edged=True)
        stroke(brush, placed(brush, line, at, turned), brush.palette.throat, abs(factor) / 40)


def _disc(brush: Brush, at: complex, radius: float, florets: int) -> None:
    """Paint the middle of a flower: florets in a sunflower's spiral."""
    dot(brush, at, radius, shaded(brush.palette.disc, 0.72))
    spots = np.sqrt((np.arange(florets) + 0.5) / florets) * 0.9 * directions(golden_angles(florets, 0.0))
    for spot in placed(brush, spots, at, radius):
        dot(brush, spot, max(radius * 0.13, 1.0), brush.palette.disc)


def _paint_open(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    petal = petal_outline(flower.petal_width * 4.4 / max(flower.petals, 4), flower.petal_tip)
    even = 2 * np.pi * np.arange(flower.petals) / flower.petals
    for whorl in range(min(flower.whorls, 2)):
        angles = even + whorl * np.pi / flower.petals + brush.rng.normal(0, 0.05, flower.petals)
        _ring(brush, petal, at, factor * (1 - 0.3 * whorl), angles, 1 + 0.06 * whorl)
    _disc(brush, at, abs(factor) * flower.disc * 0.75, 9)


def _paint_daisy(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    petal = petal_outline(4.2 * flower.petal_width / flower.density, flower.petal_tip)
    even = 2 * np.pi * np.arange(flower.density) / flower.density
    _ring(brush, petal, at, factor, even + brush.rng.normal(0, 0.06, flower.density))
    _disc(brush, at, abs(factor) * (0.1 + flower.disc), 30)


def _paint_strap(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    petal = petal_outline(0.07 + 0.1 * flower.petal_width, "notched")
    for whorl in range(flower.whorls + 1):
        angles = golden_angles(flower.density, brush.rng.uniform(0, 6.3))
        _ring(brush, petal, at, factor * (1 - 0.23 * whorl), angles, 1 - 0.05 * whorl)
    _disc(brush, at, abs(factor) * flower.disc * 0.4, 7)


def _paint_umbel(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    umbels = flower.density
    ends = np.sqrt((np.arange(umbels) + 0.6) / umbels) * 0.85 * directions(golden_angles(umbels, 0.3))
    ends = placed(brush, ends, at, factor)
    for end in ends:
        stroke(brush, np.array([at, end]), brush.palette.stem, abs(factor) / 45)
    size = abs(factor) * (0.12 + 0.1 * flower.petal_width) * (13 / umbels) ** 0.4
    ring = np.exp(2j * np.pi * np.arange(flower.petals) / flower.petals)
    for end in ends:
        for spot in placed(brush, ring, end, 0.62 * size):
            dot(brush, spot, size * 0.42, shaded(brush.palette.petal, brush.rng.uniform(0.85, 1.05)))
        dot(brush, end, size * 0.3, brush.palette.disc)


def _paint_spike(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    stroke(brush, placed(brush, np.array([-1.2, 1 + 0j]), at, factor), brush.palette.stem, abs(factor) / 18)
    petal = petal_outline(0.75, flower.petal_tip)
    count = flower.density + 4
    width = 0.14 + 0.2 * flower.petal_width
    for step in range(count):
        along = -0.75 + 1.75 * step / count
        reach = width * (1.15 - 0.75 * step / count)
        for side in (1, -1):
            turned = factor * reach * np.exp(1j * side * brush.rng.normal(1.0, 0.1))
            root = placed(brush, np.array([along + 0j]), at, factor)[0]
            colour = shaded(brush.palette.petal, brush.rng.uniform(0.8, 1.04))
            fill(brush, placed(brush, petal, root, turned), colour, edged=True)


def _paint_globe(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    count = flower.density * 2 + 10
    petal = petal_outline(0.2 + 0.3 * flower.petal_width, "pointed")
    distances = np.sqrt((count - np.arange(count)) / count) * 0.62
    dot(brush, at, abs(factor) * 0.6, shaded(brush.palette.petal, 0.62))
    for distance, angle in zip(distances, golden_angles(count, 0.0), strict=True):
        turn = np.exp(1j * angle)
        root = placed(brush, np.array([distance * turn]), at, factor)[0]
        colour = shaded(brush.palette.petal, brush.rng.uniform(0.8, 1.06) * (0.82 + 0.3 * (0.62 - distance)))
        fill(brush, placed(brush, petal, root, 0.42 * factor * turn), colour, edged=True)


def _paint_bell(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    bend = 0.35
    axis = np.linspace(-1.1, 0.9, 9)
    stroke(brush, placed(brush, axis + 1j * bend * axis**2, at, factor), brush.palette.stem, abs(factor) / 22)
    wide = 0.5 + 0.45 * flower.petal_width
    side = np.array([0, 0.12 + 0.3j * wide, 0.55 + 0.33j * wide, 0.85 + 0.42j * wide])
    bell = np.concatenate([side, [0.8 + 0.22j * wide, 0.98, 0.8 - 0.22j * wide], np.conj(side[:0:-1])])
    for step in range(flower.petals):
        along = -0.7 + 1.55 * step / max(flower.petals - 1, 1)
        root = placed(brush, np.array([along + 1j * bend * along**2]), at, factor)[0]
        turn = np.exp(1j * (brush.rng.normal(0.95, 0.15) * (1 if step % 2 else -1)))
        colour = shaded(brush.palette.petal, brush.rng.uniform(0.85, 1.03))
        turned = factor * 0.58 * turn
        fill(brush, placed(brush, bell, root, turned), colour, edged=True)
        stroke(brush, placed(brush, np.array([0.15, 0.85 + 0j]), root, turned), brush.palette.throat, 1)


def _paint_lipped(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    upper = petal_outline(0.4 + 0.4 * flower.petal_width, "round")
    lip = petal_outline(0.75 + 0.45 * flower.petal_width, flower.petal_tip)
    _ring(brush, upper, at, factor * 0.9, np.array([np.pi - 0.45, np.pi + 0.45]), 0.86)
    _ring(brush, upper, at, factor * (0.5 + flower.disc), np.array([1.45, -1.45]))
    _ring(brush, lip, at, factor * 1.1, np.zeros(1), 1.04)
    for angle in np.linspace(-0.4, 0.4, min(flower.petals, 6)):
        guide = np.array([0.12, 0.7 + 0j]) * np.exp(1j * angle)
        stroke(brush, placed(brush, guide, at, factor), brush.palette.throat, abs(factor) / 26)
    dot(brush, at, abs(factor) * 0.13, brush.palette.disc)


def _paint_panicle(brush: Brush, flower: Flower, at: complex, factor: complex) -> None:
    stroke(brush, placed(brush, np.array([-1.2, 1 + 0j]), at, factor), brush.palette.stem, abs(factor) / 30)
    spikelet = petal_outline(0.28 + 0.25 * flower.petal_width, "pointed")
    # Grass flowers have no petals: dry, straw-coloured tones of the individual's own green and disc.
    husk = shaded(brush.palette.mark, 1.0)
    for step in range(flower.density):
        along = -0.7 + 1.7 * step / flower.density
        reach = 0.5 * flower.petal_width * (1.1 - step / flower.density) + 0.06
        turn = np.exp(1j * (1 if step % 2 else -1) * brush.rng.normal(0.75, 0.12))
        branch = placed(brush, np.array([along + 0j, along + reach * turn]), at, factor)
        stroke(brush, branch, brush.palette.stem, abs(factor) / 60)
        colour = shaded(husk, brush.rng.uniform(0.8, 1.0))
        for end in branch[:0:-1] if flower.whorls == 1 else (branch[1], branch.mean()):
            fill(brush, placed(brush, spikelet, end, 0.24 * factor * turn), colour, edged=True)


_Painter = Callable[[Brush, Flower, complex, complex], None]

_PAINTERS: dict[str, _Painter] = {
    "open": _paint_open,
    "daisy": _paint_daisy,
    "strap": _paint_strap,
    "umbel": _paint_umbel,
    "spike": _paint_spike,
    "globe": _paint_globe,
    "bell": _paint_bell,
    "lipped": _paint_lipped,
    "panicle": _paint_panicle,
}
