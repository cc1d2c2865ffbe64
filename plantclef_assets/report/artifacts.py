"""Reports as artifacts of the lake."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plantclef_assets.engines.progress import Progress
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.schemas import EMBEDDING_MAP
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.sidecars import publish_sidecars
from plantclef_assets.lake.store import Artifact, Lake, LakePath
from plantclef_assets.lake.tables import write_table
from plantclef_assets.models.separation import choose_photographs, lay_out, read_vectors, separation
from plantclef_assets.report.maps import Panel, draw_map


@dataclass(frozen=True)
class EmbeddingMap:
    """Makes the map of the commonest species in the space of each backbone: a table, and beside it a picture."""

    lake: Lake
    backbones: Sequence[str]
    shards: Sequence[str]
    validation_share: float
    seed: int
    log: Callable[[str], None]

    def __call__(self, shard: Shard) -> None:
        """Write picture and table; the table comes last, so what it describes is there.

        Raises:
            MissingPhotographsError: one backbone's embeddings lack photographs that the first one's have.
        """
        artifacts = {name: [Artifact(f"{name}_embeddings", key) for key in self.shards] for name in self.backbones}
        shown = choose_photographs(
            self.lake, artifacts[self.backbones[0]], validation_share=self.validation_share, seed=self.seed
        )
        rows = len(shown.image_name)
        kinds = len(np.unique(shown.species_id))
        panels, positions, scores = [], {}, {}
        for backbone in self.backbones:
            vectors = self._vectors(artifacts[backbone], shown.image_name)
            scores[backbone] = separation(vectors[shown.held_out], shown.species_id[shown.held_out])
            scores[f"{backbone}_all"] = separation(vectors, shown.species_id)
            self.log(f"{backbone}: UMAP of {rows:,} photographs of {kinds} species; thousands take a minute or so")
            positions[backbone] = lay_out(vectors, self.seed)
            panels.append(Panel(_title(backbone, scores[backbone]), positions[backbone]))
        classes = self.lake.read(Artifact("class_map"), ["species_id", "species"]).to_pylist()
        names = {row["species_id"]: row["species"] or str(row["species_id"]) for row in classes}
        picture = draw_map(panels, shown.species_id, shown.held_out, names)
        require_unchanged(self.lake, shard.provenance)
        beside = publish_sidecars(self.lake, {map_picture(self.lake, shard.artifact): picture})
        with write_table(self.lake, shard.artifact, EMBEDDING_MAP, shard.provenance) as table:
            for backbone, places in positions.items():
                table.write_rows(
                    image_name=shown.image_name,
                    species_id=shown.species_id,
                    backbone=[backbone] * rows,
                    x=places[:, 0],
                    y=places[:, 1],
                    held_out=shown.held_out,
                )
            table.statistics = {
                "rows_in": rows * len(self.backbones),
                "quarantined": 0,
                "photographs": rows,
                "photographs_held_out": int(shown.held_out.sum()),
                **{f"separation_{name}": score for name, score in scores.items()},
                **beside,
            }

    def _vectors(self, artifacts: Sequence[Artifact], image_names: Sequence[str]) -> Any:
        rows = sum(self.lake.open(artifact).metadata.num_rows for artifact in artifacts)
        with Progress(artifacts[0].asset, rows, "rows", self.log) as progress:
            return read_vectors(self.lake, artifacts, image_names, advance=progress.advance)


def map_picture(lake: Lake, artifact: Artifact) -> LakePath:
    """Give the picture of a map, which lies beside its table."""
    return lake.path(artifact).with_suffix(".png")


def _title(backbone: str, score: float | None) -> str:
    name = {"finetuned": "fine-tuned"}.get(backbone, backbone)
    return f"{name}: separation {'not defined' if score is None else f'{score:.2f}'}"
