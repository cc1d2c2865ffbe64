"""Forked processes that run one function, and actions at a chosen moment of it.

A fork has all modules that its parent has imported, so that a trial does not wait for them. The parent must not have
started threads.
"""

import faulthandler
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.listdir", "os.scandir"}
_LONGEST_SECONDS = 120.0

Action = Callable[[], object]


@dataclass(frozen=True)
class Fork:
    """A forked process.

    Attributes:
        number: the process id.
        started: the end of a pipe that becomes readable at the first file event below the watched folder.
        log: the file with its output, and the traceback of its error.
    """

    number: int
    started: int
    log: Path

    def wait(self, seconds: float = _LONGEST_SECONDS) -> int:
        """Wait until it ends and return its exit status, negative for a signal; it is killed after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            found, status = os.waitpid(self.number, os.WNOHANG)
            if found:
                os.close(self.started)
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                os.kill(self.number, signal.SIGKILL)
            time.sleep(0.002)

    def kill_after(self, seconds: float) -> None:
        """Kill it when its main thread has computed for so long, whatever the load; or later, when it waits."""
        self.wait_for_start()
        deadline = time.monotonic() + _LONGEST_SECONDS
        while self._computed() < seconds and time.monotonic() < deadline:
            if os.waitid(os.P_PID, self.number, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
            time.sleep(0.001)
        os.kill(self.number, signal.SIGKILL)

    def _computed(self) -> float:
        try:
            return seconds_computed(self.number)
        except (OSError, ValueError):  # it has ended
            return _LONGEST_SECONDS

    def wait_for_start(self) -> None:
        """Wait for the first file event below the watched folder, or the end of the process."""
        select.select([self.started], [], [], _LONGEST_SECONDS)


def fork(function: Action, log: Path, watched: Path, actions: dict[int, Action] | None = None) -> Fork:
    """Run a function in a forked process; its exit status is 0, or 1 after an exception.

    Args:
        function: what it does.
        log: the file for its output.
        watched: the folder whose file events are counted.
        actions: what to do before the file event of a number, counted from 1.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    number = os.fork()
    if number:
        os.close(writing)
        return Fork(number, reading, log)
    status = 1
    try:
        os.close(reading)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        faulthandler.dump_traceback_later(_LONGEST_SECONDS - 2)
        _watch(str(watched), writing, actions or {})
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _watch(root: str, started: int, actions: dict[int, Action]) -> None:
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in _EVENTS or not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if not os.fsdecode(arguments[0]).startswith(root):
            return
        count += 1
        if count == 1:
            os.write(started, b"1")
        if count in actions:
            actions[count]()

    sys.addaudithook(hook)


def count_events(function: Action, log: Path, watched: Path) -> tuple[int, float]:
    """Run a function in a forked process; return its file events below a folder, and the seconds that it computed.

    Raises:
        RuntimeError: it failed.
    """
    counted = log.with_suffix(".events")
    counted.unlink(missing_ok=True)
    events: list[None] = []

    def counting() -> None:
        sys.addaudithook(
            lambda event, arguments: (
                events.append(None)
                if event in _EVENTS
                and arguments
                and isinstance(arguments[0], str | bytes | os.PathLike)
                and os.fsdecode(arguments[0]).startswith(str(watched))
                else None
            )
        )
        function()
        counted.write_text(f"{len(events)} {seconds_computed(os.getpid())}")

    if fork(counting, log, watched).wait() != 0:
        raise RuntimeError(f"an undisturbed run failed:\n{log.read_text()[-2000:]}")
    number, seconds = counted.read_text().split()
    return int(number), float(seconds)


def seconds_computed(process: int) -> float:
    """Return for how long the main thread of a process has computed."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def kill_self() -> None:
    """End this process as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def children_of(process: int) -> list[int]:
    """Return the child processes of a process, the latest last."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process:
                found.append(int(folder.name))
    return sorted(found)


def is_worker(process: int) -> bool:
    """Whether a process is a worker that a pool has started (not the tracker of its resources)."""
    try:
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
