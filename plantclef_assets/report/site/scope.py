"""What a report covers: runs, sources of plots, and what the settings say about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """A run as the report shows it.

    Attributes:
        name: of the run.
        feature_set: name of the classifier.
        tiling: name of the tiling.
        aggregation: how the tiles' answers become one list, in words.
    """

    name: str
    feature_set: str
    tiling: str
    aggregation: str


@dataclass(frozen=True)
class PlotShards:
    """The shards of a source of plots that are in the report.

    Attributes:
        title: what the source is called, for people.
        plots: asset with the photographs.
        predictions: asset with the tile predictions.
        cover: asset with the cover of species.
        keys: keys of the shards, or of the deliveries.
        novelty: asset with the unknown scores of the tiles; None where there are none.
        has_lists: whether the runs have species lists for these plots; else the list of a plot is its cover.
    """

    title: str
    plots: str
    predictions: str
    cover: str
    keys: tuple[str, ...]
    has_lists: bool
    novelty: str | None = None


@dataclass(frozen=True)
class Scope:
    """What a report covers.

    Attributes:
        title: of the report.
        runs: in the order of their declaration.
        cover_run: name of the run that the cover of species uses.
        sources: of plots.
        training_shards: keys of the shards with training photographs; none without them.
        feature_sets: names of the classifiers.
        region_patterns: for the region of a plot.
        max_pixels: limit on the pixels of a photograph.
        truth: file with the true species of plots; None if there is none.
        reviewed: whether the truth is the lists of a reviewer who saw predictions.
        facts: (name, value) of the settings that the start page shows.
        rank_precision: share of right answers from which a taxonomic rank is trusted.
    """

    title: str
    runs: tuple[Run, ...]
    cover_run: str
    sources: tuple[PlotShards, ...]
    training_shards: Sequence[str]
    feature_sets: Sequence[str]
    region_patterns: Sequence[str]
    max_pixels: int
    truth: Path | None
    reviewed: bool
    facts: Sequence[tuple[str, Any]]
    rank_precision: float = 0.9


@dataclass(frozen=True)
class FailedCheck:
    """A check that did not pass, and what it found."""

    asset: str
    check: str
    problem: str
