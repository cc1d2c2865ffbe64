"""Limits of downloads: connections, bytes per second, bytes of disk, and the retry policy.

What belongs here: the limits that a user sets, and the allowance that all connections of a command share. What does
not: requests, and how failures are handled (`transfers.py`).
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from plantclef_assets.configuration import ByteCount, setting
from plantclef_assets.ingest.downloads.errors import DownloadError


@dataclass(frozen=True)
class Limits:
    """Limits of all downloads of one command together."""

    connections: int = setting(4, "Maximum number of open requests.", ge=1, le=32)
    bytes_per_second: ByteCount | None = setting(
        None, "Maximum rate over all connections; not set: no limit.", unit="bytes/s", ge=1
    )
    chunk_bytes: ByteCount = setting(
        2**24,
        "Size of one request. After a killed command, each connection downloads at most this much again.",
        unit="bytes",
        ge=2**16,
    )
    max_bytes: ByteCount | None = setting(
        None, "Maximum size of all files together; not set: the free disk space.", unit="bytes", ge=1
    )
    timeout_seconds: float = setting(
        60.0,
        "Time without data after which a connection is treated as broken.",
        unit="s",
        gt=0,
        allow_inf_nan=False,
    )


@dataclass(frozen=True)
class Retries:
    """The retry policy of a connection that makes no progress.

    Attributes:
        attempts: tries without a new byte before the connection gives up; a try with new bytes resets the count.
        first_wait: seconds before the second try; doubled for each further one, with random jitter so that clients that
            were refused together do not return together.
        longest_wait: upper bound of the doubled wait, in seconds.
        longest_request: the longest Retry-After to comply with, in seconds; a longer one ends the download.
        chance: returns random numbers from 0 to 1.
    """

    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 120.0
    longest_request: float = 3600.0
    chance: Callable[[], float] = random.random

    def wait_before(self, failures: int) -> float:
        """Return the seconds to wait after a number of consecutive failures."""
        doubled = self.first_wait * 2 ** (failures - 1) * (1 + self.chance() / 2)
        return 0.0 if failures < 1 else min(doubled, self.longest_wait)


def _wait(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)


@dataclass(frozen=True)
class Clock:
    """A source of time; tests replace it.

    Attributes:
        now: returns monotonic seconds.
        wait: waits for a number of seconds, or until the event is set.
    """

    now: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float], None] = _wait


@dataclass
class Allowance:
    """What is left of the limits, shared by all connections of a command; thread-safe."""

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
        """Count received bytes and wait until the rate limit permits them: a token bucket of one second's bytes.

        The socket is not read during the wait, so full buffers slow the server down.

        Raises:
            DownloadError: the downloads have been ended.
        """
        if self._ended:
            raise DownloadError("the downloads were stopped; the same command resumes them")
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
        """Reserve bytes of disk (release them if negative); return False if the limit does not permit it."""
        with self._lock:
            if self.limits.max_bytes is not None and self._reserved + count > self.limits.max_bytes:
                return False
            self._reserved += count
            return True

    def end(self) -> None:
        """End all downloads: no connection may receive another byte."""
        self._ended = True
