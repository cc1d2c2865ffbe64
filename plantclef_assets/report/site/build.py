"""Building the report: reads the lake once, writes the folder of pages, and returns the start page."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from plantclef_assets.images.decoding import UndecodableImage
from plantclef_assets.lake.sites import current_pages, write_site
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.report.site.certainty import Certainty
from plantclef_assets.report.site.classifier_pages import describe_classifiers
from plantclef_assets.report.site.occurrences import Occurrence, summarize_occurrences
from plantclef_assets.report.site.pages import Pages
from plantclef_assets.report.site.pictures import write_plot
from plantclef_assets.report.site.plot_data import Summary, describe_plot, summarize
from plantclef_assets.report.site.quarantined import read_quarantine
from plantclef_assets.report.site.scope import FailedCheck, Scope
from plantclef_assets.report.site.species import Confusion, Species, read_confusions, read_species, write_photographs
from plantclef_assets.report.site.survey import BEST, COVER, Plot, page_of, read_plots
from plantclef_assets.report.site.tables import PLOTS_FILE, PlotTable, write_changes, write_species
from plantclef_assets.scoring.leaderboard import REVIEWED, known_truth, read_plot_truth
from plantclef_assets.scoring.plot_names import place_of
from plantclef_assets.scoring.submissions import read_predictions

ASSET = "plot_report"
_SAMPLE, _COMMON, _DIFFERENT, _SHOWN, _LISTED = 12, 15, 24, 48, 1000
"""Plots on the start page, frequent species there, plots on which runs differ, plots on the page of a species, and
species in the list of all."""
_CONFUSED = 4
_FOLDERS = ("plots", "species", "data", "quarantine")


@dataclass(frozen=True)
class PlotReport:
    """Writer of the report.

    Attributes:
        lake: the lake.
        scope: what the report covers.
        quarantined: artifacts whose quarantine is shown.
        failed_checks: returns the checks that do not pass.
        advance: called with the number of plots that are done.
    """

    lake: Lake
    scope: Scope
    quarantined: Sequence[Artifact] = ()
    failed_checks: Callable[[], Sequence[FailedCheck]] = tuple
    advance: Callable[[int], None] = field(default=lambda plots: None)

    def __call__(self, shard: Shard) -> None:
        """Write and publish the site.

        Raises:
            ValueError: the ground truth cannot be used.
        """
        write_site(self.lake, shard, lambda folder: _Report(self, folder).write())


@dataclass
class _Report:
    """One report while it is written."""

    maker: PlotReport
    folder: Path
    plots: list[Summary] = field(default_factory=list)
    occurrences: dict[int, list[Occurrence]] = field(default_factory=lambda: defaultdict(list))

    def write(self) -> tuple[str, Mapping[str, Any]]:
        """Write all pages, and return the start page and the statistics."""
        for name in _FOLDERS:
            (self.folder / name).mkdir()
        self.pages.write_static()
        write_photographs(self.lake, self.scope.training_shards, self.species, self._wanted, self.folder)
        table = PlotTable(self.certainty)
        self._write_plots(table)
        table.write(self.folder)
        previous = current_pages(self.lake, ASSET)
        changes = write_changes(self.lake, f"{ASSET}/{previous}/{PLOTS_FILE}" if previous else None, self.folder)
        counts = {one: len(found) for one, found in self.occurrences.items()}
        write_species(self.folder, self.species, counts)
        self._write_gallery()
        self._write_species(counts)
        self._write_others()
        quarantine = read_quarantine(self.lake, self.maker.quarantined, self.folder, max_pixels=self.scope.max_pixels)
        self.pages.write("quarantine.html", "quarantine.html", **quarantine)
        start = self._start_page(counts, quarantine["total"], asdict(changes) if changes else None)
        review = sum(bool(plot.review) for plot in self.plots)
        return start, {"plots": len(self.plots), "species": len(counts), "to_review": review}

    @property
    def lake(self) -> Lake:
        """The lake."""
        return self.maker.lake

    @property
    def scope(self) -> Scope:
        """What the report covers."""
        return self.maker.scope

    @cached_property
    def species(self) -> dict[int, Species]:
        """All species, by id."""
        return read_species(self.lake)

    @cached_property
    def board(self) -> list[dict[str, Any]]:
        """The leaderboard, the best run first."""
        return self.lake.read(Artifact("leaderboard")).to_pylist() if self.scope.runs else []

    @cached_property
    def lists(self) -> dict[str, dict[str, list[int]]]:
        """Run → plot_id → species_ids."""
        return {run.name: dict(read_predictions(self.lake, run.name)) for run in self.scope.runs}

    @cached_property
    def truth(self) -> Mapping[str, Sequence[int]]:
        """plot_id → true species, of the survey's plots."""
        if self.scope.truth is None or not self.lists:
            return {}
        return known_truth(read_plot_truth(self.scope.truth), next(iter(self.lists.values())))

    @cached_property
    def default_run(self) -> str:
        """The run that pages show first: the best one where there is ground truth, else that of the cover."""
        scored = [row["run"] for row in self.board if row["f1_plot"] is not None]
        return scored[0] if scored else self.scope.cover_run

    @cached_property
    def certainty(self) -> Certainty:
        """What is known of the certainty of predictions."""
        return Certainty.read(self.lake, self.scope, self.species)

    @cached_property
    def pages(self) -> Pages:
        """The pages, which all know the title and the run that is shown."""
        common = {
            "title": self.scope.title,
            "default_run": self.default_run,
            "cover_run": self.scope.cover_run,
            "truth_count": len(self.truth),
            "species": self.species,
            "certainty": self.certainty,
            "rank_precision": self.scope.rank_precision,
        }
        return Pages(self.folder, common)

    @cached_property
    def _wanted(self) -> set[int]:
        """The species that pages show: those in lists, and those among the best of a tile."""
        wanted = {one for lists in self.lists.values() for found in lists.values() for one in found}
        for source in self.scope.sources:
            for key in source.keys:
                artifact = Artifact(source.predictions, key)
                if self.lake.exists(artifact):
                    rows = self.lake.read(artifact, ["species_id"], [("rank", "<=", BEST)])
                    wanted |= set(rows.column("species_id").unique().to_pylist())
        return wanted & self.species.keys()

    def _write_plots(self, table: PlotTable) -> None:
        for source in self.scope.sources:
            ids = sorted(
                one
                for key in source.keys
                for one in self.lake.read(Artifact(source.plots, key), ["plot_id"]).column("plot_id").to_pylist()
            )
            pages = [page_of(one, source.title) for one in ids]
            after = dict(pairwise(pages))
            before = {there: here for here, there in after.items()}
            visits = defaultdict(list)
            for one in ids:
                visits[place_of(one)].append(one)
            for plot, data in read_plots(self.lake, self.scope, source, self.truth, self.lists):
                picture = self.folder / "plots" / f"{plot.page}.jpg"
                try:
                    write_plot(
                        data, picture, picture.with_name(f"{plot.page}-small.jpg"), max_pixels=self.scope.max_pixels
                    )
                except UndecodableImage:
                    continue  # it is in the quarantine of its shard
                run = self.default_run if source.has_lists else COVER
                self._add(plot, run)
                table.add(plot, run)
                self.pages.write(
                    f"plots/{plot.page}.html",
                    "plot.html",
                    plot=plot,
                    runs=list(plot.lists),
                    default_run=run,
                    reasons=plot.review_reasons(run),
                    pages=self._wanted,
                    previous=before.get(plot.page),
                    next=after.get(plot.page),
                    visits=self._visits(visits[plot.place], source.title) if source.has_lists else [],
                    data=describe_plot(plot, self.scope, self.certainty),
                )
                self.maker.advance(1)

    def _add(self, plot: Plot, run: str) -> None:
        self.plots.append(summarize(plot, run, self.species))
        for one in plot.lists[run]:
            right = None if plot.truth is None else one.species_id in plot.truth
            found = Occurrence(plot.page, plot.plot_id, plot.place, one.confidence, right)
            self.occurrences[one.species_id].append(found)

    def _visits(self, plots: Sequence[str], source: str) -> list[dict[str, Any]]:
        """Return the visits to a place by date, each with its species against those of the visit before."""
        lists = self.lists[self.default_run]
        found = []
        for before, plot in pairwise([None, *plots]):
            now, was = lists.get(plot or "", []), lists.get(before or "", []) if before else None
            kinds = [("kept" if was is None or one in was else "gained", one) for one in now]
            kinds += [("lost", one) for one in was or [] if one not in now]
            assert plot is not None
            shown = Plot(plot, source, 0, 0)
            found.append({"plot_id": plot, "page": shown.page, "date": shown.date, "changes": kinds})
        return found

    def _write_gallery(self) -> None:
        self.pages.write_data("plots", "PLOTS", {"best": self.default_run, "plots": [one.card() for one in self.plots]})
        self.pages.write_data("species", "SPECIES", [[one.species_id, one.name] for one in self.species.values()])
        dates = sorted(plot.date for plot in self.plots if plot.date)
        self.pages.write(
            "plots.html",
            "plots.html",
            regions=sorted({plot.region for plot in self.plots}),
            dates=(dates[0], dates[-1]) if dates else None,
            sources=[source.title for source in self.scope.sources],
        )

    def _write_species(self, counts: Mapping[int, int]) -> None:
        classifier = next(
            (run.feature_set for run in self.scope.runs if run.name == self.default_run and self.scope.training_shards),
            None,
        )
        confusions = read_confusions(self.lake, classifier) if classifier else {}
        for species_id in sorted(self._wanted):
            found = sorted(self.occurrences.get(species_id, ()), key=lambda one: -(one.confidence or 0))
            self.pages.write(
                f"species/{species_id}.html",
                "species_page.html",
                one=self.species[species_id],
                occurrences=found,
                record=summarize_occurrences(found),
                shown=_SHOWN,
                classifier=classifier,
                confusions=[(self._named(one), one.times) for one in confusions.get(species_id, ())[:_CONFUSED]],
                pages=self._wanted,
            )
        ordered = sorted(counts, key=lambda one: (-counts[one], self.species[one].name))
        listed = [(self.species[one], summarize_occurrences(self.occurrences[one])) for one in ordered[:_LISTED]]
        self.pages.write("species.html", "species.html", found=listed, total=len(ordered))

    def _named(self, confusion: Confusion) -> Species:
        return self.species[confusion.species_id]

    def _write_others(self) -> None:
        agreement = {run.name: {run.name: 1.0} for run in self.scope.runs}
        if self.scope.runs:
            for row in self.lake.read(Artifact("run_agreement")).to_pylist():
                agreement[row["run_a"]][row["run_b"]] = agreement[row["run_b"]][row["run_a"]] = row["jaccard"]
        compared = [plot for plot in self.plots if plot.agreement is not None]
        compared.sort(key=lambda plot: (plot.agreement, plot.plot_id))
        self.pages.write(
            "runs.html",
            "runs.html",
            board=self.board,
            runs=[run.name for run in self.scope.runs],
            agreement=agreement,
            different=compared[:_DIFFERENT],
        )
        described = describe_classifiers(
            self.lake, self.scope.feature_sets, self.species, validated=bool(self.scope.training_shards)
        )
        self.pages.write("classifiers.html", "classifiers.html", classifiers=described)

    def _start_page(self, counts: Mapping[int, int], quarantined: int, changes: Mapping[str, int] | None) -> str:
        ordered = Counter(counts).most_common(_COMMON)
        scored = [row["f1_plot"] for row in self.board if row["run"] == self.default_run]
        return self.pages.start_page(
            plots=self.plots,
            sample=sorted(self.plots, key=lambda plot: plot.page)[:_SAMPLE],
            deliveries=sum(plot.source != self.scope.sources[0].title for plot in self.plots),
            found=len(counts),
            species_count=len(self.species),
            per_plot=sum(len(plot.species) for plot in self.plots) / max(len(self.plots), 1),
            best_score=scored[0] if scored else None,
            review=sum(bool(plot.review) for plot in self.plots),
            quarantined=quarantined,
            common=[(self.species[one], count) for one, count in ordered],
            runs=self.scope.runs,
            board=self.board,
            changes=changes,
            failed_checks=self.maker.failed_checks(),
            facts=self.scope.facts,
            reviewed=REVIEWED if self.scope.reviewed else None,
        )
