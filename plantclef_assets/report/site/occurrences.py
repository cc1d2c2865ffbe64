"""Where a species was found: its plots by the run that the report shows, and how often that was right."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Occurrence:
    """A species in the list of a plot.

    Attributes:
        page: name of the plot's page.
        plot_id: name of the plot.
        place: that the plot is a visit to.
        confidence: highest probability of the species in a tile; None if unknown.
        right: whether the plot's ground truth has the species; None without ground truth.
    """

    page: str
    plot_id: str
    place: str
    confidence: float | None
    right: bool | None


@dataclass(frozen=True)
class Occurrences:
    """The plots of a species in figures.

    Attributes:
        plots, places: in how many it was found.
        confidence: the highest; None if unknown.
        right, judged: in how many plots with ground truth it is right, and how many of its plots have ground truth.
    """

    plots: int
    places: int
    confidence: float | None
    right: int
    judged: int


def summarize_occurrences(found: Sequence[Occurrence]) -> Occurrences:
    """Count the plots in which a species was found."""
    judged = [one.right for one in found if one.right is not None]
    confidences = [one.confidence for one in found if one.confidence is not None]
    places = len({one.place for one in found})
    return Occurrences(len(found), places, max(confidences, default=None), sum(judged), len(judged))
