"""Preparing items in threads ahead of their use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    items: Iterable[Item], prepare: Callable[[Item], Result], *, threads: int, ahead: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Yield the items in order, each with the future of `prepare(item)`.

    Decoding and resizing pictures release Python's lock, so threads prepare them while the model computes.

    Args:
        items: read as needed.
        prepare: called in a thread of the pool.
        threads: size of the pool.
        ahead: number of items that are prepared ahead of the consumer.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        remaining = iter(items)
        pending = deque((item, pool.submit(prepare, item)) for item in islice(remaining, ahead))
        while pending:
            yield pending.popleft()
            pending.extend((item, pool.submit(prepare, item)) for item in islice(remaining, 1))
        pool.shutdown()
    finally:
        pool.shutdown(cancel_futures=True)  # if the consumer stops early


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`; the last list can be shorter."""
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk
