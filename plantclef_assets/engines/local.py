"""The local engine: makes shards in worker processes on this machine."""

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from plantclef_assets.engines.processes import interrupts_blocked, worker_processes
from plantclef_assets.lake.tables import Shard

MakeShard = Callable[[Shard], None]
"""Makes one shard; it is pickled, so it must be a top-level function or a plain dataclass."""


@dataclass(frozen=True)
class Outcome:
    """The result of making one shard."""

    shard: Shard
    seconds: float
    error: BaseException | None = None


def run_shards(make: MakeShard, shards: Sequence[Shard], *, workers: int) -> Iterator[Outcome]:
    """Run a maker on shards, at most `workers` at a time; yield the outcome of each when it is finished.

    A failed shard does not stop the others. With one worker or one shard, no process is started.
    """
    if workers == 1 or len(shards) <= 1:
        for shard in shards:
            yield make_shard(make, shard)
        return
    pool = worker_processes(min(workers, len(shards)))
    try:
        with interrupts_blocked():
            started: dict[Future[float], Shard] = {pool.submit(_timed, make, shard): shard for shard in shards}
        waiting = set(started)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda one: started[one].artifact):
                error = future.exception()
                yield Outcome(started[future], 0.0 if error else future.result(), error)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def make_shard(make: MakeShard, shard: Shard) -> Outcome:
    """Run a maker on one shard in this process; an error is part of the outcome."""
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
        raise picklable(error) from None
    return time.perf_counter() - start


def picklable(error: BaseException) -> BaseException:
    """Return an error that can be pickled; an unpicklable error would break the worker pool."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
