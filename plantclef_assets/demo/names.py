"""Invented binomials and families of a procedural flora, in plausible Latin."""

from typing import NamedTuple

import numpy as np

from plantclef_assets.demo.flora import genus_of

_STEMS = (
    "Alver", "Brund", "Calth", "Dryan", "Evol", "Fumar", "Gaud", "Helv", "Ister", "Lepan", "Morv", "Nerin",
    "Orth", "Pelor", "Querin", "Rham", "Silv", "Thym", "Ulvar", "Vesk", "Wald", "Xant", "Yvon", "Zygar",
)  # fmt: skip
_GENUS_ENDINGS = ("anthe", "ella", "opsis", "aria", "ium", "idora")
_EPITHETS = (
    "alpestris", "borealis", "collina", "discolor", "elegans", "fallax", "gracilis", "hirsuta", "incana", "lucida",
    "montana", "nitida", "obtusa", "palustris", "repens", "saxatilis", "tenuis", "umbrosa", "vernalis", "rupicola",
)  # fmt: skip
_AUTHORS = ("Hort.", "Vell.", "Dum.", "Bres.", "Lindq.")


class Name(NamedTuple):
    """The name of a species: `species` is the binomial with its author, as in PlantCLEF's metadata."""

    species: str
    genus: str
    family: str


def name_of(flora_seed: int, number: int) -> Name:
    """Return the name of species `number` of a flora; the first 2,880 names are distinct."""
    genus_number, place = genus_of(number)
    shared = np.random.default_rng([flora_seed, 4])
    stems, epithets = shared.permutation(len(_STEMS)), shared.permutation(len(_EPITHETS))
    turn, stem = divmod(genus_number, len(_STEMS))
    genus = _STEMS[stems[stem]] + _GENUS_ENDINGS[(stem + turn) % len(_GENUS_ENDINGS)]
    epithet = _EPITHETS[epithets[(3 * genus_number + place) % len(_EPITHETS)]]
    # Three consecutive genera form a family, named after the first of them.
    head = genus_number // 3 * 3 % len(_STEMS)
    family = _STEMS[stems[head]] + "aceae"
    return Name(f"{genus} {epithet} {_AUTHORS[genus_number % len(_AUTHORS)]}", genus, family)
