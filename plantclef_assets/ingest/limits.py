"""What downloads may take: connections, bytes a second, bytes of disk, and how patient they are.

What belongs here: the limits that a user sets, and the one allowance that all connections of a command share. What does
not: what is asked of a server and what becomes of its answers (`transfers.py`).
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from plantclef_assets.configuration import ByteCount, setting


class DownloadError(OSError):
    """A file that could not be had; the message says from where and why."""


class Stopped(Exception):
    """Another connection has ended the transfer for all."""


@dataclass(frozen=True)
class Limits:
    """Limits of all downloads of one command together."""

    connections: int = setting(4, "Maximum number of open requests.", ge=1, le=32)
    bytes_per_second: ByteCount | None = setting(
        None, "Maximum rate over all connections; not set: no limit.", unit="bytes/s", ge=1
    )
    chunk_bytes: ByteCount = setting(
        2**24,
        "Size of one request, which is also the most that a connection downloads again after a killed command.",
        unit="bytes",
        ge=2**16,
    )
    max_bytes: ByteCount | None = setting(
        None, "Maximum size of all files together; not set: the free disk space.", unit="bytes", ge=1
    )
    timeout_seconds: float = setting(
        60.0,
        "A connection counts as broken after this time without a byte.",
        unit="s",
        gt=0,
        allow_inf_nan=False,
    )


@dataclass(frozen=True)
class Retries:
    """How often a connection that makes no progress is tried, and how long is waited in between.

    Attributes:
        attempts: tries without a new byte before giving up; a try that brought some starts the count anew.
        first_wait: seconds before the second try; doubled each time, with some chance added so that many who were
            refused together do not come back together.
        longest_wait: seconds that doubling ends at.
        longest_request: seconds of waiting that a server may ask for (Retry-After) before it is given up.
        chance: gives numbers from 0 to 1.
    """

    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 120.0
    longest_request: float = 3600.0
    chance: Callable[[], float] = random.random

    def wait_before(self, failures: int) -> float:
        """Give the seconds to wait after so many failures in a row."""
        doubled = self.first_wait * 2 ** (failures - 1) * (1 + self.chance() / 2)
        return 0.0 if failures < 1 else min(doubled, self.longest_wait)


def _wait(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)


@dataclass(frozen=True)
class Clock:
    """Where the time comes from; tests have one of their own.

    Attributes:
        now: seconds from some moment on, never backwards.
        wait: waits for so many seconds, or until the event is set.
    """

    now: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float], None] = _wait


@dataclass
class Allowance:
    """What is left of the limits; one for all connections of a command, safe to use from any thread."""

    limits: Limits = field(default_factory=Limits)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(self.limits.connections)
        self._tokens = float(self.limits.bytes_per_second or 0)
        self._filled = self.clock.now()
        self._reserved = 0
        self._ended = False

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Hold one of the connections; waits until one is free."""
        with self._slots:
            yield

    def spend(self, count: int, stop: threading.Event) -> None:
        """Count bytes that have come, and wait until that many were due: a bucket that holds one second's bytes.

        The socket is not read meanwhile, so the server is slowed down by its own full buffers.

        Raises:
            DownloadError: the downloads have been ended.
        """
        if self._ended:
            raise DownloadError("the downloads were stopped; the same command goes on from here")
        rate = self.limits.bytes_per_second
        if rate is None:
            return
        with self._lock:
            now = self.clock.now()
            self._tokens = min(self._tokens + (now - self._filled) * rate, float(rate)) - count
            self._filled = now
            owed = -self._tokens / rate
        if owed > 0:
            self.clock.wait(stop, owed)

    def reserve(self, count: int) -> bool:
        """Set so many bytes of disk aside (give back, if negative); False where the limit has no room for them."""
        with self._lock:
            if self.limits.max_bytes is not None and self._reserved + count > self.limits.max_bytes:
                return False
            self._reserved += count
            return True

    def end(self) -> None:
        """Let none of the connections take another byte."""
        self._ended = True
