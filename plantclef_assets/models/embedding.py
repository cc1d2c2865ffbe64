"""Embedding: shards of photographs and of plots in, shards of their features out.

Rows are read from a shard, threads make their pictures (`images/`), the model turns batches of pictures into features
(`device_batches`, `backbones`), and the features are written in the order of the rows.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from PIL import Image

from plantclef_assets.images.decoding import UndecodableImage, decode_at_scale, decode_image
from plantclef_assets.images.resizing import reduced_tile, tile_divisor
from plantclef_assets.images.tiling import Box, Tile, TileConfig, distinct_boxes, tile_boxes
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.table_specs import TableSpec
from plantclef_assets.lake.tables import Shard, ShardWriter, read_rows, write_shard
from plantclef_assets.models.backbones import Backbone
from plantclef_assets.models.device_batches import DeviceBatch
from plantclef_assets.models.device_resizing import DividedTransform, Prepared
from plantclef_assets.models.prefetch import chunks, prefetch

Item = TypeVar("Item")

_ROWS_AT_ONCE = 256
_ITEMS_AHEAD = 2
"""Items prepared per thread ahead of the model: enough to hide one slow decode."""


@dataclass(frozen=True)
class Embedding:
    """A loaded model and how it is run over shards.

    Attributes:
        backbone: the model.
        batch_size: pictures per forward pass.
        threads: number of rows that are decoded at the same time.
        advance: called with the number of pictures that are done.
        log: receives messages for the user.
    """

    backbone: Backbone
    batch_size: int
    threads: int
    advance: Callable[[int], None] = field(default=lambda pictures: None)
    log: Callable[[str], None] = field(default=lambda line: None)

    @property
    def widths(self) -> dict[str, int]:
        """Widths of the two vectors."""
        return {"cls": self.backbone.info.embed_dim, "dct": 64}


@dataclass(frozen=True)
class EmbeddedPhotographs:
    """Writes shards of base_embeddings or finetuned_embeddings from resized_images."""

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
            for some in chunks(embedded, _ROWS_AT_ONCE):
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
    """Writes shards of tile embeddings of a backbone.

    A plot is decoded once for all its tilings, with scaled decoding once for each scale that its tiles need; a tile of
    several tilings is embedded once. The features of a tile do not depend on the other tilings.

    Attributes:
        lake: the lake.
        embedding: the loaded model.
        spec: table of the tile embeddings.
        source: asset with the plots: plot_images, or another one with the same columns.
        config: see there.
    """

    lake: Lake
    embedding: Embedding
    spec: TableSpec
    source: str
    config: TileConfig

    def __call__(self, shard: Shard) -> None:
        """Write one shard; plots that cannot be decoded are quarantined."""
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
        return [
            (tiling, tile)
            for tiling in self.config.tilings
            for tile in tile_boxes(plot["width"], plot["height"], tiling)
        ]

    def _boxes(self, plot: dict[str, Any]) -> dict[Box, int]:
        return distinct_boxes(plot["width"], plot["height"], self.config.tilings)

    def _views(self, plot: dict[str, Any]) -> list[Image.Image]:
        try:
            tiles = {tile.box: tile for _, tile in self._tiles(plot)}
        except ValueError as error:
            raise UndecodableImage("too_small", str(error)) from error
        size, scaled = self.config.tile_size, self.config.scaled_decoding
        divisors = {box: tile_divisor(tile, size) if scaled else 1 for box, tile in tiles.items()}
        plots = {
            divisor: decode_at_scale(plot["data"], divisor, max_pixels=self.config.max_pixels)
            for divisor in sorted(set(divisors.values()))
        }
        return [reduced_tile(plots[divisors[box]], tiles[box], size) for box in self._boxes(plot)]


@dataclass(frozen=True)
class Embedded(Generic[Item]):
    """The features of one item.

    Attributes:
        item: the item.
        cls: float32, shape (views, D), in the order of the views.
        dct: float32, shape (views, 64); (views, 0) without DCT.
    """

    item: Item
    cls: np.ndarray
    dct: np.ndarray


def embed_views(
    backbone: Backbone,
    items: Iterable[Item],
    views: Callable[[Item], Sequence[Image.Image]],
    *,
    batch_size: int = 16,
    threads: int = 2,
    dct: bool = True,
    on_undecodable: Callable[[Item, UndecodableImage], None] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Iterator[Embedded[Item]]:
    """Embed every view of every item: one view of a photograph, all tiles of a plot.

    At most 2 × `threads` items are prepared ahead, each as its views (uint8; on a CPU they are transformed, 3 ×
    input_size² bytes per view); `items` is read as needed. Views of one size are fastest.

    Args:
        backbone: the model.
        items: any objects, such as rows of a shard.
        views: returns the RGB pictures of one item; called in a thread. It may raise `UndecodableImage`.
        batch_size: pictures per forward pass.
        threads: number of items that are decoded at the same time.
        dct: whether the DCT features are computed; without them the model's last block is cheaper.
        on_undecodable: called for each item whose views raised `UndecodableImage`, in the order of the items, in the
            caller's thread. Such an item is skipped. If not given, the error is raised.
        log: receives a message when the device's memory is too small for the batches.

    Yields:
        one `Embedded` for each item that could be decoded, in the order of `items`.

    Raises:
        ValueError: `batch_size` or `threads` is not positive.
        torch.OutOfMemoryError: the device has no room for a single picture.
    """
    if batch_size < 1 or threads < 1:
        raise ValueError(f"batch_size ({batch_size}) and threads ({threads}) must be at least 1")
    transform = DividedTransform(backbone.info.data_config, backbone.device)

    def prepare(item: Item) -> list[Prepared]:
        return [transform.prepare(view) for view in views(item)]

    batch = DeviceBatch(backbone, transform, batch_size, dct, log)
    waiting: deque[tuple[Item, int]] = deque()  # decoded items with their number of views, not yet yielded
    for item, prepared in prefetch(items, prepare, threads=threads, ahead=threads * _ITEMS_AHEAD):
        try:
            pictures = prepared.result()
        except UndecodableImage as error:
            if on_undecodable is None:
                raise
            on_undecodable(item, error)
            continue
        waiting.append((item, len(pictures)))
        for picture in pictures:
            batch.add(picture)
        while waiting and waiting[0][1] <= batch.ready:
            done, count = waiting.popleft()
            yield Embedded(done, *batch.take(count))
    batch.flush()
    for done, count in waiting:
        yield Embedded(done, *batch.take(count))


def _counted(rows: Iterator[dict[str, Any]], table: ShardWriter) -> Iterator[dict[str, Any]]:
    for row in rows:
        table.rows_in += 1
        yield row


def _vectors(spec: TableSpec, embedded: Sequence[Embedded[Any]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([getattr(one, name) for one in embedded]) for name in spec.vectors}
