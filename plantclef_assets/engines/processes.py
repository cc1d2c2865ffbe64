"""Spawned worker processes that end with their parent.

They are spawned, not forked (forking after torch has run deadlocks), and end when their parent dies, so that a killed
run leaves no process that continues to write. Ctrl-C, which a terminal sends to all of them, ends them without a
traceback. Each has a number, so that it can use a device of its own.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue

_number = 0


def worker_processes(workers: int) -> ProcessPoolExecutor:
    """Create a pool of spawned processes that end when their parent dies, for whatever reason."""
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(numbers,))


def worker_number() -> int:
    """Return the number of this worker process in its pool, from 0 to `workers` - 1; 0 outside a pool."""
    return _number


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block SIGINT while workers are started; they inherit the mask until their own handler is installed."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(numbers: "SimpleQueue[int]") -> None:
    global _number
    _end_with_parent()
    _number = numbers.get()


def _end_with_parent() -> None:
    """End this process on SIGINT, and when the parent process has ended: a killed parent cannot notify its workers."""
    parent = multiprocessing.parent_process()
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(1))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
