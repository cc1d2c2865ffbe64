"""What the name of a plot says of where it lies, by tables of expressions that a profile brings."""

import re
from collections.abc import Sequence


def named_part(plot_id: str, patterns: Sequence[str], what: str) -> str | None:
    """Give group 1 of the first pattern that matches from the name's beginning; None where none does.

    Raises:
        ValueError: a pattern has no group, or is no regular expression; the message says of what it is.
    """
    for pattern in patterns:
        try:
            match = re.match(pattern, plot_id)
            if match is not None:
                return match[1]
        except (re.error, IndexError) as error:
            raise ValueError(f"the {what} pattern {pattern!r} is not usable: {error}") from error
    return None


def region_of(plot_id: str, patterns: Sequence[str] = ()) -> str:
    """Find the region of a plot: group 1 of the first pattern that matches, else the name's first part.

    Parts are separated by hyphens: without patterns `RNNB-8-8-20240118` belongs to `RNNB`.

    Raises:
        ValueError: as `named_part`.
    """
    return named_part(plot_id, patterns, "region") or plot_id.partition("-")[0]
