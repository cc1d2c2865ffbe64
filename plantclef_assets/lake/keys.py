"""The names of shards."""


def shard_keys(shards: int) -> list[str]:
    """Give the keys of a family of shards: zero-padded to the digits of the last one, two at least."""
    digits = max(2, len(str(shards - 1)))
    return [str(index).zfill(digits) for index in range(shards)]
