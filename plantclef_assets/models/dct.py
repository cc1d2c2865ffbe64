"""The DCT features of the reference: the low-frequency corner of the transformed token matrix.

DS@GT PlantCLEF 2024 (arXiv 2407.06298) takes the type-II n-dimensional discrete cosine transform, unnormalised
as in `scipy.fft.dctn(type=2)`, of the whole tokens × channels matrix and keeps the 8 × 8 corner of lowest
frequencies. Only that corner is computed here: it is A · X · Bᵀ with two small cosine matrices, at negligible cost.
"""

import math
from functools import lru_cache

import torch

CORNER = 8
"""Side of the corner in the reference; its 64 coefficients are the features."""


@lru_cache(maxsize=64)
def dct_matrix(n: int, k: int, device: str = "cpu") -> torch.Tensor:
    """Return the first k rows of the unnormalised type-II DCT of length n: float32, shape (k, n).

    Row u is 2·cos(π·u·(2i + 1) / 2n) over i, the definition of `scipy.fft.dct` without `norm`. It is computed in
    float64 and rounded once. The result is shared between callers and must not be modified.

    Raises:
        ValueError: a transform of length n has fewer than k frequencies.
    """
    if not 1 <= k <= n:
        raise ValueError(f"a transform of length {n} has no {k} frequencies")
    u = torch.arange(k, dtype=torch.float64)[:, None]
    i = torch.arange(n, dtype=torch.float64)[None, :]
    # Created outside inference mode, so that the cached tensor can be used everywhere.
    with torch.inference_mode(False):
        return (2.0 * torch.cos(math.pi * u * (2.0 * i + 1.0) / (2.0 * n))).to(torch.float32).to(device)


def dct_corner(tokens: torch.Tensor, size: int = CORNER) -> torch.Tensor:
    """Return the low-frequency corner of the DCT of each token matrix.

    Args:
        tokens: shape (batch, tokens, channels), any float type. The layout of the reference is [CLS] followed by the
            patches row by row. Callers leave out register tokens, which the reference does not have, so that models
            with and without registers have comparable features.
        size: side of the corner.

    Returns:
        float32, shape (batch, size²), the coefficient of token frequency u and channel frequency v at u·size + v.
        For 224 px DINOv2 features they reach ±30,000, so they must be standardised before a linear layer.

    Raises:
        ValueError: there are fewer tokens or channels than `size`.
    """
    device = str(tokens.device)
    over_tokens = dct_matrix(tokens.shape[1], size, device)
    over_channels = dct_matrix(tokens.shape[2], size, device)
    corner = over_tokens @ tokens.to(torch.float32) @ over_channels.T
    return corner.flatten(1)
