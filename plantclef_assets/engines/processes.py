"""Worker processes: spawned, and gone as soon as whoever started them is gone.

They are spawned, not forked (forking after torch has run deadlocks), and leave when their parent dies: a killed run
leaves nothing behind that would write on.
"""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor


def worker_processes(workers: int) -> ProcessPoolExecutor:
    """Make a pool of spawned processes that leave when their parent dies, however it dies."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_with_parent)


def _leave_with_parent() -> None:
    """Watch the parent process and leave at once when it is gone: one that is killed cannot tell its workers."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="leave-with-parent", daemon=True).start()
