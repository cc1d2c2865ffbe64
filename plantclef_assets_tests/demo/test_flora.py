"""The flora is a pure function of its seed, and its species are many and various."""

import itertools

import numpy as np
import pytest

from plantclef_assets.demo.flora import FLOWER_KINDS, HABITS, LEAF_KINDS, genus_of, species_of
from plantclef_assets.demo.names import name_of
from plantclef_assets.demo.painting import grow_individual
from plantclef_assets.demo.photographs import ORGANS, View, photograph, photograph_species
from tools.pretrain_demo_backbone import TRAIT_CLASSES, trait_classes, trait_measures


def test_a_species_depends_on_its_seed_and_number_only() -> None:
    assert species_of(5, 7) == species_of(5, 7)
    assert species_of(5, 7) != species_of(6, 7)
    with pytest.raises(ValueError, match="0 or more"):
        species_of(5, -1)


def test_all_forms_occur_and_no_two_species_are_alike() -> None:
    flora = [species_of(77, number) for number in range(240)]
    assert {one.habit for one in flora} == set(HABITS)
    assert {one.leaf.kind for one in flora} == set(LEAF_KINDS)
    assert {one.flower.kind for one in flora} == set(FLOWER_KINDS)
    assert len({(one.habit, one.leaf, one.flower) for one in flora}) == len(flora)


def test_species_of_a_genus_share_habit_and_flower_kind() -> None:
    flora = [species_of(2024, number) for number in range(24)]
    for _, genus in itertools.groupby(flora, key=lambda one: one.genus):
        assert len({(one.habit, one.flower.kind) for one in genus}) == 1
    sizes = [len(list(members)) for _, members in itertools.groupby(genus_of(number)[0] for number in range(24))]
    assert max(sizes) >= 3 and min(sizes) == 1


def test_names_differ_and_species_of_a_genus_share_its_name() -> None:
    names = [name_of(2024, number) for number in range(200)]
    assert len({name.species for name in names}) == 200
    for number, name in enumerate(names):
        assert name.species.startswith(name.genus + " ")
        same = [other.genus == name.genus for other in names]
        assert sum(same) == sum(genus_of(other)[0] == genus_of(number)[0] for other in range(200))


@pytest.mark.parametrize("organ", ORGANS)
def test_every_organ_of_every_habit_can_be_photographed(organ: str) -> None:
    for number in (0, 3, 5, 9, 10, 12):
        rng = np.random.default_rng(number)
        individual = grow_individual(species_of(2024, number), rng)
        image = photograph(individual, View(organ, (80, 60), rng))
        assert image.size == (80, 60) and image.mode == "RGB"
        assert np.asarray(image).std() > 5


def test_photographs_of_one_species_differ_and_repeat() -> None:
    shots = [photograph_species(species_of(1, 2), 96, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert shots[0][1].tobytes() == shots[1][1].tobytes() != shots[2][1].tobytes()


def test_a_plant_on_paper_is_the_same_plant_without_its_ground() -> None:
    for number in range(4):
        field, paper = (
            photograph_species(species_of(1, number), 96, np.random.default_rng(number), on_paper=on_paper)
            for on_paper in (False, True)
        )
        assert (field[0], field[1].size) == (paper[0], paper[1].size)
        lightness = [np.percentile(np.asarray(image.convert("L")), 80) for _, image in (field, paper)]
        assert lightness[1] > lightness[0], "a sheet of paper is lighter than any ground"


def test_traits_are_whole_and_standardised() -> None:
    flora = [species_of(77, number) for number in range(120)]
    kinds, measures = trait_classes(flora), trait_measures(flora)
    assert (kinds.max(axis=0) < TRAIT_CLASSES).all() and kinds.min() >= 0
    np.testing.assert_allclose(measures.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(measures.std(axis=0), 1, atol=1e-3)
