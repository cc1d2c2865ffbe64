"""Projection of PlantCLEF 2025 to four machines, with the arithmetic: hours = items × seconds each / devices / 3600.

Counts and speeds are those of `plantclef plan` (`plantclef_assets.planning`) for the profile plantclef2025 with 91
tiles of each plot: 1,408,033 photographs and 2,105 × 91 tiles, by DINOv2 ViT-B/14 at 224 px and ViT-B/14 reg4 at 518
px. An item is a photograph or a tile.

- A core: seconds of crop-resize as measured by `scaling` with one worker; seconds of forward passes as measured by
  `measure_speeds` with all cores of this machine, so that one device is this machine. More cores divide the time.
- A GPU: rates of one H200 in docs/performance.md, scaled by the operations of the model. An H100 has the same peak in
  bf16, 989 TFLOP/s, so its rates are taken to be those; they are not measured. Eight divide the time by eight.
  Crop-resize runs on 16 cores for each GPU, as in the machine that was measured.

Downloads, copies into the lake, classifiers and submissions are left out. Dividing by devices is optimistic: it takes
shards to be equal and disks to be fast enough.
"""

import tempfile
from dataclasses import dataclass
from typing import Any

from benchmarks.results import Results
from benchmarks.timing import CORES
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.planning.estimates import H200, Stage
from plantclef_assets.planning.speeds import Speeds, measure_speeds, seconds_here
from plantclef_assets.planning.work import Work
from plantclef_assets.settings import load_settings

TILING = "1x1+2x2+3x3+4x4+5x5+6x6"
"""91 tiles of each plot."""
CORES_PER_GPU, CLUSTER_CORES = 16, 32
STAGES = (
    "resized_images",
    "base_embeddings",
    "finetuned_embeddings",
    "base_tile_embeddings",
    "finetuned_tile_embeddings",
)
UNITS = {"hours": "h", "items": "", "seconds each": "s", "devices": ""}
_SECONDS = 20.0
_SOURCES = ("training_metadata", "training_images", "plot_images", "finetuned_weights")


@dataclass(frozen=True)
class Machine:
    """A machine or cluster.

    Attributes:
        name: for the reader.
        cores: that resize photographs.
        gpus: that embed; 0 if the cores do.
    """

    name: str
    cores: int
    gpus: int = 0


MACHINES = (
    Machine("2 cores", 2),
    Machine("one H100 (scaled by peak bf16: 989 TFLOP/s as the H200 that was measured)", CORES_PER_GPU, 1),
    Machine("eight H100 (scaled by peak bf16: 989 TFLOP/s as the H200 that was measured)", 8 * CORES_PER_GPU, 8),
    Machine("Spark cluster of 32 cores (scaled by cores)", CLUSTER_CORES),
)


def project(results: Results, seconds_per_photograph: float, *, small: bool) -> None:
    """Add a table for each machine, with a row for each stage.

    Args:
        results: receives the tables.
        seconds_per_photograph: of crop-resize on one core.
        small: whether the demo's model stands in for both backbones, for tests.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = published_work(folder, small=small)
        speeds = measure_speeds(work, 1.0 if small else _SECONDS)
        for machine in MACHINES:
            results.start(f"projection, {machine.name}", UNITS)
            hours = 0.0
            for stage in (one for one in work.stages if one.asset in STAGES):
                items, seconds, devices = arithmetic(work, speeds, stage, machine, seconds_per_photograph)
                own = items * seconds / devices / 3600
                hours += own
                values = dict(zip(UNITS, (own, float(items), seconds, float(devices)), strict=True))
                results.add(stage.asset, values)
            results.add("sum", {"hours": hours})


def arithmetic(
    work: Work, speeds: Speeds, stage: Stage, machine: Machine, seconds_per_photograph: float
) -> tuple[int, float, float]:
    """Return the items of a stage, the seconds of each on one device, and the devices."""
    if stage.backbone is None:
        return stage.total.items, seconds_per_photograph, machine.cores
    items = stage.total.passes
    if not machine.gpus:
        return items, seconds_here(work, speeds, stage, remaining=False) / items, machine.cores / CORES
    flops = work.shapes[stage.backbone].flops(all_tokens="dct" in TABLES[stage.asset].vectors)
    of_one = H200.seconds_per_photograph if stage.unit == "photographs" else H200.seconds_per_tile
    return items, of_one(flops), machine.gpus


def published_work(folder: str, *, small: bool) -> Work:
    """Return the work of the published data set; nothing is downloaded."""
    features = ("base_cls",) if small else ("base_cls", "finetuned_cls")
    runs = {f"{name}_91": _run(name) for name in features}
    options: dict[str, Any] = dict.fromkeys(_SOURCES[:3] if small else _SOURCES, "published")
    if small:
        options |= {
            "base_model": SMALL_VIT,
            "base_weights": "package:demo/vit_mini.safetensors",
            "base_input_size": 126,
        }
    settings = load_settings(profile="plantclef2025", lake=folder, runs=runs, **options)
    return Work(settings, build_graph(settings))


def _run(feature_set: str) -> dict[str, Any]:
    return {"feature_set": feature_set, "tiling": TILING, "aggregation": "max", "species_per_plot": 3}
