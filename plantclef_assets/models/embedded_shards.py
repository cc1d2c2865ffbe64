"""Shards of features: a backbone over a whole shard of photographs or plots."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from plantclef_assets.images.decoding import UndecodableImage, decode_image
from plantclef_assets.images.resizing import resize_tile
from plantclef_assets.images.tiling import Box, Tile, distinct_boxes, tile_boxes
from plantclef_assets.lake.shards import Shard, ShardWriter, read_rows, write_shard
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.table_specs import TableSpec
from plantclef_assets.models.backbones import Backbone
from plantclef_assets.models.embedding import Embedded, embed_views

_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Embedding:
    """How features are made: a model that is loaded once, and how much it is fed at a time."""

    backbone: Backbone
    batch_size: int
    threads: int
    advance: Callable[[int], None] = field(default=lambda pictures: None)
    """Told how many pictures are done."""
    log: Callable[[str], None] = field(default=lambda line: None)
    """Told what the user should know of."""

    @property
    def widths(self) -> dict[str, int]:
        """The widths of the two vectors."""
        return {"cls": self.backbone.info.embed_dim, "dct": 64}


@dataclass(frozen=True)
class EmbeddedPhotographs:
    """Makes shards of base_embeddings or finetuned_embeddings from resized_images."""

    lake: Lake
    embedding: Embedding
    spec: TableSpec

    def __call__(self, shard: Shard) -> None:
        """Write one shard."""
        widths = {name: self.embedding.widths[name] for name in self.spec.vectors}
        with write_shard(self.lake, shard, self.spec, widths=widths) as table:
            rows = _counted(read_rows(self.lake, Artifact("resized_images", shard.artifact.partition)), table)
            embedded = embed_views(
                self.embedding.backbone,
                rows,
                lambda row: [decode_image(row["data"])],
                batch_size=self.embedding.batch_size,
                threads=self.embedding.threads,
                dct="dct" in self.spec.vectors,
                log=self.embedding.log,
            )
            for some in _chunks(embedded, _ROWS_AT_ONCE):
                table.add_columns(
                    **{
                        name: [one.item[name] for one in some]
                        for name in ("image_name", "species_id", "obs_id", "learn_tag")
                    },
                    **_vectors(self.spec, some),
                )
                self.embedding.advance(len(some))


@dataclass(frozen=True)
class EmbeddedTiles:
    """Makes shards of the tile embeddings of a backbone, of a survey's plots or of validation plots.

    A plot is decoded once for all its tilings, and a tile that several tilings share is embedded once.
    """

    lake: Lake
    embedding: Embedding
    spec: TableSpec
    source: str
    """The asset that the plots are in: plot_images, or another with its columns."""
    tilings: Sequence[str]
    tile_size: int
    max_pixels: int

    def __call__(self, shard: Shard) -> None:
        """Write one shard; plots that cannot be decoded go to quarantine."""
        widths = {name: self.embedding.widths[name] for name in self.spec.vectors}
        with write_shard(self.lake, shard, self.spec, widths=widths) as table:
            plots = _counted(read_rows(self.lake, Artifact(self.source, shard.artifact.partition)), table)
            embedded = embed_views(
                self.embedding.backbone,
                plots,
                self._views,
                batch_size=self.embedding.batch_size,
                threads=self.embedding.threads,
                dct="dct" in self.spec.vectors,
                log=self.embedding.log,
                on_undecodable=lambda plot, error: table.quarantine(
                    plot["plot_id"], plot["plot_id"], error.reason, error.detail
                ),
            )
            plots_out = 0
            for one in embedded:
                tiles = self._tiles(one.item)
                boxes = self._boxes(one.item)
                rows = [boxes[tile.box] for _, tile in tiles]
                table.add_columns(
                    plot_id=[one.item["plot_id"]] * len(tiles),
                    tiling=[tiling for tiling, _ in tiles],
                    tile_index=[tile.index for _, tile in tiles],
                    **{side: [getattr(tile, side) for _, tile in tiles] for side in ("x", "y", "width", "height")},
                    **_vectors(self.spec, [replace(one, cls=one.cls[rows], dct=one.dct[rows])]),
                )
                plots_out += 1
                self.embedding.advance(len(boxes))
            table.statistics = {"rows_out": plots_out}

    def _tiles(self, plot: dict[str, Any]) -> list[tuple[str, Tile]]:
        return [(tiling, tile) for tiling in self.tilings for tile in tile_boxes(plot["width"], plot["height"], tiling)]

    def _boxes(self, plot: dict[str, Any]) -> dict[Box, int]:
        return distinct_boxes(plot["width"], plot["height"], self.tilings)

    def _views(self, plot: dict[str, Any]) -> list[Image.Image]:
        image = decode_image(plot["data"], max_pixels=self.max_pixels)
        try:
            tiles = {tile.box: tile for _, tile in self._tiles(plot)}
            return [resize_tile(image, tiles[box], self.tile_size) for box in self._boxes(plot)]
        except ValueError as error:
            raise UndecodableImage("too_small", str(error)) from error


def _counted(rows: Iterator[dict[str, Any]], table: ShardWriter) -> Iterator[dict[str, Any]]:
    for row in rows:
        table.rows_in += 1
        yield row


def _chunks(embedded: Iterator[Embedded[dict[str, Any]]], size: int) -> Iterator[list[Embedded[dict[str, Any]]]]:
    chunk: list[Embedded[dict[str, Any]]] = []
    for one in embedded:
        chunk.append(one)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _vectors(spec: TableSpec, embedded: Sequence[Embedded[Any]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([getattr(one, name) for one in embedded]) for name in spec.vectors}
