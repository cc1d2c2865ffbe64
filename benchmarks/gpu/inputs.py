"""Inputs of the GPU benchmark: a model with random weights, photographs, and shards of them."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.bench import Size
from plantclef_assets.images.decoding import decode_image
from plantclef_assets.images.resizing import encode_jpeg, resize_tile
from plantclef_assets.images.tiling import distinct_boxes, tile_boxes
from plantclef_assets.lake.schemas import PLOT_IMAGES, RESIZED_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.table_specs import TableSpec
from plantclef_assets.lake.tables import Shard, write_shard
from plantclef_assets.models.backbones import Backbone, create_model, load_backbone
from plantclef_assets.models.data_config import eval_transform
from plantclef_assets.models.weights import weights_from_tensors

CROPS, PHOTOGRAPHS = "00", "01"
"""Shards of resized_images: crops of the default size, and crops of the model's input size."""

TILINGS = ("full", "3x3", "4x4")
SPECIES = 16
_ROWS_AT_ONCE = 256
_DIFFERENT_PLOTS = 4
_REFERENCE_BATCH = 32


def random_backbone(model: str, side: int) -> Backbone:
    """Create a model for pictures of `side` px with random weights, in fp32 on the CPU.

    As they come, a layer scale of 1e-5 hides what the blocks compute and [CLS] is the same for all pictures. So layer
    scales are near 1, as trained ones are, and queries and keys large enough for attention to differ between tokens.
    """
    torch.manual_seed(0)
    tensors = create_model(model, side).state_dict()
    for name, tensor in tensors.items():
        if name.endswith("gamma"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("qkv.weight"):
            tensor[: 2 * tensor.shape[1]].mul_(4)
    return load_backbone(model, weights_from_tensors(tensors, "random"), input_size=side)


@dataclass(frozen=True)
class Shape:
    """The sizes of a vision transformer; `width` is of tokens, `hidden` of MLPs, `patch` a side in px."""

    patches: int
    prefix_tokens: int
    width: int
    hidden: int
    heads: int
    blocks: int
    patch: int

    @classmethod
    def of(cls, backbone: Backbone) -> "Shape":
        """Read the shape of a backbone."""
        blocks: list[Any] = list(backbone.model.blocks.children())
        patch = backbone.model.patch_embed.patch_size[0]
        return cls(
            patches=(backbone.info.data_config.input_size // patch) ** 2,
            prefix_tokens=backbone.info.prefix_tokens,
            width=backbone.info.embed_dim,
            hidden=blocks[0].mlp.fc1.out_features,
            heads=blocks[0].attn.num_heads,
            blocks=len(blocks),
            patch=patch,
        )

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.patches + self.prefix_tokens


def flops_per_picture(shape: Shape, *, cls_only: bool) -> float:
    """Count the floating-point operations of the matrix products of one picture: 304.2e9 for ViT-B/14 reg4 at 518 px.

    Args:
        shape: of the model.
        cls_only: whether the last block is computed for its first eight tokens, see `models/cls_only.py`.
    """
    tokens, width, hidden = shape.tokens, shape.width, shape.hidden
    block = 2 * tokens * (4 * width**2 + 2 * width * hidden) + 4 * tokens**2 * width
    last = 2 * tokens * 2 * width**2 + 8 * 2 * (2 * width**2 + 2 * width * hidden) + 4 * 8 * tokens * width
    return 2 * shape.patches * 3 * shape.patch**2 * width + (shape.blocks - 1) * block + (last if cls_only else block)


def draw_photographs(count: int, side: int) -> list[bytes]:
    """Draw photographs as JPEG: smooth colours under fine noise, about as many bytes as plants of that size."""

    def draw(number: int) -> bytes:
        random = np.random.default_rng(number)
        tint = random.integers(0, 256, 3)
        coarse = (tint + random.integers(0, 256, (9, 9, 3))) // 2
        smooth = Image.fromarray(coarse.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        noise = random.normal(0, 10, (side, side, 1)).astype(np.float32)
        return encode_jpeg(Image.fromarray((np.asarray(smooth) + noise).clip(0, 255).astype(np.uint8)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(draw, range(count)))


@dataclass(frozen=True)
class Inputs:
    """Inputs that all arms share.

    Attributes:
        lake: holds the two shards of resized_images, and one of plot_images.
        pixels: uint8 (different, 3, side, side) on the device: the photographs of `PHOTOGRAPHS`, once each.
        expected: shard of resized_images → [CLS] in fp32 of its photographs, once each: float32 (different, D).
        expected_tiles: [CLS] in fp32 of the tiles of the different plots, in the order of the rows.
    """

    lake: Lake
    pixels: torch.Tensor
    expected: dict[str, np.ndarray]
    expected_tiles: np.ndarray


def prepare_inputs(size: Size, folder: Path, backbone: Backbone) -> Inputs:
    """Draw photographs and plots, write them into a lake, and embed each in fp32, eager, transformed by Pillow.

    Args:
        size: how many, and how large.
        folder: of the lake.
        backbone: in fp32, on the device.
    """
    lake, transform = Lake(str(folder)), eval_transform(backbone.info.data_config)
    expected = {}
    pixels = torch.empty(0)
    for key, side, rows in ((CROPS, size.crop_side, size.crops), (PHOTOGRAPHS, size.side, size.photographs)):
        encoded = draw_photographs(size.different, side)
        _write_shard(lake, Artifact("resized_images", key), RESIZED_IMAGES, _photograph_rows(encoded, rows))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pixels = torch.stack(list(pool.map(lambda data: transform(decode_image(data)), encoded)))
        expected[key] = _embed(backbone, pixels)
    plots = draw_photographs(_DIFFERENT_PLOTS, size.plot_side)
    rows = (
        {"plot_id": f"{n:05}", "width": size.plot_side, "height": size.plot_side, "data": plots[n % len(plots)]}
        for n in range(size.plots)
    )
    _write_shard(lake, Artifact("plot_images", "00"), PLOT_IMAGES, rows)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tiles = list(pool.map(lambda data: [transform(tile) for tile in _tiles(data, size)], plots))
    expected_tiles = _embed(backbone, torch.stack([tile for of_plot in tiles for tile in of_plot]))
    return Inputs(lake, pixels.to(backbone.device), expected, expected_tiles)


def _embed(backbone: Backbone, pixels: torch.Tensor) -> np.ndarray:
    some = [backbone.forward(part)[0].cpu() for part in pixels.split(_REFERENCE_BATCH)]
    return torch.cat(some).numpy()


def _tiles(data: bytes, size: Size) -> list[Image.Image]:
    plot, side = decode_image(data), size.plot_side
    tiles = {tile.box: tile for tiling in TILINGS for tile in tile_boxes(side, side, tiling)}
    return [resize_tile(plot, tiles[box], size.crop_side) for box in distinct_boxes(side, side, TILINGS)]


def _photograph_rows(encoded: Sequence[bytes], count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        place = number % len(encoded)
        yield {"image_name": f"{number:06}.jpg", "species_id": 1 + place % SPECIES, "data": encoded[place]}


def _write_shard(lake: Lake, artifact: Artifact, spec: TableSpec, rows: Iterator[dict[str, object]]) -> None:
    listed = list(rows)
    with write_shard(lake, Shard(artifact, {}), spec) as table:
        table.rows_in = len(listed)
        for start in range(0, len(listed), _ROWS_AT_ONCE):
            table.add(listed[start : start + _ROWS_AT_ONCE])
