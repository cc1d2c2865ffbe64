"""Which rows a model learns from, which decide about it, and which validate it.

A split that ignores obs_id puts photographs of one plant on one day on both sides and flatters the classifier; this
one never does so on its own account.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TRAIN, VALIDATION = "train", "val"
"""The learn_tags of PlantCLEF that say on which side a row is; `test` rows are on neither."""


def split_rows(
    learn_tag: Sequence[str | None],
    obs_id: Sequence[str | int | None],
    *,
    validation_share: float = 0.2,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into training and validation.

    Where rows are tagged `train` and others `val`, the tags decide and rows with neither take no part. Without
    both, all rows except those of another tag (`test`) are split by a hash of seed and obs_id, so that all rows of
    an obs_id are on one side and stay there when rows are added. A row without obs_id is an observation of its own,
    known by its position.

    Args:
        learn_tag: n tags; None or empty where unknown.
        obs_id: n observations; None or empty where unknown.
        validation_share: expected share of the observations that validate.
        seed: gives another split by hash; has no effect on tagged rows.

    Returns:
        two boolean masks of shape (n,), train and validation, that share no row.

    Raises:
        ValueError: the lengths differ, or `validation_share` is not between 0 and 1.
    """
    if len(learn_tag) != len(obs_id):
        raise ValueError(f"there are {len(learn_tag)} learn_tags but {len(obs_id)} obs_ids")
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share is {validation_share}; it must lie between 0 and 1")
    tags = np.array([tag or "" for tag in learn_tag], dtype=object)
    train, validation = tags == TRAIN, tags == VALIDATION
    if train.any() and validation.any():
        return train, validation
    taking_part = train | validation | (tags == "")
    share_of = {}
    hashed = np.empty(len(tags))
    for row, observation in enumerate(obs_id):
        key = f"row {row}" if observation is None or observation == "" else f"obs {observation}"
        if key not in share_of:
            share_of[key] = _position(key, seed)
        hashed[row] = share_of[key]
    held_out = hashed < validation_share
    return taking_part & ~held_out, taking_part & held_out


@dataclass(frozen=True)
class Sides:
    """The three sides of a training, boolean (n,) each; no row is on two of them.

    Attributes:
        learn: rows that a model learns from.
        holdout: training rows set aside, which decide when to stop and how sure the model is.
        validation: rows that say how good it is, and nothing else.
    """

    learn: np.ndarray
    holdout: np.ndarray
    validation: np.ndarray

    @property
    def train(self) -> np.ndarray:
        """The training rows, with those set aside."""
        return self.learn | self.holdout

    def shared_observations(self, obs_id: Sequence[str | int | None]) -> list[str]:
        """Give the observations that are on more than one side, in order; rows without one are left out."""
        observations = np.array(obs_id, dtype=object)
        sides = [set(observations[rows]) - {None, ""} for rows in (self.learn, self.holdout, self.validation)]
        shared = (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])
        return sorted(map(str, shared))


def split_sides(
    learn_tag: Sequence[str | None],
    obs_id: Sequence[str | int | None],
    species_id: np.ndarray,
    *,
    validation_share: float,
    holdout_share: float | None,
    seed: int,
) -> Sides:
    """Split rows into three sides: `split_rows`, and then `set_aside`, unless `holdout_share` is None."""
    train, validation = split_rows(learn_tag, obs_id, validation_share=validation_share, seed=seed)
    learn, holdout = train, np.zeros_like(train)
    if holdout_share is not None and train.any():
        learn, holdout = set_aside(train, species_id, obs_id, share=holdout_share, seed=seed)
    return Sides(learn, holdout, validation)


def set_aside(
    train: np.ndarray, species_id: np.ndarray, obs_id: Sequence[str | int | None], *, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training rows into those to learn from and those to decide by, no obs_id on both sides.

    Fine-tuning and the classifiers both split by this rule, so that the features of a backbone that was fine-tuned here
    are not judged by photographs that it learned from. A species whose photographs would all be set aside is learned
    from. A row without obs_id is an observation of its own, known by its position among the training rows.

    Args:
        train: boolean (n,), rows of the training side.
        species_id: int64 (n,).
        obs_id: n observations; None or empty where unknown.
        share: expected share of the observations that are set aside.
        seed: gives another split.

    Returns:
        two boolean masks of shape (n,), learn and holdout.
    """
    rows = np.flatnonzero(train)
    observations = [obs_id[row] for row in rows.tolist()]
    # Another seed than that of `split_rows` itself, which may have cut off one end of the same hash.
    learned, held = split_rows([None] * len(rows), observations, validation_share=share, seed=seed + 1)
    lonely = held & ~np.isin(species_id[rows], species_id[rows[learned]])
    if lonely.any():
        together = {observations[place] for place in np.flatnonzero(lonely).tolist()} - {None, ""}
        lonely |= held & np.array([one in together for one in observations], dtype=bool)
    holdout = np.zeros(len(train), dtype=bool)
    holdout[rows[held & ~lonely]] = True
    return train & ~holdout, holdout


def _position(key: str, seed: int) -> float:
    """Hash a key to a number in [0, 1) that is the same on every machine."""
    digest = hashlib.blake2b(f"{seed}|{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
