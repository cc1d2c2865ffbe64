"""Scaling of crop-resize and embedding over photographs per shard, shards, workers and Spark executors.

Time should be linear in photographs, and memory flat: it may grow with workers, not with photographs or shards. Every
point runs in a process of its own, which measures the peak memory of itself and its children; the start of that process
is no part of the rates, the start of workers is. The model is the demo's small one, with a torch thread per worker.
Points of the same shards are compared: the same fingerprints of `resized_images`, and the cosine of [CLS].

Photographs have a shorter side of 800 px (see `resizing`). Spark is left out where Java is missing. The last tables are
projections to the data set of PlantCLEF 2025 (see `projection`).
"""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import PeakMemory
from benchmarks.resizing import photographs
from benchmarks.results import Results
from benchmarks.timing import CORES, Size
from plantclef_assets.engines.local import Outcome, run_shards
from plantclef_assets.images.resizing import ResizedImages, ResizingConfig
from plantclef_assets.ingest.locations import PACKAGE_FOLDER
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.schemas import BASE_EMBEDDINGS, RAW_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard

SIDE, DIFFERENT, BATCH = 800, 48, 32
RESIZING = ResizingConfig(128, 10**8, True)
LOCAL, SPARK = "local", "spark"
UNITS = {"rate": "photographs/s", "seconds": "s", "peak RSS": "MB"}
LOWEST_COSINE = 0.9999


@dataclass(frozen=True)
class Point:
    """What is measured together: so many photographs in so many shards on so many workers of an engine."""

    photographs: int
    shards: int
    workers: int = 1
    engine: str = LOCAL

    @property
    def name(self) -> str:
        """Name of the arm."""
        on = f"Spark local[{self.workers}]" if self.engine == SPARK else f"{self.workers} workers"
        return f"{self.photographs:,} photographs in {self.shards} shards, {on}"


@dataclass(frozen=True)
class Measured:
    """Seconds and peak memory in bytes of the two stages of a point."""

    resizing: tuple[float, int]
    embedding: tuple[float, int] | None


def points(unit: int) -> list[Point]:
    """Return the points for a number of photographs: each varies one quantity of the second."""
    found = [Point(unit, 4), Point(2 * unit, 4), Point(4 * unit, 4), Point(2 * unit, 2), Point(2 * unit, 8)]
    found += [Point(2 * unit, 4, workers) for workers in range(2, CORES + 1) if workers & (workers - 1) == 0]
    return found + [Point(2 * unit, 4, workers, SPARK) for workers in (1, 2)]


def write_raw(lake: Lake, point: Point, pictures: list[bytes]) -> None:
    """Write the raw shards of a point."""
    number = 0
    for key in shard_keys(point.shards):
        with write_shard(lake, Shard(Artifact("raw_images", key), {}), RAW_IMAGES) as table:
            for _ in range(point.photographs // point.shards):
                data = pictures[number % len(pictures)]
                table.add([{"image_name": f"{number}.jpg", "species_id": 1, "data": data}])
                table.rows_in, number = table.rows_in + 1, number + 1


def run_point(lake: Lake, point: Point) -> Measured:
    """Run both stages in this process and its workers; on Spark the first alone, after a warm-up."""
    make = ResizedImages(lake, RESIZING)
    wanted = [Shard(Artifact("resized_images", key), {}) for key in shard_keys(point.shards)]
    if point.engine == SPARK:
        with spark_session(point.workers) as session:
            from plantclef_assets.engines.spark import run_shards_on_spark

            require_made(run_shards_on_spark(make, wanted[:1], session))
            return Measured(timed(lambda: require_made(run_shards_on_spark(make, wanted, session))), None)
    resizing = timed(lambda: require_made(run_shards(make, wanted, workers=point.workers)))
    return Measured(resizing, timed_embedding(lake, point))


def timed_embedding(lake: Lake, point: Point) -> tuple[float, int]:
    """Embed all shards in this process; loading the model is not measured."""
    import torch

    from plantclef_assets.models.backbones import load_backbone
    from plantclef_assets.models.embedding import EmbeddedPhotographs, Embedding
    from plantclef_assets.models.small_vit import SMALL_VIT
    from plantclef_assets.models.weights import read_weights

    torch.set_num_threads(point.workers)
    backbone = load_backbone(SMALL_VIT, read_weights(PACKAGE_FOLDER / "demo" / "vit_mini.safetensors"), device="cpu")
    make = EmbeddedPhotographs(lake, Embedding(backbone, BATCH, point.workers), BASE_EMBEDDINGS)
    wanted = [Shard(Artifact("base_embeddings", key), {}) for key in shard_keys(point.shards)]
    return timed(lambda: require_made(run_shards(make, wanted, workers=1)))


def timed(work: Any) -> tuple[float, int]:
    """Return the seconds of a function, and the peak memory in bytes meanwhile."""
    with PeakMemory() as memory:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
    return seconds, memory.bytes


def require_made(outcomes: Iterator[Outcome]) -> None:
    """Raise the error of the first shard that failed."""
    for outcome in outcomes:
        if outcome.error:
            raise outcome.error


@contextmanager
def spark_session(workers: int) -> Iterator[Any]:
    """Open a local session as the product does.

    Raises:
        SparkUnavailableError: pyspark or Java is missing.
    """
    from plantclef_assets.engines.spark_session import python_of_this_process, require_spark, session_config

    master = f"local[{workers}]"
    require_spark(master, None)
    from pyspark.sql import SparkSession

    with python_of_this_process():
        options: dict[str, Any] = session_config(master, None, {"spark.log.level": "ERROR"})
        session = SparkSession.builder.config(map=options).getOrCreate()
    try:
        yield session
    finally:
        session.stop()


def fingerprints(lake: Lake, point: Point) -> list[str]:
    """Return the fingerprints of the resized shards of a point."""
    records = [lake.record(Artifact("resized_images", key)) for key in shard_keys(point.shards)]
    return [record.fingerprint for record in records if record]


def features(lake: Lake, point: Point) -> np.ndarray:
    """Return [CLS] of a point: float32 (photographs, D)."""
    columns = [lake.read(Artifact("base_embeddings", key), ["cls"]).column("cls") for key in shard_keys(point.shards)]
    return np.concatenate([np.array(column.to_pylist(), np.float32) for column in columns])


def require_equal(lakes: dict[Point, Lake]) -> None:
    """Check that points of the same shards have the same results.

    Raises:
        AssertionError: workers or the engine change resized bytes, or features more than by rounding.
    """
    for point, lake in lakes.items():
        first = next(one for one in lakes if (one.photographs, one.shards) == (point.photographs, point.shards))
        assert fingerprints(lake, point) == fingerprints(lakes[first], first), f"{point.name}: other bytes"
        if point.engine == LOCAL and point != first:
            ours, theirs = features(lake, point), features(lakes[first], first)
            cosines = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
            assert cosines.min() >= LOWEST_COSINE, f"{point.name}: other features, cosine {cosines.min():.6f}"


def measure(results: Results, size: Size) -> None:
    """Measure all points, and add the projections."""
    from benchmarks.projection import project  # imports Dagster, which the measured processes do not need

    unit = {Size.SMALL: 8, Size.USUAL: 240, Size.FULL: 4000}[size]
    pictures = list(photographs(SIDE // 4 if size is Size.SMALL else SIDE, DIFFERENT))
    wanted = points(unit)[-3:-1] if size is Size.SMALL else points(unit)
    found, failed = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        lakes = {}
        for number, point in enumerate(wanted):
            lake = Lake(str(Path(folder, str(number))))
            write_raw(lake, point, pictures)
            try:
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    found[point] = pool.submit(run_point, lake, point).result()
                lakes[point] = lake
            except Exception as error:
                if point.engine == LOCAL:
                    raise
                failed[point] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        require_equal(lakes)
    base = wanted[0].name
    for stage in ("resizing", "embedding"):
        results.start(f"scaling, {stage}", UNITS, base)
        for point in wanted:
            one = getattr(found[point], stage) if point in found else None
            if one:
                rate = point.photographs / one[0]
                results.add(point.name, {"rate": rate, "seconds": one[0], "peak RSS": one[1] / 1e6})
            elif point in failed and stage == "resizing":
                results.fail(point.name, failed[point])
    rates = {point: point.photographs / one.resizing[0] for point, one in found.items()}
    one_worker = max((rate for point, rate in rates.items() if point.workers == 1), default=max(rates.values()))
    project(results, 1 / one_worker, small=size is Size.SMALL)
