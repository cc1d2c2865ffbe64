"""Unknown scores as tables of the lake: those of validation photographs, and those of tiles compared with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plantclef_assets.lake.schemas import TILE_NOVELTY, VAL_NOVELTY
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard, write_table
from plantclef_assets.models.classifier_files import open_classifier
from plantclef_assets.models.novelty import quantiles, unknown_scores
from plantclef_assets.models.tile_predictions import read_tiles
from plantclef_assets.models.val_predictions import ValidationPhotographs


@dataclass(frozen=True)
class ValNovelty:
    """Writer of the unknown scores of the photographs that validate a classifier; their species are known."""

    lake: Lake
    photographs: ValidationPhotographs

    def __call__(self, shard: Shard) -> None:
        """Write the table of one classifier."""
        name = shard.artifact.partition or ""
        classifier, validates = open_classifier(self.lake, name), self.photographs.validates(name)
        with write_table(self.lake, shard.artifact, VAL_NOVELTY, shard.provenance) as table:
            for photographs, features in self.photographs.batches(name, validates):
                table.write_rows(
                    feature_set=[name] * photographs.num_rows,
                    image_name=photographs.column("image_name"),
                    score=unknown_scores(classifier, features),
                )
            table.statistics = {"rows_in": int(validates.sum()), "quarantined": 0}


@dataclass(frozen=True)
class TileNovelty:
    """Writer of shards of the unknown scores of tiles, by every classifier of a run.

    Attributes:
        lake: the lake.
        pairs: of a classifier's name and a tiling.
        tiles: backbone → asset of its tile embeddings.
    """

    lake: Lake
    pairs: Sequence[tuple[str, str]]
    tiles: Mapping[str, str]

    def __call__(self, shard: Shard) -> None:
        """Write one shard."""
        with write_shard(self.lake, shard, TILE_NOVELTY) as table:
            plots: set[str] = set()
            for name in dict.fromkeys(name for name, _ in self.pairs):
                classifier, reference = open_classifier(self.lake, name), self._reference(name)
                for batch, features in read_tiles(self.lake, shard.artifact.partition, self.tiles, name, self.pairs):
                    score = unknown_scores(classifier, features)
                    table.add_columns(
                        **{column: batch.column(column) for column in ("plot_id", "tiling", "tile_index")},
                        feature_set=[name] * batch.num_rows,
                        score=score,
                        unknown=quantiles(score, reference),
                    )
                    plots.update(batch.column("plot_id").to_pylist())
            table.rows_in = len(plots)
            table.statistics = {"rows_out": len(plots)}

    def _reference(self, name: str) -> np.ndarray:
        """Return the scores of the photographs that validate a classifier, ascending."""
        return np.sort(self.lake.read(Artifact("val_novelty", name), ["score"]).column("score").to_numpy())
