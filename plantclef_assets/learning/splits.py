"""Which rows train a classifier and which validate it.

A split that ignores obs_id puts photographs of one plant on one day on both sides and flatters the classifier; this
one never does so on its own account.
"""

import hashlib
from collections.abc import Sequence

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


def _position(key: str, seed: int) -> float:
    """Hash a key to a number in [0, 1) that is the same on every machine."""
    digest = hashlib.blake2b(f"{seed}|{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
