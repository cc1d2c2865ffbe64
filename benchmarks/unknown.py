"""How well unknown scores find species that nobody trained on: `python -m benchmarks.unknown`.

Reads the embeddings of training photographs in the lake of the settings, so the results are those of your survey.
In each of several draws a quarter of the species is left out, a closed form is fitted to the training photographs of
the others and calibrated, and every validation photograph gets its scores. AUROC is the probability that a photograph
of a species that was left out scores higher than one of a known species; 0.5 is chance.

A fine-tuned backbone has seen photographs of all species, so its figures are optimistic.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.results import Results, describe_machine
from plantclef_assets.errors import UserError
from plantclef_assets.ingest.validation_split import Sides, split_sides
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.closed_form import STARTS
from plantclef_assets.models.feature_sets import TRAINED, feature_set
from plantclef_assets.models.features import FeatureMatrix, read_features
from plantclef_assets.models.fitting import fit_classifier
from plantclef_assets.models.novelty import SCORES, unknown_scores
from plantclef_assets.models.training_config import TrainingConfig
from plantclef_assets.settings import Settings, load_settings

UNITS = dict.fromkeys([*SCORES, "least", "greatest", "accuracy"], "")
"""The mean AUROC of each score, the extremes of the first score, and the mean accuracy on known species."""


def main() -> None:
    """Measure every feature set of the settings' lake, and print a table for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unknown", description=__doc__)
    parser.add_argument("--share", type=float, default=0.25, help="share of the species that are left out")
    parser.add_argument("--draws", type=int, default=10, help="number of draws of these species")
    parser.add_argument("--output", type=Path, default=Path("unknown.json"), help="JSON file of the numbers")
    options = parser.parse_args()
    measure(load_settings(), Results(options.output, describe_machine()), options.share, options.draws)


def measure(settings: Settings, results: Results, share: float, draws: int) -> None:
    """Add a table for each feature set that classifiers are trained on."""
    lake, shards = Lake(settings.lake, settings.cache), shard_keys(settings.training_shards)
    for name in TRAINED:
        features = feature_set(name)
        artifacts = [Artifact(f"{features.backbone}_embeddings", key) for key in shards]
        if name not in settings.feature_sets or not all(map(lake.exists, artifacts)):
            continue
        matrix = read_features(lake, artifacts, features.column)
        sides = split_sides(
            matrix.learn_tag,
            matrix.obs_id,
            matrix.species_id,
            validation_share=settings.classifier.validation_share,
            holdout_share=settings.finetuning.holdout_share,
            seed=settings.seed,
        )
        species = np.unique(matrix.species_id)
        left_out = max(1, round(share * len(species)))
        if len(species) - left_out < 2:
            raise UserError(f"{lake.root} has {len(species)} species; two have to be left when some are left out")
        results.start(f"unknown species, {name}: {left_out} of {len(species)} left out, {draws} draws", UNITS)
        for start in STARTS:
            found = list(_draws(matrix, sides, start, left_out, draws))
            mean = {metric: float(np.mean([one[metric] for one in found])) for metric in found[0]}
            first = [one[next(iter(SCORES))] for one in found]
            results.add(f"closed form {start}", mean | {"least": min(first), "greatest": max(first)})


def _draws(matrix: FeatureMatrix, sides: Sides, start: str, left_out: int, draws: int) -> Iterator[dict[str, float]]:
    """Yield the AUROC of each score, and the accuracy on known species, of each draw."""
    species = np.unique(matrix.species_id)
    for seed in range(draws):
        unknown = np.isin(matrix.species_id, np.random.default_rng(seed).choice(species, left_out, replace=False))
        known = Sides(*(side & ~unknown for side in (sides.learn, sides.holdout, sides.validation)))
        config = TrainingConfig(start=start, epochs=0)
        classifier = fit_classifier(matrix.features, matrix.species_id, known, config=config)
        features, strange = matrix.features[sides.validation], unknown[sides.validation]
        if not strange.any():
            raise UserError("no validation photograph is of a species that is left out; leave out more with --share")
        found = {name: unknown_scores(classifier, features, score) for name, score in SCORES.items()}
        yield {name: float(roc_auc_score(strange, score)) for name, score in found.items()} | {
            "accuracy": classifier.metrics["accuracy"]
        }


if __name__ == "__main__":
    main()
