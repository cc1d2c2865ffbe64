"""The CSV files of the report, and what changed since the report before it."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plantclef_assets.lake.spreadsheets import csv_lines
from plantclef_assets.lake.store import Lake
from plantclef_assets.report.site.certainty import Certainty
from plantclef_assets.report.site.species import Species
from plantclef_assets.report.site.survey import Plot

PLOTS_FILE, SPECIES_FILE, CHANGES_FILE = "plots.csv", "species.csv", "changes.csv"
_PLOT_COLUMNS = ("plot_id", "source", "place", "date", "species_id", "species", "family", "confidence", "coverage")
_CERTAINTY_COLUMNS = ("trusted_rank", "trusted_taxon", "trusted_probability", "unknown")
_DIGITS = 4


@dataclass(frozen=True)
class Changes:
    """What changed since the previous report.

    Attributes:
        plots: number of plots whose species differ.
        gained, lost: number of pairs of plot and species.
        new: number of plots that the previous report does not have.
    """

    plots: int
    gained: int
    lost: int
    new: int


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table for spreadsheets: UTF-8 with a byte order mark."""
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        stream.writelines(csv_lines([header, *rows]))


class PlotTable:
    """Writes `plots.csv` while plots are read, a row for each species of a plot; one without species if it has none."""

    def __init__(self, certainty: Certainty) -> None:
        self._certainty = certainty
        self.rows: list[tuple[object, ...]] = []

    def add(self, plot: Plot, run: str) -> None:
        """Add the list of a plot by a run."""
        place = (plot.plot_id, plot.source, plot.place, plot.date)
        if not plot.lists[run]:
            self.rows.append((*place, *[None] * (len(_PLOT_COLUMNS) + len(_CERTAINTY_COLUMNS) - len(place))))
        for one in plot.lists[run]:
            named = self._certainty.species[one.species_id]
            sure, unknown = self._certainty.of_listed(plot, run, one)
            values = (one.confidence, one.coverage, sure and sure.probability, unknown)
            *shares, probability, strange = [None if value is None else round(value, _DIGITS) for value in values]
            certainty = (sure and sure.rank, self._certainty.name(sure), probability, strange)
            self.rows.append((*place, one.species_id, named.full_name, named.family, *shares, *certainty))

    def write(self, folder: Path) -> None:
        """Write the file."""
        write_csv(folder / PLOTS_FILE, (*_PLOT_COLUMNS, *_CERTAINTY_COLUMNS), self.rows)


def write_species(folder: Path, species: Mapping[int, Species], plots: Mapping[int, int]) -> None:
    """Write `species.csv`: the species of the survey with their number of plots, the most frequent first."""
    ordered = sorted(plots, key=lambda one: (-plots[one], species[one].name))
    rows = [
        (one, species[one].full_name, species[one].genus, species[one].family, species[one].gbif_id, plots[one])
        for one in ordered
    ]
    write_csv(folder / SPECIES_FILE, ("species_id", "species", "genus", "family", "gbif_species_id", "plots"), rows)


def write_changes(lake: Lake, previous: str | None, folder: Path) -> Changes | None:
    """Compare `plots.csv` with that of the previous report and write `changes.csv`.

    None, and no file, without a previous report or where nothing changed: a rebuilt report is the same.

    Args:
        lake: the lake.
        previous: name of the previous report's plots.csv below the root of the lake.
        folder: of the pages.
    """
    if previous is None:
        return None
    try:
        before = _species_of_plots(lake.local(lake.path_named(previous)))
    except OSError:
        return None
    now = _species_of_plots(folder / PLOTS_FILE)
    rows = []
    for plot in sorted(now.keys() & before.keys()):
        for change, found in (("gained", now[plot] - before[plot]), ("lost", before[plot] - now[plot])):
            rows += [(plot, change, species_id, name) for species_id, name in sorted(found)]
    new = len(now.keys() - before.keys())
    if not rows and not new:
        return None
    write_csv(folder / CHANGES_FILE, ("plot_id", "change", "species_id", "species"), rows)
    kinds = [change for _, change, _, _ in rows]
    return Changes(len({plot for plot, *_ in rows}), kinds.count("gained"), kinds.count("lost"), new)


def _species_of_plots(file: Path) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream):
            species = found[row["plot_id"]]
            if row["species_id"]:
                species.add((row["species_id"], row["species"]))
    return found
