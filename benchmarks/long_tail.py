"""Synthetic features of a long-tailed flora, for benchmarks of classifiers.

Classes are not Gaussians with one covariance, for which linear discriminant analysis would be optimal: a species has
three modes (flower, leaf, fruit), each with an offset common to all species and one of its own; species of one genus
are near each other; the noise is correlated, with a falling spectrum, and has heavy tails; and features are neither
centred nor of equal variance.
"""

from dataclasses import dataclass

import numpy as np

from plantclef_assets.ingest.validation_split import Sides

WIDTH, MODES, GENUS_SIZE = 768, 3, 8
_FIRST_SPECIES = 1355868
_NOISE, _OWN_MODE, _SPECIES, _GENUS, _MODE = 1.0, 0.2, 0.15, 0.2, 0.5
"""Standard deviations for each feature, of the mean spectrum."""
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Problem:
    """Rows to learn from, and rows that are held out.

    Attributes:
        features: float32 (n, 768).
        species_id: int64 (n,).
        learn: number of rows to learn from, the first ones; half of the others stop a training, half judge it.
    """

    features: np.ndarray
    species_id: np.ndarray
    learn: int

    @property
    def sides(self) -> Sides:
        """The sides of the rows: learning, stopping (held out), and judging (validation)."""
        rows = np.arange(len(self.species_id))
        middle = self.learn + (len(rows) - self.learn) // 2
        return Sides(learn=rows < self.learn, holdout=(rows >= self.learn) & (rows < middle), validation=rows >= middle)


def generate_problem(learn: int, classes: int, held_out: int) -> Problem:
    """Return a problem; class k has a share of 1/k of the rows (Zipf), and at least one row to learn from."""
    random = np.random.default_rng(0)
    share = 1 / np.arange(1, classes + 1)
    share /= share.sum()
    counts = 1 + random.multinomial(learn - classes, share)
    labels = np.concatenate(
        [random.permutation(np.repeat(np.arange(classes), counts)), random.choice(classes, held_out, p=share)]
    )
    spectrum = (1 / np.sqrt(np.arange(1, WIDTH + 1))).astype(np.float32)
    spectrum *= np.sqrt(WIDTH / np.square(spectrum).sum())
    rotation = np.linalg.qr(random.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)

    def offsets(number: int, size: float) -> np.ndarray:
        return size * random.standard_normal((number, WIDTH), np.float32)

    centres = offsets(classes, _SPECIES) + offsets(-(-classes // GENUS_SIZE), _GENUS)[np.arange(classes) // GENUS_SIZE]
    modes, own = offsets(MODES, _MODE), offsets(classes * MODES, _OWN_MODE)
    scale = random.uniform(0.5, 2, WIDTH).astype(np.float32)
    mean = random.normal(0, 1, WIDTH).astype(np.float32)
    mode = random.integers(0, MODES, len(labels))
    features = np.empty((len(labels), WIDTH), np.float32)
    for start in range(0, len(labels), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        label, organ = labels[rows], mode[rows]
        tails = np.sqrt(5 / random.chisquare(5, (len(label), 1))).astype(np.float32)
        noise = _NOISE * tails * (random.standard_normal((len(label), WIDTH), np.float32) * spectrum) @ rotation
        features[rows] = (centres[label] + modes[organ] + own[label * MODES + organ] + noise) * scale + mean
    return Problem(features, _FIRST_SPECIES + labels.astype(np.int64), learn)
