"""The traits of species as numbers: what the pretraining asks of the backbone besides the species itself."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plantclef_assets.demo.flora import (
    FLOWER_KINDS,
    HABITS,
    LEAF_KINDS,
    LEAF_MARKS,
    PETAL_TIPS,
    PHYLLOTAXES,
    Species,
)

TRAIT_CLASSES = (len(HABITS), len(LEAF_KINDS), len(FLOWER_KINDS), len(PHYLLOTAXES), len(LEAF_MARKS), len(PETAL_TIPS))
"""How many values each of the traits of `trait_classes` can take."""


def trait_classes(species: Sequence[Species]) -> NDArray[np.int64]:
    """Return the traits that are kinds, as indices: shape (species, 6), in the order of `TRAIT_CLASSES`."""
    return np.array(
        [
            (
                HABITS.index(one.habit),
                LEAF_KINDS.index(one.leaf.kind),
                FLOWER_KINDS.index(one.flower.kind),
                PHYLLOTAXES.index(one.phyllotaxis),
                LEAF_MARKS.index(one.leaf.mark),
                PETAL_TIPS.index(one.flower.petal_tip),
            )
            for one in species
        ],
        dtype=np.int64,
    )


def trait_measures(species: Sequence[Species]) -> NDArray[np.float32]:
    """Return the traits that are counts or proportions, each with mean 0 and sd 1 over the species given.

    The shape is (species, 16). Sizes and counts go in as logarithms, since five petals differ more from four than
    18 rays from 17.
    """
    measures = np.array(
        [
            (
                np.log(one.leaf.width),
                one.leaf.widest,
                np.log(one.leaf.lobes),
                one.leaf.lobe_depth,
                np.log1p(one.leaf.teeth),
                np.log(one.leaf.veins),
                one.leaf.vein_contrast,
                one.leaf.stalk,
                np.log(one.flower.petals),
                np.log(one.flower.petal_width),
                one.flower.disc,
                one.flower.whorls,
                np.log(one.flower.density),
                np.log(one.leaves),
                one.flower_size,
                np.log(one.floweriness),
            )
            for one in species
        ]
    )
    return ((measures - measures.mean(axis=0)) / (measures.std(axis=0) + 1e-6)).astype(np.float32)
