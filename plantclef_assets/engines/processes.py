"""Spawned worker processes that end with their parent.

They are spawned, not forked (forking after torch has run deadlocks), and end when their parent dies, so that a killed
run leaves no process that continues to write. Ctrl-C, which a terminal sends to all of them, ends them without a
traceback.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


def worker_processes(workers: int) -> ProcessPoolExecutor:
    """Create a pool of spawned processes that end when their parent dies, for whatever reason."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


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
