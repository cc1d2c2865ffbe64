"""Worker processes: spawned, and gone as soon as whoever started them is gone.

They are spawned, not forked (forking after torch has run deadlocks), and leave when their parent dies: a killed run
leaves nothing behind that would write on. Ctrl-C, which a terminal sends to all of them, ends them without a traceback.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


def worker_processes(workers: int) -> ProcessPoolExecutor:
    """Make a pool of spawned processes that leave when their parent dies, however it dies."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_with_parent)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Hold Ctrl-C back while workers are started; they inherit that, until they know how to leave quietly."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_with_parent() -> None:
    """Leave at once on Ctrl-C, and when the parent process is gone: one that is killed cannot tell its workers."""
    parent = multiprocessing.parent_process()
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(1))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="leave-with-parent", daemon=True).start()
