import numpy as np
import pytest
import scipy.fft
import torch

from plantclef_assets.models.dct import dct_corner, dct_matrix


@pytest.mark.parametrize(("tokens", "channels"), [(257, 384), (82, 192), (8, 9)])
def test_the_corner_is_scipys(tokens, channels):
    matrices = np.random.default_rng(0).normal(1.0, 2.0, (3, tokens, channels)).astype(np.float32)
    expected = scipy.fft.dctn(matrices.astype(np.float64), type=2, axes=(1, 2))[:, :8, :8].reshape(3, 64)
    corner = dct_corner(torch.from_numpy(matrices))
    assert corner.dtype == torch.float32
    np.testing.assert_allclose(corner.numpy(), expected, atol=2e-6 * np.abs(expected).max())


def test_half_precision_tokens_give_float32():
    tokens = torch.randn(2, 20, 16, generator=torch.Generator().manual_seed(0))
    corner = dct_corner(tokens.to(torch.bfloat16), size=4)
    assert (corner.dtype, tuple(corner.shape)) == (torch.float32, (2, 16))
    assert torch.equal(corner, dct_corner(tokens.to(torch.bfloat16).float(), size=4))


def test_a_matrix_is_made_once_and_serves_outside_inference_mode():
    with torch.inference_mode():
        made = dct_matrix(33, 8)
    assert dct_matrix(33, 8) is made
    assert not made.is_inference()


def test_fewer_tokens_than_frequencies_are_refused():
    with pytest.raises(ValueError, match="length 5 has no 8"):
        dct_corner(torch.zeros(1, 5, 16))
