"""The species of a procedural flora and the traits that distinguish them. Nothing is drawn here.

A seed identifies a flora, a number a species in it, and every trait is a pure function of the two. Species differ in
form only: all of them use the same greens and petal colours (`palette`). The species of a genus share habit and kind of
flower; they differ in the kind of leaf, in counts and proportions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")

HABITS = ("rosette", "upright", "tuft", "creeping", "cushion")
LEAF_KINDS = (
    "linear", "lanceolate", "ovate", "obovate", "cordate",
    "palmate", "pinnatifid", "pinnate", "trifoliate", "digitate",
)  # fmt: skip
FLOWER_KINDS = ("open", "daisy", "strap", "umbel", "spike", "globe", "bell", "lipped", "panicle")
PETAL_TIPS = ("round", "notched", "pointed")
LEAF_MARKS = ("plain", "chevron", "spots", "pale midrib")
PHYLLOTAXES = ("alternate", "opposite", "whorled")

_GENUS_SIZES = (3, 2, 4, 1, 2)
"""Species per genus, repeated: as in a real flora, genera differ in size."""

_PLANS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "rosette": (
        ("obovate", "pinnatifid", "lanceolate", "cordate", "palmate"),
        ("strap", "daisy", "spike", "open"),
    ),
    "upright": (
        ("ovate", "palmate", "lanceolate", "pinnate", "cordate"),
        ("bell", "umbel", "lipped", "daisy", "open"),
    ),
    "tuft": (("linear",), ("panicle", "globe", "open", "spike")),
    "creeping": (("trifoliate", "digitate", "ovate", "pinnate", "cordate"), ("globe", "lipped", "open", "bell")),
    "cushion": (("lanceolate", "pinnatifid", "obovate", "palmate", "linear"), ("open", "bell", "umbel", "daisy")),
}
"""Habit → its kinds of leaf and of flower."""

_WIDTHS = {
    "linear": 0.055, "lanceolate": 0.26, "ovate": 0.52, "obovate": 0.44, "cordate": 0.95,
    "palmate": 1.0, "pinnatifid": 0.42, "pinnate": 0.46, "trifoliate": 0.85, "digitate": 0.95,
}  # fmt: skip
"""Typical width of a leaf of each kind, as a share of its length."""


@dataclass(frozen=True)
class Leaf:
    """Form of a leaf; lengths are shares of the leaf's own length."""

    kind: str
    width: float
    widest: float
    lobes: int
    lobe_depth: float
    teeth: int
    veins: int
    vein_contrast: float
    mark: str
    stalk: float


@dataclass(frozen=True)
class Flower:
    """Form of a flower or flower head; lengths are shares of its radius."""

    kind: str
    petals: int
    petal_width: float
    petal_tip: str
    disc: float
    whorls: int
    density: int


@dataclass(frozen=True)
class Species:
    """One species: its number in the flora and its traits.

    `leaves` is the number of leaves of an individual, `flower_size` the radius of a flower as a share of the plant's,
    `floweriness` the number of flowers of a flowering individual.
    """

    number: int
    genus: int
    habit: str
    phyllotaxis: str
    leaves: int
    leaf: Leaf
    flower: Flower
    flower_size: float
    floweriness: int


def genus_of(number: int) -> tuple[int, int]:
    """Return the genus of a species and the index of the species within the genus, both from 0."""
    rounds, rest = divmod(number, sum(_GENUS_SIZES))
    genus = rounds * len(_GENUS_SIZES)
    for size in _GENUS_SIZES:
        if rest < size:
            break
        rest -= size
        genus += 1
    return genus, rest


def species_of(flora_seed: int, number: int) -> Species:
    """Return species `number` (from 0) of the flora with seed `flora_seed`; equal arguments give an equal species.

    Raises:
        ValueError: `number` is negative.
    """
    if number < 0:
        raise ValueError(f"a species number is 0 or more, not {number}")
    genus, place = genus_of(number)
    shared = np.random.default_rng([flora_seed, 0])
    of_genus = np.random.default_rng([flora_seed, 1, genus])
    own = np.random.default_rng([flora_seed, 2, number])

    # Consecutive genera cycle through the habits, so that a small flora has all of them.
    habit = HABITS[(genus + int(shared.integers(len(HABITS)))) % len(HABITS)]
    leaf_kinds, flower_kinds = _PLANS[habit]
    flower_kind = flower_kinds[(genus // len(HABITS) + int(shared.integers(60))) % len(flower_kinds)]

    def level(options: Sequence[_T]) -> _T:
        """Choose a different option for each species of a genus, in a random order per genus."""
        return options[int(of_genus.permutation(len(options))[place % len(options)])]

    leaf_kind = level(leaf_kinds)
    leaf = Leaf(
        kind=leaf_kind,
        width=_WIDTHS[leaf_kind] * level((0.68, 0.92, 1.2, 1.5)) * float(own.uniform(0.93, 1.07)),
        widest=level((0.3, 0.42, 0.55, 0.66)),
        lobes=level((3, 4, 5, 7)),
        lobe_depth=level((0.35, 0.5, 0.68, 0.82)),
        teeth=level((0, 5, 9, 16)),
        veins=level((3, 5, 8, 11)),
        vein_contrast=level((0.4, 0.75, 1.1, 1.4)),
        mark=level(LEAF_MARKS),
        stalk=level((0.05, 0.2, 0.4, 0.6)),
    )
    flower = Flower(
        kind=flower_kind,
        petals=level((3, 4, 5, 6, 8)),
        petal_width=level((0.45, 0.7, 0.95, 1.2)),
        petal_tip=level(PETAL_TIPS),
        disc=level((0.14, 0.22, 0.32, 0.42)),
        whorls=level((1, 2, 3)),
        density=level((9, 13, 18, 26)),
    )
    return Species(
        number=number,
        genus=genus,
        habit=habit,
        phyllotaxis=level(PHYLLOTAXES),
        leaves=level((5, 8, 12, 18)),
        leaf=leaf,
        flower=flower,
        flower_size=level((0.17, 0.26, 0.36, 0.46)),
        floweriness=level((1, 2, 4, 7)),
    )
