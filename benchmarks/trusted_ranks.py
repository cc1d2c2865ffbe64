"""How often a trusted species, genus or family is right: `python -m benchmarks.trusted_ranks`.

Reads the lake of the settings. The thresholds are those of the report, calibrated on validation photographs. They are
tried on these photographs, and on the tiles of the composed validation plots, where an answer is right if the taxon
grows anywhere on the plot.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.results import Results, describe_machine
from plantclef_assets.errors import UserError
from plantclef_assets.ingest.validation_plots import read_truth
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.classifier_files import open_classifier
from plantclef_assets.models.feature_sets import feature_set
from plantclef_assets.models.val_predictions import BEST
from plantclef_assets.report.site.certainty import read_validation
from plantclef_assets.report.site.species import read_species
from plantclef_assets.scoring.ranks import RANKS, Candidates, Taxa, Thresholds, calibrate, lowest_sure
from plantclef_assets.settings import Settings, load_settings

UNITS = dict.fromkeys(["threshold", "photographs", "right photographs", "tiles", "right tiles"], "")
"""Number of answers, and the share of them that is right; of the rank alone."""
Truths = Iterable[tuple[Iterable[int], Candidates]]


def main() -> None:
    """Measure every feature set of the settings' lake, and print a table for each of its tilings."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trusted_ranks", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("trusted_ranks.json"), help="JSON file of the numbers")
    measure(load_settings(), Results(parser.parse_args().output, describe_machine()))


def measure(settings: Settings, results: Results) -> None:
    """Add a table for each feature set and tiling that a run uses."""
    if not settings.composes_plots:
        raise UserError("There are no composed validation plots to measure on; set PLANTCLEF_VALIDATION__PLOTS.")
    lake = Lake(settings.lake, settings.cache)
    taxa = {one.species_id: (one.genus, one.family) for one in read_species(lake).values()}
    for name, tiling in sorted({(run.feature_set, run.tiling) for run in settings.active_runs.values()}):
        thresholds = calibrate(read_validation(lake, name), taxa, settings.rank_precision)
        photographs = _count((((truth,), best) for truth, best in read_validation(lake, name)), taxa, thresholds)
        tiles = _count(_tiles(lake, settings.validation.shard_keys, name, tiling), taxa, thresholds)
        results.start(f"trusted ranks, {name}, {tiling} tiles of composed plots", UNITS)
        for rank in RANKS:
            threshold, (shown, right), (cut, found) = thresholds[rank], photographs[rank], tiles[rank]
            values = {} if threshold is None else {"threshold": threshold}
            values |= {"photographs": shown} | ({"right photographs": right / shown} if shown else {})
            results.add(rank, values | {"tiles": cut} | ({"right tiles": found / cut} if cut else {}))


def _tiles(lake: Lake, shards: Iterable[str], name: str, tiling: str) -> Iterator[tuple[Iterable[int], Candidates]]:
    """Yield the true species of the plot, and the likeliest ones, of each tile."""
    features, classifier, shards = feature_set(name), open_classifier(lake, name), list(shards)
    truth = read_truth(lake, shards)
    for key in shards:
        artifact = Artifact(f"{features.backbone}_validation_tile_embeddings", key)
        rows = lake.read(artifact, ["plot_id", features.column], [("tiling", "=", tiling)])
        vectors = np.asarray(rows.column(features.column).combine_chunks().flatten(), np.float32)
        species, probability = classifier.top_k(vectors.reshape(rows.num_rows, -1), BEST)
        for plot, *best in zip(rows.column("plot_id").to_pylist(), species.tolist(), probability.tolist(), strict=True):
            yield truth[plot], list(zip(*best, strict=True))


def _count(truths: Truths, taxa: Taxa, thresholds: Thresholds) -> dict[str, tuple[int, int]]:
    """Return how often each rank answers, and how often it is right."""
    found = {rank: [0, 0] for rank in RANKS}
    for truth, candidates in truths:
        answer = lowest_sure(candidates, taxa, thresholds)
        if answer is not None:
            true = {(one, *taxa.get(one, (None, None)))[RANKS.index(answer.rank)] for one in truth}
            found[answer.rank][0] += 1
            found[answer.rank][1] += answer.taxon in true
    return {rank: (count, right) for rank, (count, right) in found.items()}


if __name__ == "__main__":
    main()
