"""The cover of species as an artifact of the lake: a table, a CSV for spreadsheets, and JSON in Pl@ntNet's format."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.schemas import SPECIES_COVER
from plantclef_assets.lake.sidecars import publish_sidecars
from plantclef_assets.lake.spreadsheets import csv_lines
from plantclef_assets.lake.store import Artifact, Lake, LakePath
from plantclef_assets.lake.tables import Shard, write_table
from plantclef_assets.scoring.cover import CoveredSpecies, Hits, PlotCover, cover_plot
from plantclef_assets.scoring.scientific_names import genus_in, without_authorship

_DECIMALS = 6
"""Decimals of shares and scores in the text files; the table has full precision."""
_BOX = ("x", "y", "width", "height")
_PREDICTION_COLUMNS = ("plot_id", "tile_index", *_BOX, "species_id", "probability", "rank")
_NAMES = ("binomial", "name", "genus", "family", "gbif_species_id")
_NOT_IN_CSV = {"positions"}
_NO_TILE = Hits(np.empty(0, int), np.empty((0, 4), int), np.empty(0, int), np.empty(0, np.float32), np.empty(0, int))


@dataclass(frozen=True)
class CoverConfig:
    """What the cover of species depends on; it is recorded in its provenance.

    Attributes:
        feature_set: name of the classifier that predicts.
        tiling: name of the tiling.
        min_score: lowest probability of a species that a tile shows.
        max_rank: most species that a tile shows.
    """

    feature_set: str
    tiling: str
    min_score: float
    max_rank: int


@dataclass(frozen=True)
class SpeciesCover:
    """Writer of the cover of species: the table, and a CSV and a JSON with the same content."""

    lake: Lake
    config: CoverConfig
    plots: str = "plot_images"
    """The asset with the plots."""
    predictions: str = "tile_predictions"
    """The asset with the predictions for the tiles of these plots."""

    def __call__(self, shard: Shard) -> None:
        """Write the files of one shard; the table comes last, so that all files it records exist.

        Every plot is in all three files: a plot without a visible species, or too small to be cut into tiles, has one
        row without a species.
        """
        plots = self.lake.read(Artifact(self.plots, shard.artifact.partition), ["plot_id", "width", "height"])
        hits, names = self._hits(shard.artifact.partition), self._names()
        rows, described, covers = [], [], []
        for plot in plots.to_pylist():
            cover = cover_plot(
                hits.get(plot["plot_id"], _NO_TILE),
                plot["width"],
                plot["height"],
                min_score=self.config.min_score,
                max_rank=self.config.max_rank,
            )
            covers.append(cover)
            rows += _rows(plot["plot_id"], cover, names)
            described.append(_described(plot, cover, names))
        table_file, text_file = cover_files(self.lake, shard.artifact)
        text = json.dumps(described, ensure_ascii=False, indent=1) + "\n"
        # Spreadsheets recognise UTF-8 by the byte order mark.
        contents = {table_file: _csv(rows).encode("utf-8-sig"), text_file: text.encode()}
        require_unchanged(self.lake, shard.provenance)
        sidecars = publish_sidecars(self.lake, contents)
        with write_table(self.lake, shard.artifact, SPECIES_COVER, shard.provenance) as table:
            table.write(pa.RecordBatch.from_pylist(rows, schema=SPECIES_COVER.schema()))
            table.statistics = _statistics(covers) | sidecars

    def _hits(self, partition: str | None) -> dict[str, Hits]:
        filters = [
            ("feature_set", "=", self.config.feature_set),
            ("tiling", "=", self.config.tiling),
            ("rank", "<=", self.config.max_rank),
        ]
        table = self.lake.read(Artifact(self.predictions, partition), list(_PREDICTION_COLUMNS), filters)
        rows = defaultdict(list)
        for number, plot in enumerate(table.column("plot_id").to_pylist()):
            rows[plot].append(number)
        hits = Hits(
            tile_index=table.column("tile_index").to_numpy(),
            boxes=np.column_stack([table.column(side).to_numpy() for side in _BOX]),
            species_id=table.column("species_id").to_numpy(),
            score=table.column("probability").to_numpy(),
            rank=table.column("rank").to_numpy(),
        )
        return {plot: hits.take(np.array(numbers)) for plot, numbers in rows.items()}

    def _names(self) -> dict[int, dict[str, Any]]:
        columns = ["species_id", "species", "genus", "family", "gbif_species_id"]
        return {
            row["species_id"]: {
                "binomial": without_authorship(row["species"]) if row["species"] else None,
                "name": row["species"],
                "genus": row["genus"] or genus_in(row["species"] or ""),
                "family": row["family"],
                "gbif_species_id": row["gbif_species_id"],
            }
            for row in self.lake.read(Artifact("class_map"), columns).to_pylist()
        }


def cover_files(lake: Lake, artifact: Artifact) -> tuple[LakePath, LakePath]:
    """Return the paths of the CSV and the JSON of a table."""
    place = lake.path(artifact)
    return place.with_suffix(".csv"), place.with_suffix(".json")


def box_of(position: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Return left edge, upper edge, width and height of a tile in px, from its entry in `positions`."""
    width, height = position["width"], position["height"]
    return round(position["centre_x"] - width / 2), round(position["centre_y"] - height / 2), width, height


def _rows(plot: str, cover: PlotCover, names: Mapping[int, Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield the rows of a plot, each with the values of the plot; one row without a species if none shows."""
    of_plot = {"plot_id": plot, "uncovered": cover.uncovered, "tiles": cover.tiles, "matched": cover.matched}
    if not cover.species:
        yield of_plot | {"species_id": None, "count": 0, "coverage": 0.0, "positions": []}
    for one in cover.species:
        yield {
            **of_plot,
            "species_id": one.species_id,
            **names[one.species_id],
            "count": len(one.hits),
            "coverage": one.coverage,
            "max_score": one.max_score,
            "positions": list(_positions(one.hits)),
        }


def _positions(hits: Hits) -> Iterable[dict[str, Any]]:
    for index, (x, y, width, height), score, rank in zip(
        hits.tile_index.tolist(), hits.boxes.tolist(), hits.score.tolist(), hits.rank.tolist(), strict=True
    ):
        centre = {"centre_x": x + width / 2, "centre_y": y + height / 2}
        yield {**centre, "width": width, "height": height, "score": score, "rank": rank, "tile_index": index}


def _described(plot: Mapping[str, Any], cover: PlotCover, names: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return one plot in the format of Pl@ntNet's survey service."""
    return {
        "plot_id": plot["plot_id"],
        "image": {
            "width": plot["width"],
            "height": plot["height"],
            "uncovered": round(cover.uncovered, _DECIMALS),
            "tiles": cover.tiles,
            "matched": cover.matched,
        },
        "species": [_described_species(one, names[one.species_id]) for one in cover.species],
    }


def _described_species(one: CoveredSpecies, names: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: names[name] for name in _NAMES if name != "gbif_species_id"},
        "gbif_id": names["gbif_species_id"],
        "species_id": one.species_id,
        "coverage": round(one.coverage, _DECIMALS),
        "max_score": round(one.max_score, _DECIMALS),
        "count": len(one.hits),
        "location": [
            {
                "center": {"x": place["centre_x"], "y": place["centre_y"]},
                "size": {"width": place["width"], "height": place["height"]},
                "score": round(place["score"], _DECIMALS),
                "organ": None,  # the classifiers recognise species, not organs
            }
            for place in _positions(one.hits)
        ],
    }


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    columns = [name for name in SPECIES_COVER.columns.names if name not in _NOT_IN_CSV]
    cells = [[_rounded(row.get(name)) for name in columns] for row in rows]
    return "".join(csv_lines([columns, *cells]))


def _rounded(cell: Any) -> Any:
    return round(cell, _DECIMALS) if isinstance(cell, float) else cell


def _statistics(covers: Sequence[PlotCover]) -> dict[str, Any]:
    plots = max(len(covers), 1)
    return {
        "rows_in": len(covers),
        "rows_out": len(covers),
        "quarantined": 0,
        "plots_without_species": sum(not cover.species for cover in covers),
        "species_per_plot": sum(len(cover.species) for cover in covers) / plots,
        "mean_uncovered": sum(cover.uncovered for cover in covers) / plots,
    }
