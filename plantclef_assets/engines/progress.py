"""Progress of long work: a bar on a terminal, lines with rate and remaining time in a log."""

import math
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tqdm import tqdm

BYTES = "bytes"
"""The unit that is shown as kB, MB and so on."""
_SIZES = ("bytes", "kB", "MB", "GB", "TB")
LOG_EVERY_SECONDS = 15.0
"""Minimum time between log lines, so that the log of a long run stays readable."""


class Progress:
    """Progress of a number of units (0: unknown yet); a context manager. A total of one unit is not logged."""

    def __init__(self, label: str, total: int, unit: str, log: Callable[[str], None]) -> None:
        self._label, self._total, self._unit, self._log = label, total, unit, log
        self._done = self._before = 0
        self._reached = False
        self._started = self._logged = time.monotonic()
        self._bar = tqdm(
            total=total,
            desc=label,
            unit="B" if unit == BYTES else unit,
            unit_scale=unit == BYTES,
            disable=not sys.stderr.isatty(),
            leave=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, units: int) -> None:
        """Add finished units, and log the progress if a line is due."""
        self._done += units
        self._bar.update(units)
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_SECONDS and self._total != 1:
            self._logged = now
            self._log(self.line(now - self._started))

    def reach(self, done: int, total: int | None) -> None:
        """Set the number of finished units, and the total if it is known by now.

        Units that were finished before the work started or restarted do not count for the rate.
        """
        if total and total != self._total:
            self._total = self._bar.total = total
        if not self._reached or done < self._done:
            self._reached = True
            self._started = time.monotonic()
            self._done = self._before = self._bar.n = self._bar.initial = done
            self._bar.refresh()
        self.advance(done - self._done)

    def line(self, seconds: float) -> str:
        """Return the progress line after a number of seconds."""
        rate = (self._done - self._before) / max(seconds, 1e-9)
        if not self._total:
            return f"{self._label}: {self._format(self._done)}, {self._format(rate)}/s"
        remaining = (self._total - self._done) / rate if rate else float("inf")
        left = f"{duration(remaining)} left" if remaining != float("inf") else "time left unknown"
        done = _size(self._done) if self._unit == BYTES else f"{self._done:,}"
        return f"{self._label}: {done} of {self._format(self._total)}, {self._format(rate)}/s, {left}"

    def _format(self, count: float) -> str:
        if self._unit == BYTES:
            return _size(count)
        return f"{count:,} {self._unit}" if isinstance(count, int) else f"{count:,.3g} {self._unit}"


def _size(count: float) -> str:
    """Format a number of bytes in the unit with at most three digits before the decimal point."""
    power = min(int(math.log10(max(count, 1))) // 3, len(_SIZES) - 1)
    return f"{count / 1000**power:,.{1 if power else 0}f} {_SIZES[power]}"


def duration(seconds: float) -> str:
    """Return a time in hours and minutes, minutes and seconds, or seconds."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
