"""Outlines of leaves and petals as points in the complex plane.

A leaf extends from 0 along the real axis to 1; its width is imaginary. Rotating, scaling and moving a shape is then one
multiplication and one addition. Arrays are one-dimensional complex128, in units of the leaf's length.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantclef_assets.demo.flora import Leaf

Points = NDArray[np.complexfloating[Any, Any]]

_GOLDEN = 2.399963
"""The golden angle in radians, between successive leaves and florets."""


class Patch(NamedTuple):
    """A part of a drawing: `role` selects its colour (`blade`, `light`, `mark`: areas; `vein`, `stalk`: lines)."""

    role: str
    points: Points


def golden_angles(count: int, start: float) -> NDArray[np.float64]:
    """Return `count` directions in radians at steps of the golden angle, beginning at `start`."""
    return start + _GOLDEN * np.arange(count, dtype=np.float64)


def directions(angles: NDArray[np.float64]) -> Points:
    """Return the points of the unit circle at the given angles in radians."""
    return np.exp(1j * angles).astype(np.complex128)


def petal_outline(width: float, tip: str) -> Points:
    """Return a petal from 0 to about 1 + 0j, `width` wide; `tip` is `round`, `notched` or `pointed`."""
    along = np.linspace(0.0, 1.0, 11)
    match tip:
        case "pointed":
            half = along**0.7 * (1 - along) ** 0.75 * 1.75
        case _:
            half = np.sqrt(np.clip(1 - (2 * (along**1.6) - 1) ** 2, 0, None))
    reach = along.copy()
    upper = reach + 0.5j * width * half
    outline = np.concatenate([upper, np.conj(upper[-2::-1])])
    if tip == "notched":
        outline[len(upper) - 1] = 0.74
    return outline


def leaf_patches(leaf: Leaf, rng: np.random.Generator) -> list[Patch]:
    """Return one leaf as areas and lines in painting order; `rng` varies it within the species."""
    match leaf.kind:
        case "cordate" | "palmate":
            return _polar_leaf(leaf, rng)
        case "pinnate":
            return _pinnate_leaf(leaf, rng)
        case "trifoliate" | "digitate":
            return _digitate_leaf(leaf, rng)
        case _:
            return _simple_leaf(leaf, rng)


def _profile(leaf: Leaf, along: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the half-width of a simple blade at the positions `along` (0 base … 1 tip)."""
    rising, falling = {
        "linear": (0.25, 0.8),
        "lanceolate": (0.9, 1.2),
        "obovate": (2.2, 0.7),
        "pinnatifid": (1.1, 0.7),
    }.get(leaf.kind, (0.7, 0.9))
    if leaf.kind in ("lanceolate", "ovate"):
        falling = rising * (1 - leaf.widest) / leaf.widest
    half = along**rising * (1 - along) ** falling
    half = half / half.max() * leaf.width / 2 * rng.uniform(0.9, 1.1)
    if leaf.kind == "pinnatifid":
        lobes = leaf.lobes + 2
        half = half * (1 - leaf.lobe_depth * (0.5 + 0.5 * np.cos(2 * np.pi * lobes * along**0.9)) ** 0.7)
    elif leaf.teeth and leaf.kind != "linear":
        half = half * (1 - 0.24 * np.mod(along * leaf.teeth, 1.0))
    return half


def _simple_leaf(leaf: Leaf, rng: np.random.Generator) -> list[Patch]:
    count = 61 if leaf.kind == "pinnatifid" or leaf.teeth else 21
    along = np.linspace(0.0, 1.0, 13 if leaf.kind == "linear" else count)
    half = _profile(leaf, along, rng)
    upper = along + 1j * half
    bend = rng.normal(0, 0.5 if leaf.kind == "linear" else 0.1)
    patches = [
        Patch("blade", np.concatenate([upper, np.conj(upper[::-1])])),
        Patch("light", np.concatenate([upper, along[::-1] + 0j])),
        *_marks(leaf, half.max()),
        Patch("vein", np.linspace(0, 0.97, 8) + 0j),
    ]
    if leaf.kind == "linear":
        patches += [Patch("vein", along + 1j * share * half) for share in np.linspace(-0.6, 0.6, min(leaf.veins, 4))]
    else:
        patches += _side_veins(leaf, along, half)
    return [Patch(role, points + 1j * bend * points.real**2) for role, points in patches]


def _side_veins(leaf: Leaf, along: NDArray[np.float64], half: NDArray[np.float64]) -> list[Patch]:
    starts = np.linspace(0.1, 0.78, leaf.veins)
    ends = np.minimum(starts + 0.14, 0.95)
    reach = 0.85 * np.interp(ends, along, half)
    veins = []
    for start, end, side in zip(starts, ends, reach, strict=True):
        veins.append(Patch("vein", np.array([end + 1j * side, start, end - 1j * side])))
    return veins


def _marks(leaf: Leaf, half: float) -> list[Patch]:
    """Return the pale pattern of a blade with maximum half-width `half`."""
    match leaf.mark:
        case "chevron":
            arm = np.array([0.52, 0.34 + 0.62j * half, 0.42 + 0.66j * half, 0.66])
            return [Patch("mark", np.concatenate([arm, np.conj(arm[::-1])]))]
        case "spots":
            ring = 0.16 * half * np.exp(2j * np.pi * np.arange(7) / 7)
            centres = [0.25 + 0.3j * half, 0.4 - 0.4j * half, 0.55 + 0.35j * half, 0.68 - 0.2j * half]
            return [Patch("mark", centre + ring) for centre in centres]
        case "pale midrib":
            edge = np.array([0.02 + 0.1j * half, 0.4 + 0.24j * half, 0.92])
            return [Patch("mark", np.concatenate([edge, np.conj(edge[::-1])]))]
        case _:
            return []


def _polar_leaf(leaf: Leaf, rng: np.random.Generator) -> list[Patch]:
    """Return a heart-shaped or hand-lobed blade around a centre, with veins that fan out from its base."""
    turn = np.linspace(-np.pi, np.pi, 90)
    if leaf.kind == "cordate":
        radius = 0.5 * (1 - 0.5 * np.exp(-(((np.abs(turn) - np.pi) / 0.45) ** 2)))
        radius = radius * (1 + 0.35 * leaf.widest * np.exp(-((turn / 0.35) ** 2)))
        rays = leaf.veins
        if leaf.teeth:
            radius = radius * (1 - 0.1 * np.abs(np.sin(turn * leaf.teeth)))
    else:
        rays = leaf.lobes
        wave = np.abs(np.cos(turn * rays / 2 * 0.86))
        radius = 0.56 * (1 - leaf.lobe_depth * (1 - wave**0.8))
        if leaf.teeth > 8:
            radius = radius * (1 - 0.12 * np.mod(np.abs(turn) * 4, 1.0))
    radius = radius * (1 + 0.04 * rng.standard_normal())
    outline = 0.45 + radius * (np.cos(turn) + 1j * leaf.width * np.sin(turn))
    upper = turn >= 0
    base = 0.12 + 0j
    reach = np.linspace(-2.2, 2.2, max(rays, 3))
    tips = 0.45 + 0.85 * np.interp(reach, turn, radius) * (np.cos(reach) + 1j * leaf.width * np.sin(reach))
    marks = [Patch("mark", 0.45 + 0.55 * (mark.points - 0.45)) for mark in _marks(leaf, 0.5 * leaf.width)]
    return [
        Patch("blade", outline),
        Patch("light", np.concatenate([outline[upper], [base]])),
        *marks,
        *(Patch("vein", np.array([base, tip])) for tip in tips),
    ]


def _leaflet(leaf: Leaf, rng: np.random.Generator, width: float) -> list[Patch]:
    small = Leaf(
        "obovate" if leaf.widest > 0.5 else "ovate",
        width,
        leaf.widest,
        3,
        0.0,
        leaf.teeth,
        min(leaf.veins, 5),
        leaf.vein_contrast,
        leaf.mark,
        0.0,
    )
    return _simple_leaf(small, rng)


def _placed(patches: list[Patch], at: complex, factor: complex) -> list[Patch]:
    return [Patch(role, at + factor * points) for role, points in patches]


def _pinnate_leaf(leaf: Leaf, rng: np.random.Generator) -> list[Patch]:
    """Return leaflets in pairs along a stalk, with one at the end."""
    pairs = leaf.lobes
    size = leaf.width * 0.62
    leaflet = _leaflet(leaf, rng, 0.25 + 0.5 * leaf.lobe_depth)
    patches = [Patch("stalk", np.array([0, 0.8 + 0j]))]
    for place in np.linspace(0.22, 0.78, pairs):
        grown = size * (0.75 + 0.5 * np.sin(np.pi * place))
        for side in (1.0, -1.0):
            turn = np.exp(1j * side * rng.normal(1.05, 0.08))
            patches += _placed(leaflet, complex(place), grown * turn)
    return patches + _placed(leaflet, 0.78 + 0j, size * 0.9 + 0j)


def _digitate_leaf(leaf: Leaf, rng: np.random.Generator) -> list[Patch]:
    """Return three or more leaflets that spread from the end of the stalk."""
    count = 3 if leaf.kind == "trifoliate" else 3 + leaf.lobes // 2 * 2
    leaflet = _leaflet(leaf, rng, (1.15 if count == 3 else 0.62) * leaf.width * (0.6 + 0.4 * leaf.lobe_depth))
    spread = 1.95 if count == 3 else 2.3
    patches = [Patch("stalk", np.array([0, 0.42 + 0j]))]
    for turn in sorted(np.linspace(-spread, spread, count), key=abs, reverse=True):
        grown = 0.55 * (1 - 0.12 * abs(turn))
        patches += _placed(leaflet, 0.42 + 0j, grown * np.exp(1j * (turn + rng.normal(0, 0.05))))
    return patches
