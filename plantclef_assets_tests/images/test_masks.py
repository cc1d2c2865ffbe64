import numpy as np
import pytest

from plantclef_assets.images.masks import blob_mask


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
