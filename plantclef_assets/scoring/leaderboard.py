"""The leaderboard as an artifact of the lake, and the true species of plots that it scores against."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from plantclef_assets.images.file_names import match_plots
from plantclef_assets.lake.schemas import LEADERBOARD
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import Shard, write_table
from plantclef_assets.scoring.metrics import score_submission
from plantclef_assets.scoring.rules import Run
from plantclef_assets.scoring.submission_format import read_species_of_plots
from plantclef_assets.scoring.submissions import read_predictions


@dataclass(frozen=True)
class Leaderboard:
    """Writer of the leaderboard: every run scored over the plots whose species are known."""

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
        predictions = read_predictions(self.lake, name)
        known = known_truth(truth, predictions)
        if truth and not known:
            raise ValueError(
                f"PLANTCLEF_PLOT_TRUTH: {self.truth} names none of the survey's plots; it names "
                f"{next(iter(truth))!r}, and the survey has {next(iter(predictions), None)!r}"
            )
        row: dict[str, Any] = {
            "run": name,
            "feature_set": run.feature_set,
            "tiling": run.tiling,
            "aggregation": run.label,
            "plots_without_truth": len(predictions) - len(known),
        }
        if known:
            return row | score_submission(predictions, known, transects=self.transect_patterns).to_dict()
        scores = dict.fromkeys(("f1_plot", "f1_transect", "f1_species", "f1_micro"))
        lengths = [len(species) for species in predictions.values()]
        return row | scores | {"plots": 0, "species_per_plot": sum(lengths) / max(len(lengths), 1)}


def read_plot_truth(path: Path) -> dict[str, list[int]]:
    """Read the true species of the survey's plots: plot_id, in its normal form → species_ids.

    Raises:
        ValueError: as `read_species_of_plots`, naming the setting.
        OSError: the file cannot be read.
    """
    try:
        return read_species_of_plots(path)
    except ValueError as error:
        raise ValueError(f"PLANTCLEF_PLOT_TRUTH: {error}") from error


REVIEWED = (
    "The ground truth is the lists of a person who saw predictions while reviewing the plots, so these scores are "
    "optimistic."
)
"""The label of scores on reviewed lists, wherever scores are shown."""


def is_reviewed(truth: Path) -> bool:
    """Whether a truth is the lists of a reviewer who saw predictions: `NAME.review.json` lies beside `NAME.csv`."""
    return truth.with_suffix(".review.json").is_file()


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
