"""The sweep as an artifact of the lake: every rule of a grid, over every feature set and tiling in use, scored."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from plantclef_assets.engines.progress import Progress
from plantclef_assets.lake.schemas import SWEEP
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import write_table
from plantclef_assets.models.features import split_feature_set
from plantclef_assets.scoring.artifacts import known_truth
from plantclef_assets.scoring.distributions import Distributions
from plantclef_assets.scoring.plot_names import region_of
from plantclef_assets.scoring.prediction import answer_rules
from plantclef_assets.scoring.priors import make_priors
from plantclef_assets.scoring.rules import Rule, Run
from plantclef_assets.scoring.sweep import HALVES, halves, sweep_rows

CHOOSE, REPORT = HALVES
SURVEY = "survey"
"""The part that is the survey itself, where validation plots do the choosing."""


@dataclass(frozen=True)
class LabelledPlots:
    """Plots whose species are known.

    Attributes:
        embeddings: what follows the backbone in the name of the asset that holds the features of their tiles.
        shards: the keys of its shards.
        truth: reads plot_id → species_ids.
        divided: whether its plots are divided in two halves, one to choose by; else they are the part `SURVEY`.
    """

    embeddings: str
    shards: Sequence[str]
    truth: Callable[[], Mapping[str, Sequence[int]]]
    divided: bool


@dataclass(frozen=True)
class Sweep:
    """Makes the table of the sweep."""

    lake: Lake
    surveys: Sequence[LabelledPlots]
    runs: Mapping[str, Run]
    """The declared runs: their feature sets and tilings are swept, and their rules join the grid."""
    grid: Sequence[Rule]
    transect_patterns: Sequence[str]
    region_patterns: Sequence[str]
    log: Callable[[str], None]

    def __call__(self, shard: Shard) -> None:
        """Write the table; its figures say which row was best where choosing was allowed, and how good it is elsewhere.

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
            table.statistics = {"rows_in": len(rows), "quarantined": 0, **_figures(rows)}

    def _rows(
        self, survey: LabelledPlots, truth: Mapping[str, Sequence[int]], feature_set: str, tiling: str
    ) -> list[dict[str, Any]]:
        from plantclef_assets.models.classifier_files import read_classifier

        backbone, column = split_feature_set(feature_set)
        layer = self.lake.path(Artifact("classifier", feature_set, "safetensors"))
        classifier = read_classifier(self.lake.local(layer))
        shards = [Artifact(f"{backbone}_{survey.embeddings}", key) for key in survey.shards]
        plots = Distributions(self.lake, shards, tiling, column, classifier)
        rules = self._rules(feature_set, tiling)
        region = partial(region_of, patterns=self.region_patterns)
        priors = make_priors({rule.prior for rule in rules if rule.prior}, plots, self._images(), region)
        answers = answer_rules(plots, rules, priors)
        answered = next(iter(one for one in answers if one is not None), {})
        known = known_truth(truth, answered)
        if not known:
            raise ValueError(f"{backbone}_{survey.embeddings}: none of its plots has a truth; nothing can be scored")
        return sweep_rows(
            rules,
            answers,
            known,
            feature_set=feature_set,
            tiling=tiling,
            parts=halves(known) if survey.divided else {SURVEY: list(known)},
            transects=self.transect_patterns,
        )

    def _plain_runs(self) -> dict[str, Run]:
        """Give the runs that are a rule and nothing else; a list of species is of one survey, not of any."""
        return {name: run for name, run in self.runs.items() if run.species_list is None}

    def _rules(self, feature_set: str, tiling: str) -> list[Rule]:
        """Give the rules of the declared runs, then those of the grid, each once."""
        declared = (
            run.rule for run in self._plain_runs().values() if (run.feature_set, run.tiling) == (feature_set, tiling)
        )
        return list({rule.label: rule for rule in (*declared, *self.grid)}.values())

    def _images(self) -> dict[int, int]:
        classes = self.lake.read(Artifact("class_map"), ["species_id", "images"])
        return dict(zip(classes.column("species_id").to_pylist(), classes.column("images").to_pylist(), strict=True))


def best_settings(rows: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Give the settings with the best mean F1 of plots where choosing is allowed, with that of the other parts.

    Args:
        rows: of the sweep.
        count: how many to give; the declared runs follow them, wherever they stand.

    Returns:
        `feature_set`, `tiling`, `rule`, `run` (None if it is none), and `f1_plot` and `species_per_plot` of each part
        under `<part>` and `<part>_species`, best first; equal ones in the order of the rows.
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


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Count what was tried, and tell the setting that was chosen."""
    chosen = best_settings(rows, 1)[0]
    parts = [part for part in (CHOOSE, REPORT, SURVEY) if part in chosen]
    return {
        "settings": len({(row["feature_set"], row["tiling"], row["rule"]) for row in rows}),
        "not_to_be_met": sum(row["f1_plot"] is None for row in rows),
        "chosen": {name: chosen[name] for name in ("feature_set", "tiling", "rule")},
        **{f"chosen_f1_{part}": chosen[part] for part in parts},
    }
