"""Submissions and the leaderboard as artifacts of the lake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from plantclef_assets.lake.schemas import LEADERBOARD, SUBMISSION
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Artifact, Lake, LakePath
from plantclef_assets.lake.tables import write_table
from plantclef_assets.scoring.aggregation import COLUMNS, aggregate
from plantclef_assets.scoring.metrics import score_submission
from plantclef_assets.scoring.submissions import (
    DIALECTS,
    format_submission,
    read_submission,
    validate_submission,
)


class InvalidSubmissionError(ValueError):
    """A submission that the challenge would refuse."""


@dataclass(frozen=True)
class Run:
    """How one row of the leaderboard comes about."""

    feature_set: str
    tiling: str
    aggregation: str
    parameters: Mapping[str, Any]
    revisits: str | None = None
    """How the visits to a place are fused, if they are."""

    @property
    def label(self) -> str:
        """The aggregation with its parameters, as the leaderboard shows it."""
        values = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        rule = f"{self.aggregation}({values})" if values else self.aggregation
        return f"{rule}, {self.revisits} of revisits" if self.revisits else rule


@dataclass(frozen=True)
class Submissions:
    """Makes the submission of one run: the parquet artifact, and beside it a CSV in each dialect."""

    lake: Lake
    runs: Mapping[str, Run]
    plot_shards: Sequence[str]
    dialect: str

    def __call__(self, shard: Shard) -> None:
        """Write the files of one run; the parquet comes last, so what it describes is there.

        Every plot of the manifest has a row; one that could not be read has an empty list.

        Raises:
            InvalidSubmissionError: the challenge would refuse it.
        """
        run = self.runs[shard.artifact.partition or ""]
        answers = aggregate(self._predictions(run), run.aggregation, run.parameters, revisits=run.revisits)
        plots = self.lake.read(Artifact("plot_manifest"), ["plot_id"]).column("plot_id").to_pylist()
        rows = [(plot, answers.get(plot, [])) for plot in sorted(plots)]
        species = self.lake.read(Artifact("class_map"), ["species_id"]).column("species_id").to_pylist()
        problems = validate_submission(rows, plots, species)
        if problems:
            raise InvalidSubmissionError(f"{shard.artifact} is not published: {'; '.join(problems[:5])}")
        for dialect, path in submission_files(self.lake, shard.artifact, self.dialect).items():
            with self.lake.publish(path) as temporary:
                temporary.write_text(format_submission(rows, dialect), encoding="utf-8", newline="")
        with write_table(self.lake, shard.artifact, SUBMISSION, shard.provenance) as table:
            table.write_rows(
                run=[shard.artifact.partition] * len(rows),
                plot_id=[plot for plot, _ in rows],
                species_ids=[answer for _, answer in rows],
            )
            table.figures = {
                "rows_in": len(plots),
                "quarantined": 0,
                "empty": sum(not answer for _, answer in rows),
                "species_per_plot": sum(len(answer) for _, answer in rows) / max(len(rows), 1),
                "distinct_species": len({species_id for _, answer in rows for species_id in answer}),
            }

    def _predictions(self, run: Run) -> pa.Table:
        filters = [("feature_set", "=", run.feature_set), ("tiling", "=", run.tiling)]
        shards = [Artifact("tile_predictions", key) for key in self.plot_shards]
        return pa.concat_tables(self.lake.read(shard, list(COLUMNS), filters=filters) for shard in shards)


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
        """Write the table, the best run first; without a truth the scores are null."""
        truth = {row.plot_id: row.species_ids for row in read_submission(self.truth)} if self.truth else {}
        rows = [self._row(name, run, truth) for name, run in self.runs.items()]
        rows.sort(key=lambda row: (-(row["f1_plot"] or 0.0), row["run"]))
        with write_table(self.lake, shard.artifact, LEADERBOARD, shard.provenance) as table:
            table.write(pa.RecordBatch.from_pylist(rows, schema=LEADERBOARD.schema()))
            table.figures = {"rows_in": len(self.runs), "quarantined": 0}

    def _row(self, name: str, run: Run, truth: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        submission = self.lake.read(Artifact("submission", name)).to_pylist()
        answers = {row["plot_id"]: row["species_ids"] for row in submission}
        known = {plot: species for plot, species in truth.items() if plot in answers}
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
