"""The sweep as an artifact of the lake: many rules over one survey, scored on plots that did not choose them.

What does not belong here: which rules a grid contains (`rules.py`), and the scores themselves (`metrics.py`).
"""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from plantclef_assets.engines.progress import Progress
from plantclef_assets.lake.schemas import SWEEP
from plantclef_assets.lake.store import Lake
from plantclef_assets.lake.tables import Shard, write_table
from plantclef_assets.scoring.leaderboard import known_truth
from plantclef_assets.scoring.metrics import score_submission
from plantclef_assets.scoring.plot_names import place_of, region_of
from plantclef_assets.scoring.prediction import Predictions, predict_by_rules
from plantclef_assets.scoring.priors import compute_priors, images_by_species
from plantclef_assets.scoring.rules import Rule, Run
from plantclef_assets.scoring.tile_probabilities import AllClasses

HALVES = CHOOSE, REPORT = ("choose", "report")
SURVEY = "survey"
"""The part that is the survey itself, where validation plots do the choosing."""


@dataclass(frozen=True)
class LabelledPlots:
    """Plots whose species are known.

    Attributes:
        embeddings: name of the asset with the features of their tiles, without the backbone in front.
        shards: the keys of its shards.
        truth: function that reads plot_id → species_ids.
        divided: whether the plots are divided into the two `HALVES`; otherwise they are the part `SURVEY`.
    """

    embeddings: str
    shards: Sequence[str]
    truth: Callable[[], Mapping[str, Sequence[int]]]
    divided: bool


@dataclass(frozen=True)
class Sweep:
    """Writer of the table of the sweep: every rule of a grid over every feature set and tiling in use, scored."""

    lake: Lake
    surveys: Sequence[LabelledPlots]
    runs: Mapping[str, Run]
    """The declared runs: their feature sets and tilings are swept, and their rules join the grid."""
    grid: Sequence[Rule]
    transect_patterns: Sequence[str]
    region_patterns: Sequence[str]
    log: Callable[[str], None]

    def __call__(self, shard: Shard) -> None:
        """Write the table; its statistics name the rule that is best on the choosing part, and its score on the others.

        Raises:
            ValueError: no plot of a survey has a truth.
        """
        pairs = sorted({(run.feature_set, run.tiling) for run in self.runs.values()})
        rows: list[dict[str, Any]] = []
        steps = len(pairs) * len(self.surveys)
        with Progress("sweep", steps, "surveys", self.log) as progress:
            for survey in self.surveys:
                truth = survey.truth()
                for feature_set, tiling in pairs:
                    rows += self._rows(survey, truth, feature_set, tiling)
                    progress.advance(1)
        names = {(run.feature_set, run.tiling, run.rule.label): name for name, run in self._plain_runs().items()}
        for row in rows:
            row["run"] = names.get((row["feature_set"], row["tiling"], row["rule"]))
        with write_table(self.lake, shard.artifact, SWEEP, shard.provenance) as table:
            table.write(pa.RecordBatch.from_pylist(rows, schema=SWEEP.schema()))
            table.statistics = {"rows_in": len(rows), "quarantined": 0, **_statistics(rows)}

    def _rows(
        self, survey: LabelledPlots, truth: Mapping[str, Sequence[int]], feature_set: str, tiling: str
    ) -> list[dict[str, Any]]:
        plots = AllClasses.of(self.lake, feature_set, survey.embeddings, survey.shards, tiling)
        rules = self._rules(feature_set, tiling)
        region = partial(region_of, patterns=self.region_patterns)
        names = {rule.prior for rule in rules if rule.prior}
        priors = compute_priors(names, plots, images_by_species(self.lake), region)
        predictions = predict_by_rules(plots, rules, priors)
        known = known_truth(truth, next((one for one in predictions if one is not None), {}))
        if not known:
            raise ValueError(f"{plots.embeddings[0].asset}: none of its plots has a truth; nothing can be scored")
        return sweep_rows(
            rules,
            predictions,
            known,
            feature_set=feature_set,
            tiling=tiling,
            parts=halves(known) if survey.divided else {SURVEY: list(known)},
            transects=self.transect_patterns,
        )

    def _plain_runs(self) -> dict[str, Run]:
        """Return the runs without a list of species, which is made for one survey."""
        return {name: run for name, run in self.runs.items() if run.species_list is None}

    def _rules(self, feature_set: str, tiling: str) -> list[Rule]:
        """Return the rules of the declared runs, then those of the grid, each once."""
        declared = (
            run.rule for run in self._plain_runs().values() if (run.feature_set, run.tiling) == (feature_set, tiling)
        )
        return list({rule.label: rule for rule in (*declared, *self.grid)}.values())


def halves(plot_ids: Iterable[str]) -> dict[str, list[str]]:
    """Divide plots into `HALVES` with equal numbers of places: one chooses a rule, the other reports its score.

    Places are ordered by a hash of their names, so that the halves do not depend on regions. All visits to a place are
    in one half. An odd number of places leaves one more in the first half.
    """
    plots = sorted(plot_ids)
    places = sorted({place_of(plot) for plot in plots}, key=lambda place: hashlib.sha256(place.encode()).digest())
    first = set(places[: -(-len(places) // 2)])
    sides = ([plot for plot in plots if place_of(plot) in first], [p for p in plots if place_of(p) not in first])
    return dict(zip(HALVES, sides, strict=True))


def sweep_rows(
    rules: Sequence[Rule],
    predictions: Sequence[Predictions | None],
    truth: Mapping[str, Iterable[int]],
    *,
    feature_set: str,
    tiling: str,
    parts: Mapping[str, Collection[str]],
    transects: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Score the predictions of rules over parts of a survey: one row per rule and part, in this order.

    Args:
        rules: the rules.
        predictions: plot_id → species_ids by each of them (see `predict_by_rules`); None if a rule cannot be met.
        truth: plot_id → species_ids.
        feature_set: the feature set that was classified.
        tiling: the tiling of the plots.
        parts: name → plot_ids: those of `halves`, or all plots of another survey under its name. Plots without a truth
            are ignored.
        transects: as in `score_submission`.

    Returns:
        `feature_set`, `tiling`, `rule` (in words), `aggregation`, `parameters` (JSON: those of the aggregation, and
        `prior`, `prior_power` and `revisits` where set), `part`, and the scores, which are None if the rule cannot be
        met or a part has no plot with a truth.

    Raises:
        ValueError: a plot that has a truth has no prediction.
    """
    known = {part: {plot: truth[plot] for plot in plots if plot in truth} for part, plots in parts.items()}
    rows = []
    for rule, predicted in zip(rules, predictions, strict=True):
        for part, own in known.items():
            row = {
                "feature_set": feature_set,
                "tiling": tiling,
                "rule": rule.label,
                "aggregation": rule.aggregation,
                "parameters": json.dumps(rule.settings),
                "part": part,
            }
            scores = dict.fromkeys(("f1_plot", "f1_transect", "f1_species", "f1_micro", "species_per_plot"))
            row |= scores | {"plots": len(own)}
            if predicted is not None and own:
                row |= score_submission(predicted, own, transects=transects).to_dict()
            rows.append(row)
    return rows


def best_settings(rows: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return the settings with the best mean F1 on the choosing part, with their F1 on the other parts.

    Args:
        rows: the rows of the sweep.
        count: number of settings; the declared runs are appended, at any rank.

    Returns:
        `feature_set`, `tiling`, `rule`, `run` (None if no run declares it), and each part's `f1_plot` under `<part>`
        and `species_per_plot` under `<part>_species`, best first; ties in the order of the rows.
    """
    settings: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["feature_set"], row["tiling"], row["rule"])
        own = settings.setdefault(key, {**dict(zip(("feature_set", "tiling", "rule"), key, strict=True))})
        own |= {"run": row["run"], row["part"]: row["f1_plot"], f"{row['part']}_species": row["species_per_plot"]}
    ordered = sorted(settings.values(), key=lambda one: -_known(one[CHOOSE]))
    return ordered[:count] + [one for one in ordered[count:] if one["run"] is not None]


def _known(score: float | None) -> float:
    return -math.inf if score is None else score


def _statistics(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return counts of the settings, and the chosen setting."""
    chosen = best_settings(rows, 1)[0]
    parts = [part for part in (CHOOSE, REPORT, SURVEY) if part in chosen]
    return {
        "settings": len({(row["feature_set"], row["tiling"], row["rule"]) for row in rows}),
        "not_to_be_met": sum(row["f1_plot"] is None for row in rows),
        "chosen": {name: chosen[name] for name in ("feature_set", "tiling", "rule")},
        **{f"chosen_f1_{part}": chosen[part] for part in parts},
    }
