"""The arithmetic of a plan: loads of stages, sizes of rows, FLOPs of models, and seconds at given speeds.

What belongs here: pure functions of numbers. What does not: how things are counted (`work.py`) or measured
(`speeds.py`).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

ROW_BYTES = 64
"""Bytes of a row of embeddings besides its vectors: names and numbers, many of them repeated and encoded."""
PREDICTION_BYTES = 36
"""Bytes of a row of tile_predictions before compression: six 32-bit numbers, an id and a probability; the names of
plot, feature set and tiling are dictionary-encoded and not counted."""
COPY_BYTES_PER_SECOND = 100e6
"""Assumed speed at which photographs are read from a source and written into shards, with their checksums."""
TRAINING_PASSES = 3
"""A training step costs a forward pass and about two more for the gradients."""


@dataclass(frozen=True)
class Load:
    """Work of a stage, or of one of its shards.

    Attributes:
        items: photographs, plots or tiles.
        passes: forward passes of a backbone.
        read: bytes read.
        written: bytes written.
    """

    items: int = 0
    passes: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(
            self.items + other.items,
            self.passes + other.passes,
            self.read + other.read,
            self.written + other.written,
        )


@dataclass(frozen=True)
class Stage:
    """An asset with the load of each of its shards.

    Attributes:
        asset: the name of the asset.
        unit: what its items are.
        loads: by partition key; None where the asset has no partitions.
        unfinished: the keys that are not up to date.
        backbone: the backbone whose forward passes it needs, or none.
        workers: whether its shards are made by several worker processes.
    """

    asset: str
    unit: str
    loads: Mapping[str | None, Load]
    unfinished: Collection[str | None]
    backbone: str | None = None
    workers: bool = False

    @property
    def total(self) -> Load:
        """The load of all shards."""
        return sum_loads(self.loads.values())

    @property
    def remaining(self) -> Load:
        """The load of the shards that are not up to date."""
        return sum_loads(load for key, load in self.loads.items() if key in self.unfinished)


@dataclass(frozen=True)
class Speed:
    """Seconds that a stage takes for each part of its load, without parallel workers."""

    per_item: float = 0.0
    per_pass: float = 0.0
    per_byte: float = 0.0

    def seconds(self, load: Load, workers: int = 1) -> float:
        """Return the seconds for a load that is shared by a number of workers."""
        bytes_moved = load.read + load.written
        return (load.items * self.per_item + load.passes * self.per_pass + bytes_moved * self.per_byte) / max(
            1, workers
        )


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a vision transformer that its FLOPs follow from.

    Attributes:
        width: of a token.
        hidden: width of the hidden layer of each MLP.
        depth: number of blocks.
        patches: number of patches of an image.
        prefix: number of tokens before the patches.
        patch_size: side of a patch, px.
    """

    width: int
    hidden: int
    depth: int
    patches: int
    prefix: int
    patch_size: int

    def flops(self, *, all_tokens: bool) -> int:
        """Return the floating-point operations of a forward pass of one image, a multiply-add counted as two.

        Args:
            all_tokens: whether the last block computes all tokens, which the DCT needs, or only [CLS].
        """
        tokens = self.patches + self.prefix
        per_token = 8 * self.width**2 + 4 * self.width * self.hidden
        block = tokens * per_token + 4 * tokens**2 * self.width
        # For [CLS] alone the last block needs keys and values of all tokens, and all else of one token.
        last = block if all_tokens else 4 * tokens * self.width**2 + 4 * tokens * self.width + per_token
        embedding = 2 * self.patches * 3 * self.patch_size**2 * self.width
        return embedding + (self.depth - 1) * block + last


@dataclass(frozen=True)
class GpuBenchmark:
    """Rates of one GPU, in images per second, as benchmarks/results/gpu.json has them.

    Attributes:
        name: of the GPU.
        model_name: the model that was measured, for the reader.
        model: its shape.
        alone: rate of the compiled model alone, for [CLS].
        photographs: rate from 128 px photographs in parquet to embeddings in parquet.
        tiles: rate for tiles of 2,100 px plots, from parquet to parquet.
        prepared: rate at which the CPU of that machine decodes photographs, which no smaller model exceeds.
    """

    name: str
    model_name: str
    model: ModelShape
    alone: float
    photographs: float
    tiles: float
    prepared: float

    def seconds_per_photograph(self, flops: int) -> float:
        """Return the seconds for a photograph, for a model of other FLOPs."""
        return max(self._scaled(self.photographs, flops), 1 / self.prepared)

    def seconds_per_tile(self, flops: int) -> float:
        """Return the seconds for a tile, for a model of other FLOPs."""
        return self._scaled(self.tiles, flops)

    def _scaled(self, rate: float, flops: int) -> float:
        """Scale the share of the model in the time of an image; the rest of the time stays."""
        return 1 / rate - 1 / self.alone + flops / (self.alone * self.model.flops(all_tokens=False))


H200 = GpuBenchmark(
    name="NVIDIA H200",
    model_name="ViT-B/14 reg4 at 518 px",
    model=ModelShape(width=768, hidden=3072, depth=12, patches=1369, prefix=5, patch_size=14),
    alone=1366.53,
    photographs=1180.2,
    tiles=802.975,
    prepared=2497.73,
)
"""The GPU of docs/performance.md; a test compares these rates with benchmarks/results/gpu.json."""


def sum_loads(loads: Iterable[Load]) -> Load:
    """Return the sum of loads."""
    return sum(loads, Load())


def vector_bytes(width: int, *, dct: bool) -> int:
    """Return the bytes of a row of embeddings: [CLS] of some width and, if asked, 64 DCT features, in float32."""
    return 4 * (width + (64 if dct else 0)) + ROW_BYTES


def divide(number: int, keys: Collection[str]) -> dict[str, int]:
    """Divide a number into nearly equal whole parts, one for each key."""
    ends = [number * (place + 1) // len(keys) for place in range(len(keys))]
    return {key: end - start for key, end, start in zip(keys, ends, [0, *ends], strict=False)}


def workers_used(stage: Stage, shards: int, workers: int, cores: int) -> int:
    """Return the workers that share the shards of a stage: at most one for each core and each shard."""
    return max(1, min(workers, cores, shards)) if stage.workers else 1


def duration_in_words(seconds: float) -> str:
    """Return a duration with two digits: `12 s`, `8 min`, `3.4 h`, `120 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"
