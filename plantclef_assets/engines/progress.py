"""Progress of long work: a bar on a terminal, lines with rate and remaining time in a log."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tqdm import tqdm

LOG_EVERY_SECONDS = 15.0
"""A log line at most this often; a run of hours stays readable."""


class Progress:
    """Counts finished units of a total (0: unknown yet); use as a context manager. A single unit needs no line."""

    def __init__(self, label: str, total: int, unit: str, log: Callable[[str], None]) -> None:
        self._label, self._total, self._unit, self._log = label, total, unit, log
        self._done = 0
        self._started = self._logged = time.monotonic()
        self._bar = tqdm(total=total, desc=label, unit=unit, disable=not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, units: int) -> None:
        """Count units that are done, and say so when it is time to."""
        self._done += units
        self._bar.update(units)
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_SECONDS and self._total != 1:
            self._logged = now
            self._log(self.line(now - self._started))

    def reach(self, done: int, total: int | None) -> None:
        """Say how many units are done by now, and of how many, where that is only known on the way."""
        if total and total != self._total:
            self._total = self._bar.total = total
        self.advance(done - self._done)

    def line(self, seconds: float) -> str:
        """Say how far the work is after so many seconds."""
        rate = self._done / max(seconds, 1e-9)
        if not self._total:
            return f"{self._label}: {self._done:,} {self._unit}, {rate:,.3g} {self._unit}/s"
        remaining = (self._total - self._done) / rate if rate else float("inf")
        left = f"{_duration(remaining)} left" if remaining != float("inf") else "time left unknown"
        return f"{self._label}: {self._done:,} of {self._total:,} {self._unit}, {rate:,.3g} {self._unit}/s, {left}"


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
