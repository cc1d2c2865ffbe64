"""Submissions, the leaderboard and the agreement of runs as artifacts of the lake."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa

from plantclef_assets.images.file_names import match_plots
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.schemas import LEADERBOARD, RUN_AGREEMENT, SUBMISSION
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.sidecars import publish_sidecars
from plantclef_assets.lake.store import Artifact, Lake, LakePath
from plantclef_assets.lake.tables import write_table
from plantclef_assets.models.features import split_feature_set
from plantclef_assets.scoring.aggregation import Answers
from plantclef_assets.scoring.agreement import effect_of_change, mean_jaccard
from plantclef_assets.scoring.distributions import Distributions
from plantclef_assets.scoring.metrics import score_submission
from plantclef_assets.scoring.plot_names import region_of
from plantclef_assets.scoring.prediction import answer_plots, answer_plots_twice
from plantclef_assets.scoring.priors import Survey, make_priors
from plantclef_assets.scoring.rules import Run
from plantclef_assets.scoring.species_lists import known_species, read_species_list
from plantclef_assets.scoring.submissions import (
    DIALECTS,
    can_hold,
    format_submission,
    read_answers,
    validate_submission,
)
from plantclef_assets.scoring.top_species import COLUMNS, top_species


class InvalidSubmissionError(ValueError):
    """A submission that the challenge would refuse."""


@dataclass(frozen=True)
class Submissions:
    """Makes the submission of one run: the parquet artifact, and beside it a CSV in each dialect."""

    lake: Lake
    runs: Mapping[str, Run]
    plot_shards: Sequence[str]
    dialect: str
    region_patterns: Sequence[str] = ()

    def __call__(self, shard: Shard) -> None:
        """Write the files of one run; the parquet comes last, so what it describes is there.

        Every plot of the manifest has a row; one that could not be read has an empty list. A CSV leaves out the plots
        whose ids its dialect cannot hold.

        Raises:
            InvalidSubmissionError: the challenge would refuse it.
            ValueError: the run's list of species has none that is known, or a mean number of species cannot be met.
        """
        run = self.runs[shard.artifact.partition or ""]
        answers, figures = self._answers(run)
        plots = self.lake.read(Artifact("plot_manifest"), ["plot_id"]).column("plot_id").to_pylist()
        rows = [(plot, answers.get(plot, [])) for plot in sorted(plots)]
        problems = validate_submission(rows, plots, self._images_by_species())
        if problems:
            raise InvalidSubmissionError(f"{shard.artifact} is not published: {'; '.join(problems[:5])}")
        files = submission_files(self.lake, shard.artifact, self.dialect)
        require_unchanged(self.lake, shard.provenance)
        left_out = {dialect: [plot for plot, _ in rows if not can_hold(dialect, plot)] for dialect in files}
        texts = {
            path: format_submission((row for row in rows if row[0] not in left_out[dialect]), dialect).encode()
            for dialect, path in files.items()
        }
        beside = publish_sidecars(self.lake, texts)
        with write_table(self.lake, shard.artifact, SUBMISSION, shard.provenance) as table:
            table.write_rows(
                run=[shard.artifact.partition] * len(rows),
                plot_id=[plot for plot, _ in rows],
                species_ids=[answer for _, answer in rows],
            )
            table.statistics = {
                "rows_in": len(plots),
                "quarantined": 0,
                "empty": sum(not answer for _, answer in rows),
                "species_per_plot": sum(len(answer) for _, answer in rows) / max(len(rows), 1),
                "left_out": left_out,
                "distinct_species": len({species_id for _, answer in rows for species_id in answer}),
                **figures,
                **beside,
            }

    def _answers(self, run: Run) -> tuple[Answers, dict[str, float]]:
        """Give the answers of a run; with a prior or a list of species also figures of what these did."""
        survey = self._distributions(run) if run.needs_all_classes else list(self._top_species(run))
        if run.rule.prior is None and run.species_list is None:
            return answer_plots(survey, run.rule), {}
        known = self._images_by_species()
        prior, species_ids, figures = None, None, {}
        if run.rule.prior:
            region = partial(region_of, patterns=self.region_patterns)
            prior = make_priors([run.rule.prior], survey, known, region).get(run.rule.prior)
        if run.species_list:
            listed = read_species_list(run.species_list)
            species_ids = known_species(run.species_list, listed, known)
            figures = {"species_listed": len(listed), "species_matched": len(species_ids)}
        plain, answers = answer_plots_twice(survey, run.rule, prior, species_ids)
        return answers, figures | effect_of_change(plain, answers)

    def _images_by_species(self) -> dict[int, int]:
        classes = self.lake.read(Artifact("class_map"), ["species_id", "images"])
        return dict(zip(classes.column("species_id").to_pylist(), classes.column("images").to_pylist(), strict=True))

    def _top_species(self, run: Run) -> Survey:
        filters = [("feature_set", "=", run.feature_set), ("tiling", "=", run.tiling)]
        shards = [Artifact("tile_predictions", key) for key in self.plot_shards]
        return top_species(pa.concat_tables(self.lake.read(shard, list(COLUMNS), filters=filters) for shard in shards))

    def _distributions(self, run: Run) -> Survey:
        from plantclef_assets.models.classifier_files import read_classifier

        backbone, column = split_feature_set(run.feature_set)
        layer = self.lake.path(Artifact("classifier", run.feature_set, "safetensors"))
        classifier = read_classifier(self.lake.local(layer))
        shards = [Artifact(f"{backbone}_tile_embeddings", key) for key in self.plot_shards]
        return Distributions(self.lake, shards, run.tiling, column, classifier)


def submission_files(lake: Lake, artifact: Artifact, dialect: str) -> dict[str, LakePath]:
    """Give the CSV of each dialect: `<run>.csv` for the profile's own, `<run>.<dialect>.csv` for the other."""
    place = lake.path(artifact)
    return {
        name: place.with_name(f"{artifact.partition}.csv" if name == dialect else f"{artifact.partition}.{name}.csv")
        for name in DIALECTS
    }


@dataclass(frozen=True)
class Leaderboard:
    """Makes the leaderboard: every run scored over the plots whose species are known."""

    lake: Lake
    runs: Mapping[str, Run]
    truth: Path | None
    transect_patterns: Sequence[str]

    def __call__(self, shard: Shard) -> None:
        """Write the table, the best run first; without a truth the scores are null.

        Raises:
            ValueError: as `read_plot_truth` and `known_truth`, or the truth names no plot of the survey.
        """
        truth = read_plot_truth(self.truth) if self.truth else {}
        rows = [self._row(name, run, truth) for name, run in self.runs.items()]
        rows.sort(key=lambda row: (-(row["f1_plot"] or 0.0), row["run"]))
        with write_table(self.lake, shard.artifact, LEADERBOARD, shard.provenance) as table:
            table.write(pa.RecordBatch.from_pylist(rows, schema=LEADERBOARD.schema()))
            table.statistics = {"rows_in": len(self.runs), "quarantined": 0}

    def _row(self, name: str, run: Run, truth: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        answers = _read_answers(self.lake, name)
        known = known_truth(truth, answers)
        if truth and not known:
            raise ValueError(
                f"PLANTCLEF_PLOT_TRUTH: {self.truth} names none of the survey's plots; it names "
                f"{next(iter(truth))!r}, and the survey has {next(iter(answers), None)!r}"
            )
        row: dict[str, Any] = {
            "run": name,
            "feature_set": run.feature_set,
            "tiling": run.tiling,
            "aggregation": run.label,
            "plots_without_truth": len(answers) - len(known),
        }
        if known:
            return row | score_submission(answers, known, transects=self.transect_patterns).to_dict()
        scores = dict.fromkeys(("f1_plot", "f1_transect", "f1_species", "f1_micro"))
        lengths = [len(answer) for answer in answers.values()]
        return row | scores | {"plots": 0, "species_per_plot": sum(lengths) / max(len(lengths), 1)}


@dataclass(frozen=True)
class RunAgreement:
    """Makes the table of how alike every two runs answer."""

    lake: Lake
    runs: Sequence[str]

    def __call__(self, shard: Shard) -> None:
        """Write one row for every two runs, in the order of their declaration.

        Raises:
            ValueError: two runs do not answer the same plots.
        """
        answers = {name: _read_answers(self.lake, name) for name in self.runs}
        lengths = {name: sum(map(len, lists.values())) / max(len(lists), 1) for name, lists in answers.items()}
        pairs = list(combinations(self.runs, 2))
        with write_table(self.lake, shard.artifact, RUN_AGREEMENT, shard.provenance) as table:
            if pairs:
                table.write_rows(
                    run_a=[one for one, _ in pairs],
                    run_b=[other for _, other in pairs],
                    jaccard=[mean_jaccard(answers[one], answers[other]) for one, other in pairs],
                    species_per_plot_a=[lengths[one] for one, _ in pairs],
                    species_per_plot_b=[lengths[other] for _, other in pairs],
                    plots=[len(answers[one]) for one, _ in pairs],
                )
            table.statistics = {"rows_in": len(pairs), "quarantined": 0, "runs": len(self.runs)}


def read_plot_truth(path: Path) -> dict[str, list[int]]:
    """Read the true species of the survey's plots: plot_id, in its normal form → species_ids.

    Raises:
        ValueError: as `read_answers`, naming the setting.
        OSError: the file cannot be read.
    """
    try:
        return read_answers(path)
    except ValueError as error:
        raise ValueError(f"PLANTCLEF_PLOT_TRUTH: {error}") from error


def known_truth(truth: Mapping[str, Sequence[int]], plots: Collection[str]) -> dict[str, Sequence[int]]:
    """Return the true species of those plots that a truth names, in the order of the plots (see `match_plots`).

    Raises:
        ValueError: two names of the truth are the same plot.
    """
    try:
        matched = match_plots(truth, plots)
    except ValueError as error:
        raise ValueError(f"PLANTCLEF_PLOT_TRUTH: {error}") from error
    return {plot: matched[plot] for plot in plots if plot in matched}


def _read_answers(lake: Lake, run: str) -> Answers:
    rows = lake.read(Artifact("submission", run), ["plot_id", "species_ids"]).to_pylist()
    return {row["plot_id"]: row["species_ids"] for row in rows}
