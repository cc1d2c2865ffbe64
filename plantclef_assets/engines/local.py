"""The local engine: shards in spawned worker processes of this machine.

Workers are spawned, not forked (forking after torch has run deadlocks), and leave when their parent dies: a killed run
leaves nothing behind that would write on.
"""

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

from plantclef_assets.lake.shards import Shard

MakeShard = Callable[[Shard], None]
"""Makes one shard; crosses process boundaries, so it is a top-level function or a plain dataclass."""


@dataclass(frozen=True)
class Outcome:
    """How the making of one shard ended."""

    shard: Shard
    seconds: float
    error: BaseException | None = None


def run_shards(make: MakeShard, shards: Sequence[Shard], *, workers: int) -> Iterator[Outcome]:
    """Make shards, at most `workers` at a time, and give each one's outcome as it ends.

    A shard that fails does not stop the others. One worker, or one shard, needs no process of its own.
    """
    if workers == 1 or len(shards) <= 1:
        for shard in shards:
            yield _make_here(make, shard)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(shards)), mp_context=context, initializer=_leave_with_parent)
    try:
        started: dict[Future[float], Shard] = {pool.submit(_timed, make, shard): shard for shard in shards}
        waiting = set(started)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda one: started[one].artifact):
                error = future.exception()
                yield Outcome(started[future], 0.0 if error else future.result(), error)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _make_here(make: MakeShard, shard: Shard) -> Outcome:
    start = time.perf_counter()
    try:
        make(shard)
    except Exception as error:
        return Outcome(shard, time.perf_counter() - start, error)
    return Outcome(shard, time.perf_counter() - start)


def _timed(make: MakeShard, shard: Shard) -> float:
    start = time.perf_counter()
    try:
        make(shard)
    except Exception as error:
        raise _speakable(error) from None
    return time.perf_counter() - start


def _speakable(error: Exception) -> Exception:
    """Give an error that survives the way to the parent; one that does not would break the pool for all shards."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _leave_with_parent() -> None:
    """Watch the parent process and leave at once when it is gone (a killed parent cannot tell its workers)."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="leave-with-parent", daemon=True).start()
