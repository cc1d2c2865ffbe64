"""A generated survey with stored predictions, for benchmarks of scoring: what `rescoring` reads.

What belongs here: the tables of the lake. What does not: what is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from plantclef_assets.images.tiling import Tile, tile_boxes
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.schemas import BASE_TILE_EMBEDDINGS, CLASS_MAP, PLOT_MANIFEST, TILE_PREDICTIONS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard, write_table
from plantclef_assets.models.classifier_files import write_classifier
from plantclef_assets.models.linear import LinearClassifier
from plantclef_assets.planning.estimates import divide

FEATURE_SET, TILING = "base_cls", "1x1+2x2+7x7+8x8+9x9"
KEPT, POOL, SIDE, WIDTH = 20, 600, 3000, 768
"""Species kept of each tile; species that may grow in a plot; side of a plot, px; width of the features."""
_TRUE_SPECIES = 4


@dataclass(frozen=True)
class StoredSurvey:
    """A survey in a lake.

    Attributes:
        lake: the lake, with class map, plot manifest, classifier, tile predictions of all shards, and tile embeddings
            of the first ones.
        keys: the shards.
        truth: plot_id → species_ids.
    """

    lake: Lake
    keys: Sequence[str]
    truth: Mapping[str, Sequence[int]]


def generate_survey(folder: Path, *, plots: int, species: int, shards: int, embedded: int) -> StoredSurvey:
    """Write a survey; only the first `embedded` shards have tile embeddings, which take 1.3 GB in all.

    Each place has two visits.
    """
    random = np.random.default_rng(0)
    lake, keys = Lake(str(folder)), shard_keys(shards)
    ids = 1355868 + np.sort(random.choice(2 * species, species, replace=False))
    with write_table(lake, Artifact("class_map"), CLASS_MAP, {}) as table:
        table.write_rows(
            species_id=ids, class_index=np.arange(species), images=np.minimum(random.zipf(1.4, species), 1000)
        )
    names = (f"OPTMix-{number // 20:03}-P{number % 20 // 2}-20{20 + number % 2}0601" for number in range(plots))
    own = {key: list(islice(names, count)) for key, count in divide(plots, keys).items()}
    with write_table(lake, Artifact("plot_manifest"), PLOT_MANIFEST, {}) as table:
        for key, plot_ids in own.items():
            table.write_rows(
                plot_id=plot_ids,
                source=[f"{plot}.jpg" for plot in plot_ids],
                bytes=[1] * len(plot_ids),
                shard=[key] * len(plot_ids),
            )
    truth: dict[str, Sequence[int]] = {}
    for key in keys:
        truth |= _write_predictions(lake, key, own[key], ids, random)
    _write_classifier(lake, ids, random)
    for key in keys[:embedded]:
        _write_embeddings(lake, key, own[key], random)
    return StoredSurvey(lake, keys, truth)


def _write_predictions(
    lake: Lake, key: str, plots: Sequence[str], ids: np.ndarray, random: np.random.Generator
) -> dict[str, Sequence[int]]:
    """Write a shard of tile predictions, and return the true species of its plots: the commonest ones of the pool."""
    tiles, truth = tile_boxes(SIDE, SIDE, TILING), {}
    pool_size = min(POOL, len(ids))
    with write_shard(lake, Shard(Artifact("tile_predictions", key), {}), TILE_PREDICTIONS) as table:
        for plot in plots:
            pool = random.choice(len(ids), pool_size, replace=False)
            commonness = -1.5 * np.log(np.arange(1, pool_size + 1))
            logits = (commonness + random.gumbel(size=(len(tiles), pool_size))).astype(np.float32)
            best = np.argsort(-logits, axis=1)[:, :KEPT]
            probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            table.add_columns(
                **_places(plot, tiles, repeats=KEPT),
                feature_set=[FEATURE_SET] * best.size,
                species_id=ids[pool[best]].reshape(-1),
                probability=np.take_along_axis(probability, best, axis=1).reshape(-1),
                rank=np.tile(np.arange(1, best.shape[1] + 1), len(tiles)),
            )
            truth[plot] = ids[pool[:_TRUE_SPECIES]].tolist()
        table.rows_in = len(plots)
        table.statistics = {"rows_out": len(plots)}
    return truth


def _write_embeddings(lake: Lake, key: str, plots: Sequence[str], random: np.random.Generator) -> None:
    tiles, shard = tile_boxes(SIDE, SIDE, TILING), Shard(Artifact("base_tile_embeddings", key), {})
    with write_shard(lake, shard, BASE_TILE_EMBEDDINGS, widths={"cls": WIDTH, "dct": 64}) as table:
        for plot in plots:
            features = random.standard_normal((len(tiles), WIDTH + 64), np.float32)
            table.add_columns(**_places(plot, tiles), cls=features[:, :WIDTH], dct=features[:, WIDTH:])
        table.rows_in = len(plots)
        table.statistics = {"rows_out": len(plots)}


def _write_classifier(lake: Lake, ids: np.ndarray, random: np.random.Generator) -> None:
    path = Path(str(lake.path(Artifact("classifier", FEATURE_SET, "safetensors"))))
    path.parent.mkdir(parents=True)
    classifier = LinearClassifier(
        mean=np.zeros(WIDTH, np.float32),
        scale=np.ones(WIDTH, np.float32),
        weight=random.normal(0, 0.1, (len(ids), WIDTH)).astype(np.float32),
        bias=np.zeros(len(ids), np.float32),
        species_ids=ids,
    )
    write_classifier(path, classifier, {})


def _places(plot: str, tiles: Sequence[Tile], repeats: int = 1) -> dict[str, object]:
    """Return the columns that say which tile a row is of, each row `repeats` times."""
    sides = {"tile_index": "index", "x": "x", "y": "y", "width": "width", "height": "height"}
    numbers = {
        column: np.repeat(np.array([getattr(tile, side) for tile in tiles], np.int32), repeats)
        for column, side in sides.items()
    }
    rows = len(tiles) * repeats
    return {"plot_id": [plot] * rows, "tiling": [TILING] * rows, **numbers}
