"""Individuals of a species, and the painting of their leaves, of a plant from above and of a shoot from the side.

Lengths are pixels of an enlarged sheet, which the caller reduces afterwards (`layers`).
"""

from dataclasses import dataclass

import numpy as np

from plantclef_assets.demo.flora import Species
from plantclef_assets.demo.flowers import paint_flower
from plantclef_assets.demo.outlines import Patch, directions, golden_angles, leaf_patches
from plantclef_assets.demo.palette import Palette, random_palette, shaded
from plantclef_assets.demo.strokes import Brush, fill, placed, stroke


@dataclass(frozen=True)
class Individual:
    """One plant of a species: its leaves, colours, vigour (about 1) and number of flowers."""

    species: Species
    palette: Palette
    leaves: tuple[list[Patch], ...]
    vigour: float
    flowers: int


def grow_individual(species: Species, rng: np.random.Generator) -> Individual:
    """Draw one individual of the species; two thirds of them flower."""
    flowering = rng.random() < 0.67
    return Individual(
        species=species,
        palette=random_palette(rng),
        leaves=tuple(leaf_patches(species.leaf, rng) for _ in range(2)),
        vigour=float(rng.uniform(0.8, 1.2)),
        flowers=max(1, round(species.floweriness * rng.uniform(0.6, 1.4))) if flowering else 0,
    )


def paint_leaf(brush: Brush, individual: Individual, at: complex, factor: complex) -> None:
    """Paint a leaf whose stalk starts at `at` px; `factor` is its length in px and its direction."""
    stalk = individual.species.leaf.stalk * 0.5
    palette = individual.palette
    length = abs(factor)
    # The half of a blade that faces the light is lighter.
    lit = 1 + 0.11 * np.cos(np.angle(1j * factor) - brush.light)
    shade = brush.rng.uniform(0.82, 1.08)
    root = at + stalk * (factor.real + 1j * brush.tilt * factor.imag)
    if stalk > 0.05:
        stroke(brush, np.array([at, root]), shaded(palette.stem, shade), length / 26)
    contrast = individual.species.leaf.vein_contrast
    vein = tuple(
        int(green + contrast * (line - green)) for green, line in zip(palette.blade, palette.vein, strict=True)
    )
    colours = {
        "blade": shaded(palette.blade, shade / lit),
        "light": shaded(palette.blade, shade * lit),
        "mark": shaded(palette.mark, shade),
        "vein": shaded((vein[0], vein[1], vein[2]), shade),
        "stalk": shaded(palette.stem, shade),
    }
    for role, points in individual.leaves[int(brush.rng.integers(2))]:
        shape = placed(brush, points, root, factor)
        if role in ("vein", "stalk"):
            stroke(brush, shape, colours[role], length / (75 if role == "vein" else 34))
        else:
            fill(brush, shape, colours[role], edged=role == "blade")


def paint_plant(brush: Brush, individual: Individual, at: complex, radius: float) -> None:
    """Paint a whole plant from above, centred at `at` px with a radius of about `radius` px."""
    species = individual.species
    radius = radius * individual.vigour
    match species.habit:
        case "rosette":
            heads = _paint_rosette(brush, individual, at, radius)
        case "upright":
            heads = _paint_tiers(brush, individual, at, radius)
        case "tuft":
            heads = _paint_tuft(brush, individual, at, radius)
        case "creeping":
            heads = _paint_runners(brush, individual, at, radius)
        case _:
            heads = _paint_cushion(brush, individual, at, radius)
    for head, stem in heads[: individual.flowers]:
        size = species.flower_size * radius * brush.rng.uniform(0.85, 1.15)
        direction = head - stem
        turn = direction / abs(direction) if abs(direction) > 1 else np.exp(1j * brush.rng.uniform(0, 6.3))
        stroke(brush, np.array([stem, head]), individual.palette.stem, size / 12)
        paint_flower(brush, species.flower, head, size * turn)


Heads = list[tuple[complex, complex]]
"""Possible positions of flowers and of the feet of their stems, both in px."""


def _scattered(brush: Brush, at: complex, radius: float, count: int = 8) -> Heads:
    reach = radius * np.sqrt(brush.rng.uniform(0.01, 1.0, count))
    ends = placed(brush, reach * directions(golden_angles(count, brush.rng.uniform(0, 6.3))), at, 1)
    return [(complex(end), at) for end in ends]


def _paint_rosette(brush: Brush, individual: Individual, at: complex, radius: float) -> Heads:
    count = individual.species.leaves
    lengths = radius * np.linspace(1.0, 0.5, count) * brush.rng.uniform(0.9, 1.1, count)
    for length, angle in zip(lengths, golden_angles(count, brush.rng.uniform(0, 6.3)), strict=True):
        paint_leaf(brush, individual, at, length * np.exp(1j * angle))
    return _scattered(brush, at, 0.45 * radius)


def _paint_tiers(brush: Brush, individual: Individual, at: complex, radius: float) -> Heads:
    species = individual.species
    per_tier = {"alternate": 1, "opposite": 2, "whorled": 4}[species.phyllotaxis]
    tiers = max(3, species.leaves // per_tier)
    turn = {1: 2.4, 2: np.pi / 2, 4: np.pi / 4}[per_tier]
    start = brush.rng.uniform(0, 6.3)
    lean = radius * 0.12 * np.exp(1j * brush.rng.uniform(0, 6.3))
    for tier in range(tiers):
        share = tier / tiers
        foot = at + lean * share
        for angle in start + tier * turn + 2 * np.pi * np.arange(per_tier) / per_tier:
            length = radius * (1.0 - 0.68 * share) * brush.rng.uniform(0.92, 1.08)
            paint_leaf(brush, individual, foot, length * np.exp(1j * (angle + brush.rng.normal(0, 0.08))))
    top = at + lean
    return [(top, top), *_scattered(brush, top, 0.5 * radius)]


def _paint_tuft(brush: Brush, individual: Individual, at: complex, radius: float) -> Heads:
    blades = individual.species.leaves * 3
    for angle in golden_angles(blades, brush.rng.uniform(0, 6.3)):
        foot = at + 0.06 * radius * brush.rng.standard_normal() * np.exp(1j * angle)
        length = radius * brush.rng.uniform(0.5, 1.1)
        paint_leaf(brush, individual, foot, length * np.exp(1j * (angle + brush.rng.normal(0, 0.3))))
    return _scattered(brush, at, 0.75 * radius)


def _paint_runners(brush: Brush, individual: Individual, at: complex, radius: float) -> Heads:
    species = individual.species
    runners = 3 + species.leaves // 5
    sides = (1, -1)
    heads: Heads = []
    for angle in golden_angles(runners, brush.rng.uniform(0, 6.3)):
        steps = np.linspace(0.08, 1.0, 6)
        curl = brush.rng.normal(0, 0.5)
        nodes = placed(brush, steps * np.exp(1j * (angle + curl * steps)), at, radius)
        stroke(brush, np.concatenate([[at], nodes]), individual.palette.stem, radius / 40)
        for step, node in enumerate(nodes):
            length = 0.46 * radius * (1.1 - 0.5 * step / 6) * brush.rng.uniform(0.85, 1.15)
            for side in sides if species.phyllotaxis != "alternate" else (sides[step % 2],):
                turn = angle + curl * steps[step] + side * brush.rng.normal(1.1, 0.2)
                paint_leaf(brush, individual, complex(node), length * np.exp(1j * turn))
        heads.append((complex(nodes[3]), complex(nodes[2])))
        heads.append((complex(nodes[5]), complex(nodes[4])))
    order = brush.rng.permutation(len(heads))
    return [heads[index] for index in order]


def _paint_cushion(brush: Brush, individual: Individual, at: complex, radius: float) -> Heads:
    shoots = 9 + individual.species.leaves // 2
    places = np.sqrt((shoots - np.arange(shoots)) / shoots) * 0.8 * np.exp(1j * golden_angles(shoots, 0.0))
    places = places * np.exp(1j * brush.rng.uniform(0, 6.3))
    for foot in placed(brush, places, at, radius):
        for angle in golden_angles(5, brush.rng.uniform(0, 6.3)):
            paint_leaf(brush, individual, complex(foot), 0.36 * radius * np.exp(1j * angle))
    return _scattered(brush, at, 0.7 * radius)


def paint_shoot(brush: Brush, individual: Individual, at: complex, length: float) -> None:
    """Paint a leafy shoot from the side: it rises `length` px from `at` px and carries the individual's flower."""
    species = individual.species
    share = np.linspace(0.0, 1.0, 9)
    lean = brush.rng.normal(0, 0.16)
    stem = at + length * (lean * share**2 - 1j * share)
    stroke(brush, stem, individual.palette.stem, length / 55)
    if species.habit in ("rosette", "tuft"):
        nodes = np.zeros(max(5, species.leaves // 2))
        sizes = np.full(len(nodes), 0.62)
    else:
        per_node = 1 if species.phyllotaxis == "alternate" else 2
        nodes = np.repeat(np.linspace(0.1, 0.86, max(4, species.leaves // (1 + per_node))), per_node)
        sizes = 0.46 * (1.15 - 0.6 * nodes)
    for index, (node, size) in enumerate(zip(nodes, sizes, strict=True)):
        foot = complex(np.interp(node, share, stem.real), np.interp(node, share, stem.imag))
        side = 1 if index % 2 else -1
        angle = -np.pi / 2 + side * brush.rng.uniform(0.2, 1.25)
        paint_leaf(brush, individual, foot, size * length * np.exp(1j * angle))
    if individual.flowers:
        paint_flower(brush, species.flower, complex(stem[-1]), species.flower_size * 0.75 * length * -1j)
