from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.images.composition import (
    SIDES,
    Plant,
    View,
    blob_mask,
    box_of,
    compose,
    ground_of,
    lay_out,
    revisit,
    visible_shares,
    without_hidden_species,
)

PHOTOGRAPHS = [(1, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e"), (5, "f")]


def plant(species_id, x, y, side, outline=1):
    return Plant(species_id, f"{species_id}.jpg", x, y, side, 0.0, False, 1.0, outline)


def best_shares(plants, side=256):
    best = {}
    for one, share in zip(plants, visible_shares(plants, side), strict=True):
        best[one.species_id] = max(best.get(one.species_id, 0), share)
    return best


def test_what_lies_free_is_seen_whole_and_what_is_covered_is_not():
    shares = visible_shares([plant(1, 0.3, 0.3, 0.4), plant(2, 0.3, 0.3, 0.4), plant(3, 0.8, 0.8, 0.2)], 200)
    assert shares[1:] == pytest.approx([1, 1])
    mask = blob_mask(1, 80)
    assert shares[0] == pytest.approx(float((mask * (1 - mask)).sum() / mask.sum()), abs=1e-5)


def test_what_lies_outside_the_frame_is_not_seen():
    inside, halved, outside = visible_shares(
        [plant(1, 0.5, 0.5, 0.2), plant(2, 0.0, 0.2, 0.2), plant(3, -0.4, 0.5, 0.2)], 400
    )
    assert inside == pytest.approx(1)
    mask = blob_mask(1, 80)
    assert halved == pytest.approx(float(mask[:, 40:].sum() / mask.sum()), abs=1e-5)
    assert outside == 0
    assert box_of(plant(2, 0.0, 0.2, 0.2), 400) == (0, 40, 40, 80)


def test_a_species_that_is_hidden_is_taken_away_and_what_it_hid_is_seen_again():
    low, hidden, top = plant(1, 0.45, 0.5, 0.5), plant(2, 0.5, 0.5, 0.3), plant(3, 0.5, 0.5, 0.32)
    assert best_shares([low, hidden, top])[2] < 0.5
    kept = without_hidden_species([low, hidden, top], 256)
    assert [one for one, _ in kept] == [low, top]
    assert [share for _, share in kept] == pytest.approx(visible_shares([low, top], 256))


def test_a_hidden_plant_stays_where_another_of_its_species_is_seen():
    hidden, top, free = plant(2, 0.3, 0.3, 0.3), plant(3, 0.32, 0.3, 0.34), plant(2, 0.8, 0.8, 0.2)
    kept = without_hidden_species([hidden, top, free], 256)
    assert [one for one, _ in kept] == [hidden, top, free]


@pytest.mark.parametrize("seed", range(8))
def test_layouts_show_every_species_and_revisits_keep_it(seed):
    plants = lay_out(PHOTOGRAPHS, np.random.default_rng(seed))
    assert sorted((one.species_id, one.image_name) for one in plants) == PHOTOGRAPHS
    assert all(SIDES[0] <= one.side <= SIDES[1] for one in plants)
    assert min(best_shares(plants).values()) >= 0.5
    view = revisit(plants, np.random.default_rng([seed, 1]))
    assert view != View()
    assert len(best_shares([one for one, _ in without_hidden_species(view.of(plants), 256)])) == 5


def test_some_plants_overlap():
    shares = [
        share for seed in range(8) for share in visible_shares(lay_out(PHOTOGRAPHS, np.random.default_rng(seed)), 200)
    ]
    assert min(shares) < 0.95


def test_a_crowded_plot_still_has_a_truth():
    crowd = [(species, f"{species}.jpg") for species in range(30)]
    plants = lay_out(crowd, np.random.default_rng(4))
    kept = without_hidden_species(plants, 256)
    assert 2 <= len({one.species_id for one, _ in kept}) <= 30
    assert min(best_shares([one for one, _ in kept]).values()) >= 0.5


def test_pixels_are_those_of_the_plants_where_they_lie_and_of_the_ground_elsewhere():
    red, blue = Image.new("RGB", (90, 60), (220, 0, 0)), Image.new("RGB", (60, 90), (0, 0, 220))
    plants = [plant(1, 0.3, 0.5, 0.4), replace(plant(2, 0.75, 0.5, 0.4, outline=2), turn=40.0, mirrored=True)]
    ground = Image.new("RGB", (200, 200), (90, 90, 90))
    plot = compose(plants, {"1.jpg": red, "2.jpg": blue}, ground, 200, np.random.default_rng(1))
    pixels = np.asarray(plot, int)
    assert pixels.shape == (200, 200, 3)
    assert pixels[100, 60, 0] > 150 > 60 > pixels[100, 60, 2]
    assert pixels[100, 150, 2] > 150 > 60 > pixels[100, 150, 0]
    assert np.ptp(pixels[5, 5]) < 40
    again = compose(plants, {"1.jpg": red, "2.jpg": blue}, ground, 200, np.random.default_rng(1))
    assert again.tobytes() == plot.tobytes()


def test_a_turned_square_leaves_no_corner_in_the_plot():
    """What turns in from outside a photograph is black; the mask must not show it."""
    white = Image.new("RGB", (80, 80), (255, 255, 255))
    ground = Image.new("RGB", (160, 160), (255, 255, 255))
    turned = [replace(plant(1, 0.5, 0.5, 0.5, outline=outline), turn=45.0) for outline in range(6)]
    for one in turned:
        pixels = np.asarray(compose([one], {"1.jpg": white}, ground, 160, np.random.default_rng(0)))
        shadowed = 255 * 0.7 * 0.6  # the shadow below it, in the dimmest light
        assert pixels.min() > shadowed


def test_the_ground_goes_with_the_view():
    photographs = [Image.new("RGB", (40, 40), (60, 90, 50))]
    near = ground_of(photographs, View(1.2, 0.05, -0.03), 120, np.random.default_rng(3))
    plain = ground_of(photographs, View(), 120, np.random.default_rng(3))
    assert near.size == plain.size == (120, 120)
    # A spot of the first visit lies where a plant on it would lie in the second.
    moved = View(1.2, 0.05, -0.03).of([plant(1, 0.5, 0.5, 0.2)])[0]
    x, y, width, height = box_of(moved, 120)
    there = near.crop((x, y, x + width, y + height)).resize((24, 24), Image.Resampling.BOX)
    here = plain.crop((48, 48, 72, 72))
    assert np.corrcoef(np.asarray(there).ravel(), np.asarray(here).ravel())[0, 1] > 0.9


def test_a_plot_without_photographs_is_refused():
    with pytest.raises(ValueError, match="at least one photograph"):
        lay_out([], np.random.default_rng(1))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("side", [24, 97, 300])
def test_no_square_border_shows(seed, side):
    mask = blob_mask(seed, side)
    assert (mask.shape, mask.dtype) == ((side, side), np.float32)
    assert not mask[[0, -1]].any() and not mask[:, [0, -1]].any()
    assert mask.max() == 1
    assert 0.2 < mask.mean() < 0.75
    assert ((mask > 0.05) & (mask < 0.95)).mean() > 0.05, "its edge is soft"


def test_an_outline_is_the_same_at_every_size():
    small, large = blob_mask(7, 80), blob_mask(7, 320)
    shrunk = large.reshape(80, 4, 80, 4).mean(axis=(1, 3))
    assert np.abs(small - shrunk).mean() < 0.01
    assert np.abs(small - blob_mask(8, 80)).mean() > 0.05


def test_equal_arguments_give_equal_masks():
    first = blob_mask(3, 50).copy()
    blob_mask.cache_clear()
    assert np.array_equal(blob_mask(3, 50), first)


def test_a_mask_of_no_size_is_refused():
    with pytest.raises(ValueError, match="0 px wide"):
        blob_mask(1, 0)
