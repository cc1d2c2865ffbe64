"""Plots in the report: their tiles, their species by each run, and what a reviewer should look at."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.lake.schemas import TILE_PREDICTIONS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.report.site.scope import PlotShards, Run, Scope
from plantclef_assets.scoring.metrics import f1_score
from plantclef_assets.scoring.plot_names import place_of, region_of

BEST = 5
"""Species that a tile shows."""
LOW_CONFIDENCE = 0.3
"""A plot is to be reviewed if the likeliest tile of every listed species is below this probability."""
LARGE_UNCOVERED = 0.8
"""A plot is to be reviewed if no visible species covers more than this share of it."""
LOW_AGREEMENT = 0.2
"""A plot is to be reviewed if the mean Jaccard index of the runs' lists is below this."""
COVER = "cover"
"""Stands for a run on plots that no run has lists for."""
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})$")
_COLUMNS = ("feature_set", "tiling", "x", "y", "width", "height", "species_id", "probability", "rank")
_OF_SPECIES = ["feature_set", "tiling", "species_id"]

Box = tuple[int, int, int, int]
Candidates = list[tuple[int, float]]
"""(species_id, probability), the likeliest first."""
Tiles = dict[tuple[str, str], list[tuple[Box, Candidates]]]
"""(feature set, tiling) → the tiles with their best species."""
Unknown = dict[tuple[str, str], list[float]]
"""(feature set, tiling) → the unknown scores of the tiles, in their order."""
Confidences = dict[tuple[str, str, int], float]
"""(feature set, tiling, species_id) → the highest probability in a tile."""


@dataclass(frozen=True)
class ListedSpecies:
    """A species in the list of a plot by one run.

    Attributes:
        species_id: its id.
        confidence: its highest probability in a tile; None if it is not among the stored species of any tile.
        coverage: share of the plot under the tiles that show it, by the run of the cover; None if it does not show.
        alternatives: the other species of its likeliest tile.
    """

    species_id: int
    confidence: float | None
    coverage: float | None
    alternatives: Candidates


@dataclass
class Plot:
    """A plot and all that is known about it.

    Attributes:
        plot_id: its name.
        source: title of its source.
        width, height: upright size, px.
        region: from its name.
        tiles: (feature set, tiling) → the tiles with their best species.
        lists: run → its species.
        uncovered: share of the plot under no visible species; None without cover.
        truth: the true species; None if unknown.
        unknown: the unknown scores of the tiles; empty where they were not computed.
    """

    plot_id: str
    source: str
    width: int
    height: int
    region: str = ""
    tiles: Tiles = field(default_factory=dict)
    lists: dict[str, list[ListedSpecies]] = field(default_factory=dict)
    uncovered: float | None = None
    truth: list[int] | None = None
    unknown: Unknown = field(default_factory=dict)

    @property
    def page(self) -> str:
        """The name of its page without suffix, the same in every report."""
        return page_of(self.plot_id, self.source)

    @property
    def place(self) -> str:
        """The place that it is a visit to."""
        return place_of(self.plot_id)

    @property
    def date(self) -> str:
        """`YYYY-MM-DD` from the end of its name; empty if there is none."""
        found = _DATE.search(self.plot_id)
        return "-".join(found.groups()) if found else ""

    def species(self, run: str) -> list[int]:
        """The species_ids of a run's list."""
        return [one.species_id for one in self.lists.get(run, ())]

    def score(self, run: str) -> float | None:
        """The F1 of a run's list; None without ground truth."""
        return None if self.truth is None else f1_score(self.truth, self.species(run))

    def confidence(self, run: str) -> float | None:
        """The highest probability of a listed species in a tile."""
        found = [one.confidence for one in self.lists.get(run, ()) if one.confidence is not None]
        return max(found, default=None)

    @property
    def agreement(self) -> float | None:
        """The mean Jaccard index of the runs' lists; None with fewer than two runs."""
        lists = [set(self.species(run)) for run in self.lists]
        pairs = [(one, other) for place, one in enumerate(lists) for other in lists[:place]]
        return float(np.mean([_jaccard(*pair) for pair in pairs])) if pairs else None

    def review_reasons(self, run: str) -> list[str]:
        """Why a person should look at it; none if nothing stands out."""
        confidence, agreement = self.confidence(run), self.agreement
        reasons = []
        if confidence is None:
            reasons.append("no species")
        elif confidence < LOW_CONFIDENCE:
            reasons.append("low confidence")
        if self.uncovered is not None and self.uncovered > LARGE_UNCOVERED:
            reasons.append("large uncovered share")
        if agreement is not None and agreement < LOW_AGREEMENT:
            reasons.append("runs disagree")
        return reasons


def page_of(plot_id: str, source: str) -> str:
    """Return the name of a plot's page: a digest, since plot names can hold any character and be long."""
    return blake2b(f"{source}\0{plot_id}".encode(), digest_size=6).hexdigest()


def read_plots(
    lake: Lake, scope: Scope, source: PlotShards, truth: Mapping[str, Sequence[int]], lists: Mapping[str, Mapping]
) -> Iterator[tuple[Plot, bytes]]:
    """Yield the plots of a source with their photographs, shard by shard.

    Args:
        lake: the lake.
        scope: of the report.
        source: of the plots.
        truth: plot_id → true species.
        lists: run → plot_id → species_ids, the likeliest first.
    """
    for key in source.keys:
        predictions = _read_tiles(lake, Artifact(source.predictions, key))
        cover = _read_cover(lake, Artifact(source.cover, key))
        unknown = _read_unknown(lake, source.novelty, key)
        for batch in lake.open(Artifact(source.plots, key)).iter_batches(batch_size=4):
            for row in batch.to_pylist():
                plot_id = row["plot_id"]
                shown, uncovered = cover.get(plot_id, ({}, None))
                tiles, found = predictions.of_plot(plot_id)
                plot = Plot(
                    plot_id,
                    source.title,
                    row["width"],
                    row["height"],
                    region_of(plot_id, scope.region_patterns),
                    tiles,
                    uncovered=uncovered,
                    truth=list(truth[plot_id]) if plot_id in truth else None,
                    unknown=unknown.get(plot_id, {}),
                )
                if source.has_lists:
                    for run in scope.runs:
                        species = lists[run.name].get(plot_id, [])
                        plot.lists[run.name] = _listed(plot, run, species, shown, found)
                else:
                    (run,) = (one for one in scope.runs if one.name == scope.cover_run)
                    plot.lists[COVER] = _listed(plot, run, list(shown), shown, found)
                yield plot, row["data"]


def _listed(
    plot: Plot,
    run: Run,
    species: Sequence[int],
    cover: Mapping[int, float],
    confidences: Confidences,
) -> list[ListedSpecies]:
    pair = (run.feature_set, run.tiling)
    likeliest: dict[int, tuple[float, Candidates]] = {}
    for _, candidates in plot.tiles.get(pair, ()):
        for species_id, probability in candidates:
            if probability > likeliest.get(species_id, (-1.0, []))[0]:
                likeliest[species_id] = probability, [one for one in candidates if one[0] != species_id]
    return [
        ListedSpecies(
            species_id,
            confidences.get((*pair, species_id)),
            cover.get(species_id),
            likeliest.get(species_id, (0.0, []))[1],
        )
        for species_id in species
    ]


@dataclass(frozen=True)
class _Tiles:
    """The tile predictions of a shard; those of one plot at a time become Python objects.

    Attributes:
        rows: of all plots; those of a plot are together.
        places: plot_id → its first row and the number of its rows.
    """

    rows: pa.Table
    places: Mapping[str, tuple[int, int]]

    def of_plot(self, plot_id: str) -> tuple[Tiles, Confidences]:
        """Return the tiles of a plot with their best species, and the highest probability of each species in it."""
        rows = self.rows.slice(*self.places.get(plot_id, (0, 0)))
        tiles: dict[tuple[str, str], list[tuple[Box, Candidates]]] = defaultdict(list)
        best = rows.filter(pc.less_equal(rows.column("rank"), BEST))  # pyright: ignore[reportAttributeAccessIssue]
        for features, tiling, *box, species_id, probability, rank in zip(
            *(best.column(name).to_pylist() for name in _COLUMNS), strict=True
        ):
            found = tiles[features, tiling]
            if rank == 1:
                found.append((tuple(box), []))
            found[-1][1].append((species_id, probability))
        highest = rows.group_by(_OF_SPECIES).aggregate([("probability", "max")])
        columns = (highest.column(name).to_pylist() for name in (*_OF_SPECIES, "probability_max"))
        return tiles, {(features, tiling, one): value for features, tiling, one, value in zip(*columns, strict=True)}


def _read_tiles(lake: Lake, artifact: Artifact) -> _Tiles:
    """Read the tile predictions of a shard; there are none where it has no plots."""
    record = lake.record(artifact)
    if record is None or not record.rows:
        return _Tiles(TILE_PREDICTIONS.schema().empty_table(), {})
    rows = lake.read(artifact, ["plot_id", *_COLUMNS]).combine_chunks()
    plots = pc.dictionary_encode(rows.column("plot_id").chunk(0))  # pyright: ignore[reportAttributeAccessIssue]
    codes = plots.indices.to_numpy()
    order = np.argsort(codes, kind="stable")  # the table has all plots of a classifier before those of the next
    starts = np.searchsorted(codes[order], np.arange(len(plots.dictionary) + 1)).tolist()
    places = {
        plot: (start, end - start)
        for plot, (start, end) in zip(plots.dictionary.to_pylist(), pairwise(starts), strict=True)
    }
    return _Tiles(rows.drop_columns("plot_id").take(order), places)


def _read_cover(lake: Lake, artifact: Artifact) -> dict[str, tuple[dict[int, float], float]]:
    """Return for each plot the coverage of its visible species and the uncovered share."""
    if not lake.exists(artifact):
        return {}
    found: dict[str, tuple[dict[int, float], float]] = {}
    for row in lake.read(artifact, ["plot_id", "species_id", "coverage", "uncovered"]).to_pylist():
        shown, _ = found.setdefault(row["plot_id"], ({}, row["uncovered"]))
        if row["species_id"] is not None:
            shown[row["species_id"]] = row["coverage"]
    return found


def _read_unknown(lake: Lake, asset: str | None, key: str) -> Mapping[str, Unknown]:
    """Return the unknown scores of the tiles of each plot; none where the asset does not exist."""
    found: dict[str, Unknown] = defaultdict(lambda: defaultdict(list))
    if asset is None:
        return found
    rows = lake.read(Artifact(asset, key), ["plot_id", "feature_set", "tiling", "unknown"])
    for plot, feature_set, tiling, unknown in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        found[plot][feature_set, tiling].append(unknown)
    return found


def _jaccard(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0
