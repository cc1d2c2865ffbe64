"""Peak memory of a process and its descendants."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path


class PeakMemory:
    """Context manager that measures the peak memory of this process and its descendants. Linux only."""

    def __init__(self) -> None:
        self.bytes = 0
        self._end = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            self.bytes = max(self.bytes, sum(map(_resident, _processes(os.getpid()))))


def _processes(root: int) -> Iterator[int]:
    yield root
    try:
        for task in Path(f"/proc/{root}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _processes(int(child))
    except OSError:
        return


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
