"""Scoring stored predictions again: 2,105 plots × 199 tiles × the best 20 species of each tile.

The lake is generated (`stored_survey`): `tile_predictions` in 16 shards, as the product writes them, and tile
embeddings with a classifier of 7,806 species. Tiles name species of a pool of 600 for each plot, so that a plot has
some hundred candidates. Measured are

- the submission of a run from stored predictions, which reads them, scores and selects, and writes table and CSV files;
- the same of a run that needs all classes, which first classifies all tiles anew; unless with `--full`, it is
  extrapolated from two parts of the survey by a straight line;
- a sweep of 500 settings over stored predictions, each scored on two halves of the plots.

A run must write the same bytes each time, and the sweep must predict for a run's rule what that run submits.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.memory import PeakMemory
from benchmarks.results import Results
from benchmarks.stored_survey import FEATURE_SET, KEPT, SIDE, TILING, StoredSurvey, generate_survey
from benchmarks.timing import Size
from plantclef_assets.images.tiling import tile_boxes
from plantclef_assets.lake.store import Artifact
from plantclef_assets.lake.tables import Shard
from plantclef_assets.scoring.prediction import Predictions, predict_by_rules
from plantclef_assets.scoring.rules import Rule, Run, expand_grid
from plantclef_assets.scoring.submissions import Submissions, read_predictions
from plantclef_assets.scoring.sweep import halves, sweep_rows
from plantclef_assets.scoring.tile_probabilities import read_stored_predictions

PLOTS, SPECIES, SHARDS, SETTINGS, ROUNDS = 2105, 7806, 16, 500, 3
RUNS = {
    "stored": Run(FEATURE_SET, TILING, Rule("max", {"species_per_plot": 3, "min_species": 1})),
    "all_classes": Run(FEATURE_SET, TILING, Rule("mean", {"species_per_plot": 3, "min_species": 1})),
}
GRID = {
    "max": {"species_per_plot": list(range(1, 10)), "min_score": ["none", 0.05, 0.1, 0.2], "min_species": [1]},
    "topk_union": {
        "top_per_tile": [1, 2, 3, 5, 8],
        "min_score": ["none", 0.1, 0.2, 0.3, 0.5],
        "species_per_plot": ["none", 5],
        "min_species": [1],
    },
    "vote": {"min_votes": [1, 2, 3, 4], "species_per_plot": ["none", 3, 5], "min_species": [1]},
    "threshold": {"min_score": [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], "min_species": [1, 2]},
    "bisection": {"mean_species_per_plot": [2, 2.5, 3, 3.5, 4, 4.5, 5], "scored_by": ["max", "vote"]},
    "revisits": ["none", "union", "vote", "mean"],
}
"""Rules that stored predictions are enough for; the first `SETTINGS` of them are swept."""
T = TypeVar("T")
UNITS = {"seconds": "s", "slowest": "s", "fastest": "s", "peak RSS": "MB"}


def submit(survey: StoredSurvey, name: str, shards: int) -> bytes:
    """Write the submission of a run from the first shards, and return its CSV."""
    make = Submissions(survey.lake, RUNS, survey.keys[:shards], "2025")
    make(Shard(Artifact("submission", name), {}))
    return Path(survey.lake.root, "submission", f"{name}.csv").read_bytes()


def sweep(survey: StoredSurvey, rules: list[Rule]) -> list[Predictions | None]:
    """Predict by all rules from stored predictions, and score them."""
    stored = read_stored_predictions(survey.lake, survey.keys, FEATURE_SET, TILING)
    predictions = predict_by_rules(stored, rules, {})
    rows = sweep_rows(
        rules, predictions, survey.truth, feature_set=FEATURE_SET, tiling=TILING, parts=halves(survey.truth)
    )
    assert len(rows) == 2 * len(rules), "a sweep has a row for each rule and half"
    return predictions


def measure(results: Results, size: Size) -> None:
    """Measure one run from stored predictions, one from all classes, and a sweep."""
    small = size is Size.SMALL
    plots, species = (32, 60) if small else (PLOTS, SPECIES)
    embedded = SHARDS if size is Size.FULL else 2
    rules = expand_grid(GRID)[: 40 if small else SETTINGS]
    with tempfile.TemporaryDirectory() as folder:
        survey = generate_survey(Path(folder), plots=plots, species=species, shards=SHARDS, embedded=embedded)
        tiles = len(tile_boxes(SIDE, SIDE, TILING))
        results.start(f"scoring again: {plots:,} plots × {tiles} tiles × best {KEPT} species", UNITS)
        files = add_seconds(results, "one run, stored predictions", lambda: submit(survey, "stored", SHARDS), ROUNDS)
        assert len(set(files)) == 1, "a run does not write the same submission each time"
        (predictions,) = add_seconds(results, f"sweep of {len(rules)} settings", lambda: sweep(survey, rules), 1)
        swept = predictions[rules.index(RUNS["stored"].rule)]
        assert swept == read_predictions(survey.lake, "stored"), "the sweep predicts other species than the run"
        if size is Size.FULL:
            add_seconds(results, "one run, all classes", lambda: submit(survey, "all_classes", SHARDS), 1)
        else:
            extrapolate_all_classes(results, survey)


def add_seconds(results: Results, arm: str, work: Callable[[], T], rounds: int) -> list[T]:
    """Add the seconds and the peak memory of some rounds, and return their results."""
    seconds, found = [], []
    with PeakMemory() as memory:
        for _ in range(rounds):
            start = time.perf_counter()
            found.append(work())
            seconds.append(time.perf_counter() - start)
    times = (statistics.median(seconds), max(seconds), min(seconds))
    results.add(arm, dict(zip(UNITS, (*times, memory.bytes / 1e6), strict=True)))
    return found


def extrapolate_all_classes(results: Results, survey: StoredSurvey) -> None:
    """Measure one shard and two, and add the seconds of all on the line through both."""
    seconds = {}
    for shards in (1, 2):
        arm = f"one run, all classes, {shards} of {SHARDS} shards"
        add_seconds(results, arm, lambda shards=shards: submit(survey, "all_classes", shards), 1)
        seconds[shards] = results.rows[-len(UNITS)].value or 0.0
    slope = seconds[2] - seconds[1]
    results.add("one run, all classes (extrapolated)", {"seconds": seconds[1] + (SHARDS - 1) * slope})
