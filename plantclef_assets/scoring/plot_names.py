"""Where a plot is, by its name: its place, its region and its transect."""

import re
from collections.abc import Sequence

_DATE = re.compile(r"-\d{8}$")


def place_of(plot_id: str) -> str:
    """Return the place of a plot: its name without the date at the end.

    `CBN-PdlC-A1-20130807` is a visit to `CBN-PdlC-A1`; a name without a date is a place of its own.
    """
    return _DATE.sub("", plot_id) or plot_id


def region_of(plot_id: str, patterns: Sequence[str] = ()) -> str:
    """Return the region of a plot: group 1 of the first pattern that matches, else the first part of the name.

    Parts are separated by hyphens: without patterns `RNNB-8-8-20240118` belongs to `RNNB`.

    Raises:
        ValueError: a pattern has no group, or is not a regular expression.
    """
    return _named_part(plot_id, patterns, "region") or plot_id.partition("-")[0]


def transect_of(plot_id: str, patterns: Sequence[str]) -> str:
    """Return the transect of a plot: group 1 of the first pattern that matches, else the name without its last part.

    Parts are separated by hyphens: without patterns `MIX-03-20240501` belongs to `MIX-03`.

    Raises:
        ValueError: a pattern has no group, or is not a regular expression.
    """
    return _named_part(plot_id, patterns, "transect") or plot_id.rpartition("-")[0] or plot_id


def _named_part(plot_id: str, patterns: Sequence[str], what: str) -> str | None:
    """Return group 1 of the first pattern that matches from the beginning of the name; None if none does."""
    for pattern in patterns:
        try:
            match = re.match(pattern, plot_id)
            if match is not None:
                return match[1]
        except (re.error, IndexError) as error:
            raise ValueError(f"the {what} pattern {pattern!r} is not usable: {error}") from error
    return None
