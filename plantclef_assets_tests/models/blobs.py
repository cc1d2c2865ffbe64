"""Features of three species that a classifier can learn."""

import numpy as np

SPECIES = np.array([1355868, 1360145, 9000001])


def blobs(rows: int, seed: int = 0, spread: float = 1.0, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Make three overlapping classes whose features have very different offsets and scales, one of them constant."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, rows)
    centres = np.random.default_rng(99).normal(size=(3, width))
    features = centres[label] + spread * random.normal(size=(rows, width))
    features = features * np.logspace(-2, 4, width) + np.linspace(-1000, 1000, width)
    features[:, 3] = 7.5
    return features.astype(np.float32), SPECIES[label]
