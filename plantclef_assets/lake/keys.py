"""The names of partitions: shards and feature sets."""

TRAINED_FEATURE_SETS = ("base_dct", "base_cls", "finetuned_cls")
"""What classifiers are trained on: a backbone and a column of its embeddings."""
CHECKPOINT_HEAD = "finetuned_head"
"""What the classifier inside a checkpoint answers; it is never trained here."""


def shard_keys(shards: int) -> list[str]:
    """Give the keys of a family of shards: zero-padded to the digits of the last one, two at least."""
    digits = max(2, len(str(shards - 1)))
    return [str(index).zfill(digits) for index in range(shards)]


def delivery_keys(reserve: int) -> list[str]:
    """Give the keys of an inbox's reserve: as `shard_keys` gives them up to a hundred.

    Beyond these they grow longer in place of being padded, so that a greater reserve renames no delivery.
    """
    return [str(index).zfill(2) for index in range(reserve)]


def is_checkpoint_head(feature_set: str | None) -> bool:
    """Whether a feature set is answered by the classifier inside a checkpoint."""
    return feature_set == CHECKPOINT_HEAD
