"""The keys of shards."""


def shard_keys(shards: int) -> list[str]:
    """Return the keys of a family of shards, zero-padded to the digits of the last key, at least two."""
    digits = max(2, len(str(shards - 1)))
    return [str(index).zfill(digits) for index in range(shards)]


def delivery_keys(reserve: int) -> list[str]:
    """Return the keys of an inbox's deliveries, zero-padded to two digits.

    Keys from 100 on are longer instead of padded, so that a larger reserve does not rename earlier deliveries.
    """
    return [str(index).zfill(2) for index in range(reserve)]
