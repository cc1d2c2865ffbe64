"""Embedding from parquet to parquet: `python -m benchmarks embedding`.

Compares the approach of the reference (`predict_batch_udf` in a warm Spark session), a script with timm and torch's
DataLoader, Hugging Face's transformers, and the maker of the embedding assets with the model alone, in fp32 with
random weights. All arms embed the same photographs of 128 px in batches of eight, as the reference does, and their
[CLS] are compared. Each arm has a process of its own, so its peak memory is its own; memory that processes of one arm
share counts in each of them. An arm for which Java or a package is missing is left out.
"""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.embedding_arms import ALONE, OPENERS, OURS, REFERENCE, Job, Work
from benchmarks.gpu.bench import least_cosine
from benchmarks.gpu.inputs import draw_photographs, random_backbone
from benchmarks.memory import PeakMemory
from benchmarks.results import Results
from benchmarks.timing import CORES, Size, add_rates, rates
from plantclef_assets.engines.spark_session import SparkUnavailableError
from plantclef_assets.lake.schemas import RESIZED_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard
from plantclef_assets.models.backbone_files import save_backbone

ALL, FEW = "00", "01"
"""Keys of the shards: all photographs, and one for each core, to warm up."""
BATCH, STORED_SIDE, LEAST_COSINE = 8, 128, 0.999


@dataclass(frozen=True)
class Case:
    """One table.

    Attributes:
        model: timm's name.
        side: of its input, px.
        dct: see `Job`.
        photographs: how many are embedded in a round, a multiple of the batch, since the platform pads batches.
        rounds: of all arms.
    """

    model: str
    side: int
    dct: bool
    photographs: int
    rounds: int = 3


_SMALL, _BASE = "vit_small_patch14_dinov2.lvd142m", "vit_base_patch14_reg4_dinov2.lvd142m"
CASES = {
    Size.SMALL: [Case("vit_small_patch14_reg4_dinov2", 28, False, 8, 1)],
    Size.USUAL: [
        Case(_SMALL, 126, True, 192),
        Case(_SMALL, 224, True, 64),
        Case(_BASE, 224, False, 24),
        Case(_BASE, 518, False, 8, 2),
    ],
    Size.FULL: [
        Case(_SMALL, 126, True, 1024),
        Case(_SMALL, 224, True, 512),
        Case(_BASE, 224, False, 256),
        Case(_BASE, 518, False, 64),
    ],
}


def measure(results: Results, size: Size) -> None:
    """Measure the arms with every model and input size."""
    for case in CASES[size]:
        with tempfile.TemporaryDirectory() as folder:
            measure_case(results, case, Path(folder))


def measure_case(results: Results, case: Case, folder: Path) -> None:
    """Time the arms in turn, compare their features, and add a table."""
    job = Job(folder, folder / "backbone.safetensors", case.dct, BATCH)
    save_backbone(job.weights, random_backbone(case.model, case.side))
    write_photographs(folder, {ALL: case.photographs, FEW: CORES})
    with open_arms(job) as (arms, missing):
        seconds: dict[str, list[float]] = {arm: [] for arm in arms}
        memory = dict.fromkeys(arms, 0)
        for _ in range(case.rounds):
            for arm, process in arms.items():
                if arm == REFERENCE:  # Spark ends workers that were idle for a minute
                    process.submit(embed, arm, job, FEW).result()
                taken, peak = process.submit(embed, arm, job, ALL).result()
                seconds[arm].append(taken)
                memory[arm] = max(memory[arm], peak)
    name = f"embedding {case.photographs} photographs, {case.model.partition('.')[0]} at {case.side} px"
    results.start(name, rates("images/s") | {"peak RSS": "GB", "cosine": ""}, ALONE)
    cosines = compare(job, list(arms))
    add_rates(
        results,
        seconds,
        case.photographs,
        {arm: {"peak RSS": memory[arm] / 1e9, "cosine": cosines[arm]} for arm in arms},
    )
    for arm, reason in missing.items():
        results.fail(arm, reason)


def write_photographs(folder: Path, shards: dict[str, int]) -> None:
    """Write shards of resized_images with so many photographs each."""
    for key, count in shards.items():
        with write_shard(Lake(str(folder)), Shard(Artifact("resized_images", key), {}), RESIZED_IMAGES) as table:
            for number, data in enumerate(draw_photographs(count, STORED_SIDE)):
                table.add([{"image_name": f"{number:06}.jpg", "species_id": 1, "data": data}])


@contextmanager
def open_arms(job: Job) -> Iterator[tuple[dict[str, ProcessPoolExecutor], dict[str, str]]]:
    """Start a process for each arm, warm it up, and yield the processes, and the reasons of missing arms."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.embedding_arms"])  # imported once for all processes
    with ExitStack() as stack:
        processes = {arm: stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for arm in OPENERS}
        warm = {arm: process.submit(embed, arm, job, FEW) for arm, process in processes.items()}
        missing = {}
        for arm, future in warm.items():
            try:
                future.result()
            except (ImportError, SparkUnavailableError) as error:
                missing[arm] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        yield {arm: process for arm, process in processes.items() if arm not in missing}, missing


def embed(arm: str, job: Job, key: str) -> tuple[float, int]:
    """Embed a shard in the process of the arm, and return the seconds and the peak memory in bytes."""
    torch.set_num_threads(CORES)
    work = _opened(arm, job)
    with PeakMemory() as memory:
        start = time.perf_counter()
        work(key)
        seconds = time.perf_counter() - start
    return seconds, memory.bytes


@lru_cache(maxsize=1)
def _opened(arm: str, job: Job) -> Work:
    return OPENERS[arm](job)


def compare(job: Job, arms: list[str]) -> dict[str, float]:
    """Return the least cosine of each arm's [CLS] to those of the model alone; ours must be equal."""
    features = {arm: _read_features(job.target(arm, ALL)) for arm in arms}
    expected = features[ALONE]
    assert np.array_equal(features[OURS], expected), "the assets' features differ from those of the model alone"
    cosines = {arm: least_cosine(found, expected) for arm, found in features.items()}
    assert min(cosines.values()) >= LEAST_COSINE, f"an arm computes something else: {cosines}"
    return cosines


def _read_features(place: Path) -> np.ndarray:
    table = pq.read_table(place, columns=["image_name", "cls"]).sort_by("image_name")
    return np.array(table.column("cls").to_pylist(), np.float32)
