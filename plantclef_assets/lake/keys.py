"""The names of partitions: shards and feature sets."""


def shard_keys(shards: int) -> list[str]:
    """Give the keys of a family of shards: zero-padded to the digits of the last one, two at least."""
    digits = max(2, len(str(shards - 1)))
    return [str(index).zfill(digits) for index in range(shards)]


def is_checkpoint_head(feature_set: str | None) -> bool:
    """Whether a feature set is answered by the classifier inside a checkpoint, which is never trained here."""
    return (feature_set or "").endswith("_head")
