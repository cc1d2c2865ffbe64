"""Processes that a test starts: each leads a session of its own, so that all it started is found and ended with it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from plantclef_assets_tests.engines.spark_cluster import kill_session, processes_of_session

QUICK_DAEMON = Path(__file__).with_name("quick_daemon")


class Server:
    """A process that goes on until it is ended, with all that it starts."""

    def __init__(
        self, command: Sequence[str | Path], variables: Mapping[str, str], log: Path, account: int | None = None
    ) -> None:
        self.command, self.variables, self.log, self.account = [str(part) for part in command], variables, log, account
        self.sessions: list[int] = []
        self.process = self._open()

    def _open(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command,
                env=dict(self.variables),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                user=self.account,
                group=self.account,
                extra_groups=None if self.account is None else [],
            )
        self.sessions.append(process.pid)
        return process

    def kill(self) -> None:
        """Kill the process itself, and nothing that it started."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start the same command again."""
        self.process = self._open()

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, seconds: float = 20) -> None:
        """End the process and all that it ever started; nothing remains."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        for session in self.sessions:
            kill_session(session)
        self.process.wait()
        wait_for(lambda: not self.members(), 10, f"the end of what {self.command[0]} has started")

    def members(self) -> list[int]:
        """Give the living processes of its sessions."""
        return [process for session in self.sessions for process in processes_of_session(session)]


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it does not within the time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} seconds for {what}")
        time.sleep(0.05)


def quick_daemon() -> dict[str, str]:
    """Return the variables of a Dagster daemon that looks for backfills every 2 seconds instead of 30."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(QUICK_DAEMON), os.environ.get("PYTHONPATH")]))}
