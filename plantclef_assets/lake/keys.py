"""The keys of shards."""


def shard_keys(shards: int) -> list[str]:
    """Give the keys of a family of shards: zero-padded to the digits of the last one, two at least."""
    digits = max(2, len(str(shards - 1)))
    return [str(index).zfill(digits) for index in range(shards)]


def delivery_keys(reserve: int) -> list[str]:
    """Give the keys of an inbox's reserve: as `shard_keys` gives them up to a hundred.

    Beyond these they grow longer in place of being padded, so that a greater reserve renames no delivery.
    """
    return [str(index).zfill(2) for index in range(reserve)]
