"""Tiles of full-size plots: all tilings of the profile plantclef2025, from plots in parquet to tile embeddings.

Three structures of the same work are compared. All arms decode, cut, resize and embed with the same functions, threads
and small model (the demo's), so that only the structure differs:

- the reference's: each tile decodes its plot and is embedded alone;
- one tiling at a time: a plot is decoded once for each tiling, and tiles are embedded in batches;
- ours: a plot is decoded once for all tilings, and tiles are embedded in batches across plots.

The second table leaves the model out: what is decoded, cut and resized, in one thread. Outputs are compared in the run:
the lowest cosine of [CLS] to that of the reference. The plots are the quadrats of the sample in `PLANTCLEF_TEST_DATA`
that have 3,000 × 3,000 px or more, otherwise smooth noise.
"""

import io
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.results import Results
from benchmarks.timing import CORES, Size, add_rates, alternate, rates
from plantclef_assets.images.decoding import decode_image
from plantclef_assets.images.resizing import encode_jpeg, resize_tile
from plantclef_assets.images.tiling import Tile, TileConfig, tile_boxes
from plantclef_assets.ingest.locations import PACKAGE_FOLDER
from plantclef_assets.lake.schemas import FINETUNED_TILE_EMBEDDINGS, PLOT_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard
from plantclef_assets.models.backbones import Backbone, load_backbone
from plantclef_assets.models.embedding import EmbeddedTiles, Embedding, embed_views
from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.models.weights import read_weights

SIDE, TILE_SIZE, BATCH = 3000, 128, 32
MAX_PIXELS = 10**8
REFERENCE, BY_TILING, OURS = "one decode per tile, batch 1 (reference)", "one tiling at a time", "all tilings (ours)"
LOWEST_COSINE = 0.9999

Features = dict[tuple[str, str, int], np.ndarray]
"""(plot_id, tiling, tile_index) → [CLS], float32 (D,)."""
Plot = dict[str, Any]
"""A row of plot_images."""


def profile_tilings() -> tuple[str, ...]:
    """Return the tilings of the runs of the profile plantclef2025."""
    profile = tomllib.loads((PACKAGE_FOLDER / "profiles" / "plantclef2025.toml").read_text("utf-8"))
    return tuple(sorted({run["tiling"] for run in profile["runs"].values()}))


@dataclass(frozen=True)
class Arms:
    """The three structures over the plots of one lake."""

    lake: Lake
    backbone: Backbone
    tilings: tuple[str, ...]
    plots: list[Plot]

    def tiles(self) -> Iterator[tuple[Plot, str, Tile]]:
        """Yield all tiles, plot by plot and tiling by tiling."""
        for plot in self.plots:
            for tiling in self.tilings:
                for tile in tile_boxes(plot["width"], plot["height"], tiling):
                    yield plot, tiling, tile

    def reference(self) -> Features:
        """Decode the plot of each tile for that tile alone, and embed tiles one by one."""
        embedded = embed_views(
            self.backbone,
            self.tiles(),
            lambda one: [resize_tile(decode_plot(one[0]), one[2], TILE_SIZE)],
            batch_size=1,
            threads=CORES,
            dct=False,
        )
        return {(one.item[0]["plot_id"], one.item[1], one.item[2].index): one.cls[0] for one in embedded}

    def by_tiling(self) -> None:
        """Write the tile embeddings of each tiling on its own."""
        for tiling in self.tilings:
            self._write(tiling, (tiling,))

    def all_tilings(self) -> None:
        """Write the tile embeddings of all tilings, as the product does."""
        self._write("all", self.tilings)

    def read(self, *keys: str) -> Features:
        """Read the features that an arm wrote."""
        found: Features = {}
        for key in keys:
            table = self.lake.read(Artifact("finetuned_tile_embeddings", key))
            columns = [table.column(name).to_pylist() for name in ("plot_id", "tiling", "tile_index", "cls")]
            found |= {row[:3]: np.array(row[3], np.float32) for row in zip(*columns, strict=True)}
        return found

    def _write(self, key: str, tilings: tuple[str, ...]) -> None:
        embedding = Embedding(self.backbone, BATCH, CORES)
        config = TileConfig(tilings, TILE_SIZE, MAX_PIXELS)
        # Shards of plots and of features have the same key, so each arm has its own copy of the plots.
        make = EmbeddedTiles(self.lake, embedding, FINETUNED_TILE_EMBEDDINGS, "plot_images", config)
        make(Shard(Artifact("finetuned_tile_embeddings", key), {}))

    def pixels_by_tile(self) -> None:
        """Decode, cut and resize as the reference does."""
        for plot, _, tile in self.tiles():
            resize_tile(decode_plot(plot), tile, TILE_SIZE)

    def pixels_by_tiling(self) -> None:
        """Decode once for each tiling, cut and resize."""
        for tiling in self.tilings:
            self._cut((tiling,))

    def pixels_of_all(self) -> None:
        """Decode once, cut and resize."""
        self._cut(self.tilings)

    def _cut(self, tilings: tuple[str, ...]) -> None:
        for plot in self.plots:
            image = decode_plot(plot)
            for tiling in tilings:
                for tile in tile_boxes(plot["width"], plot["height"], tiling):
                    resize_tile(image, tile, TILE_SIZE)


def decode_plot(plot: Plot) -> Image.Image:
    """Return the picture of a plot."""
    return decode_image(plot["data"], max_pixels=MAX_PIXELS)


def full_size_plots(number: int, side: int) -> Iterator[Plot]:
    """Yield rows of plot_images: real quadrats of at least that side in turn, otherwise smooth noise."""
    folder = Path(os.environ.get("PLANTCLEF_TEST_DATA", "")) / "plantclef_sample" / "plots"
    real = [data for data in (file.read_bytes() for file in sorted(folder.glob("*.jpg"))) if _shorter(data) >= side]
    random = np.random.default_rng(0)
    for place in range(number):
        if real:
            data = real[place % len(real)]
        else:
            coarse = Image.fromarray(random.integers(0, 256, (side // 4, side // 4, 3), np.uint8))
            data = encode_jpeg(coarse.resize((side, side), Image.Resampling.BILINEAR), 90)
        width, height = Image.open(io.BytesIO(data)).size
        yield {"plot_id": f"plot-{place}", "width": width, "height": height, "data": data}


def _shorter(data: bytes) -> int:
    return min(Image.open(io.BytesIO(data)).size)


def lowest_cosine(features: Features, expected: Features) -> float:
    """Return the lowest cosine of [CLS] to those expected.

    Raises:
        AssertionError: tiles are missing, or a cosine is below `LOWEST_COSINE`.
    """
    assert features.keys() == expected.keys(), "an arm has lost tiles"
    names = list(expected)
    ours, theirs = (np.stack([found[name] for name in names]).astype(np.float64) for found in (features, expected))
    cosines = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosines.min() >= LOWEST_COSINE, f"a tile has a cosine of {cosines.min():.6f} to that of the reference"
    return float(cosines.min())


def measure(results: Results, size: Size) -> None:
    """Compare the three structures, with and without the model."""
    number, side, rounds = {
        Size.SMALL: (2, 500, 1),
        Size.USUAL: (4, SIDE, 3),
        Size.FULL: (32, SIDE, 3),
    }[size]
    weights = read_weights(PACKAGE_FOLDER / "demo" / "vit_mini.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        made = Arms(
            Lake(folder), load_backbone(SMALL_VIT, weights), profile_tilings(), list(full_size_plots(number, side))
        )
        for key in ("all", *made.tilings):
            with write_shard(made.lake, Shard(Artifact("plot_images", key), {}), PLOT_IMAGES) as table:
                table.add(made.plots)
        expected: list[Features] = []
        arms: dict[str, Callable[[], Any]] = {
            REFERENCE: lambda: expected.append(made.reference()),
            BY_TILING: made.by_tiling,
            OURS: made.all_tilings,
        }
        seconds = alternate(arms, rounds)
        cosines = {BY_TILING: made.read(*made.tilings), OURS: made.read("all"), REFERENCE: expected[0]}
        tiles = len(expected[0])
        what = f"{tiles} tiles of {number} plots of {made.plots[0]['width']} px"
        results.start(what, rates("tiles/s") | {"cosine": ""}, REFERENCE)
        found = {arm: lowest_cosine(features, expected[0]) for arm, features in cosines.items()}
        add_rates(results, seconds, tiles, {arm: {"cosine": cosine} for arm, cosine in found.items()})
        pixels: dict[str, Callable[[], Any]] = {
            REFERENCE: made.pixels_by_tile,
            BY_TILING: made.pixels_by_tiling,
            OURS: made.pixels_of_all,
        }
        results.start(f"{what}, without the model", rates("tiles/s"), REFERENCE)
        add_rates(results, alternate(pixels, rounds), tiles)
