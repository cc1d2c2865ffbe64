"""Processes that draw: spawned, and gone as soon as whoever started them is gone."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor


def drawing_processes(workers: int) -> ProcessPoolExecutor:
    """Return a pool of `workers` spawned processes, which leave when their parent dies, however it dies."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_with_parent)


def _leave_with_parent() -> None:
    """Watch the parent process: one that is killed cannot tell its workers."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="leave-with-parent", daemon=True).start()
