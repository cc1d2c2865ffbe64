"""Base against fine-tuned features: `python -m benchmarks.comparison [--seeds 1 2 3]`.

Runs the whole chain of the `PLANTCLEF_…` settings once for each seed, preferably in a separate lake (`PLANTCLEF_LAKE`);
artifacts that do not depend on the seed are computed once. Then prints the accuracy on the val photographs, the F1 of
plots, and the differences due to fine-tuning: paired differences over photographs and plots, averaged over the seeds,
with 95 % intervals that resample whole observations and transects.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from plantclef_assets.ingest.fetching import fetch_file
from plantclef_assets.ingest.validation_split import split_rows
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.classifier_files import read_classifier
from plantclef_assets.models.feature_sets import feature_set
from plantclef_assets.models.features import read_features
from plantclef_assets.scoring.comparison import paired_difference
from plantclef_assets.scoring.metrics import f1_score
from plantclef_assets.scoring.plot_names import transect_of
from plantclef_assets.scoring.submission_format import read_submission
from plantclef_assets.settings import Settings, load_settings

Scores = dict[str, np.ndarray]
"""Name → one score for each photograph or plot."""


def main() -> None:
    """Run the chain for each seed, and print the comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    photographs: list[Scores] = []
    plots: list[Scores] = []
    observations, transects = [], []
    for seed in parser.parse_args().seeds:
        print(f"seed {seed}", flush=True)
        variables = os.environ | {"PLANTCLEF_SEED": str(seed)}
        command = [sys.executable, "-m", "plantclef_assets"]
        made = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
        if made.returncode:
            sys.exit(f"{made.stdout}{made.stderr}\nthe chain failed at seed {seed}; the reason is above")
        settings = load_settings(seed=seed)
        scores, observations = score_photographs(settings)
        photographs.append(scores)
        scores, transects = score_plots(settings)
        plots.append(scores)
    report("accuracy on val", photographs, observations, {"base_cls": ("finetuned_cls", "finetuned_head")})
    report("F1 of plots", plots, transects, comparable_runs(load_settings()))


def score_photographs(settings: Settings) -> tuple[Scores, list[str]]:
    """Return the correctness of each [CLS] classifier on the val photographs, and their observations."""
    lake, scores, groups = Lake(settings.lake), {}, []
    for features in map(feature_set, settings.feature_sets):
        if features.column != "cls":
            continue
        shards = [Artifact(f"{features.backbone}_embeddings", key) for key in shard_keys(settings.training_shards)]
        matrix = read_features(lake, shards, features.column)
        _, val = split_rows(
            matrix.learn_tag,
            matrix.obs_id,
            validation_share=settings.classifier.validation_share,
            seed=settings.seed,
        )
        classifier = read_classifier(lake.local(lake.path(Artifact("classifier", features.name, "safetensors"))))
        named = classifier.top_k(matrix.features[val], 1)[0][:, 0]
        scores[features.name] = (named == matrix.species_id[val]).astype(float)
        groups = [str(matrix.obs_id[row] or f"row {row}") for row in np.flatnonzero(val)]
    return scores, groups


def score_plots(settings: Settings) -> tuple[Scores, list[str]]:
    """Return the F1 of each run on every plot with a known truth, and their transects."""
    if settings.plot_truth is None:
        return {}, []
    truth_file = fetch_file(settings.resolve(settings.plot_truth), Path(settings.cache))
    truth = {row.plot_id: row.species_ids for row in read_submission(truth_file)}
    scores: Scores = {}
    for run in settings.active_runs:
        answers = {
            row.plot_id: row.species_ids for row in read_submission(Path(settings.lake, "submission", f"{run}.csv"))
        }
        scores[run] = np.array([f1_score(species, answers.get(plot, ())) for plot, species in truth.items()])
    return scores, [transect_of(plot, settings.transect_patterns) for plot in truth]


def comparable_runs(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the fine-tuned runs that differ from each run of base_cls in their features only."""
    runs = settings.active_runs
    return {
        name: tuple(
            other
            for other, finetuned in runs.items()
            if feature_set(finetuned.feature_set).backbone == "finetuned"
            and finetuned.model_dump(exclude={"feature_set"}) == run.model_dump(exclude={"feature_set"})
        )
        for name, run in runs.items()
        if run.feature_set == "base_cls"
    }


def report(title: str, by_seed: list[Scores], groups: list[str], pairs: Mapping[str, tuple[str, ...]]) -> None:
    """Print the scores of each seed, and the differences of the pairs."""
    if not groups:
        return
    print(f"\n{title} ({len(groups)}, in {len(set(groups))} groups)")
    for name in by_seed[0]:
        each = [scores[name].mean() for scores in by_seed]
        print(f"  {name:28} {np.mean(each):.3f}   seeds: {', '.join(f'{one:.3f}' for one in each)}")
    for name, others in pairs.items():
        for other in others:
            first, second = (np.stack([scores[one] for scores in by_seed]) for one in (name, other))
            print(f"  {other} − {name}: {paired_difference(first, second, groups)}")


if __name__ == "__main__":
    main()
