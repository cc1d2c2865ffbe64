"""Measured speeds of this machine, within a few seconds, for the estimates of a plan.

Photographs are those of the lake or of a local source, or generated; weights are those of the lake, or random ones of
the same architecture. Nothing is downloaded or written.
"""

import io
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from plantclef_assets.defs.naming import Backbone, backbones
from plantclef_assets.defs.source_files import image_source
from plantclef_assets.images.decoding import UndecodableImage, decode_image
from plantclef_assets.images.resizing import ResizingConfig, crop_reduced, decode_for_resizing, encode_jpeg
from plantclef_assets.ingest.locations import is_remote
from plantclef_assets.lake.filesystems import is_in_bucket
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.store import Artifact
from plantclef_assets.orchestration.computation import device_of, devices_of, precision
from plantclef_assets.planning.estimates import COPY_BYTES_PER_SECOND, Speed, Stage, workers_used
from plantclef_assets.planning.work import ASSUMED_PLOT, Work
from plantclef_assets.settings import Settings

if TYPE_CHECKING:
    from plantclef_assets.models.backbones import Backbone as Model

BUDGET = 10.0
"""Seconds for the whole measurement."""
_RESIZING_SECONDS = 1.0
_PHOTOGRAPHS = 8
_BUSY = 1.5
"""Processes per core, averaged over a minute, above which the measurement is not that of an idle machine."""
_SIZE = (800, 600)
"""Width and height in px of generated photographs; the published ones have a longer side of 800 px."""


@dataclass
class Speeds:
    """What was measured on this machine.

    Attributes:
        photograph: seconds to decode, crop, resize and encode a photograph, in one process.
        plot: seconds to decode a plot, in one thread.
        passes: seconds of a forward pass of one picture by backbone, from JPEG bytes to features, on one device.
        gpus: GPUs that share the shards of embeddings.
        notes: how it was measured.
    """

    photograph: float = 0.0
    plot: float = 0.0
    passes: dict[str, float] = field(default_factory=dict)
    gpus: int = 1
    notes: list[str] = field(default_factory=list)


def measure_speeds(work: Work, budget: float = BUDGET) -> Speeds:
    """Measure this machine.

    Args:
        work: the work that is measured for.
        budget: seconds that it may take.

    Raises:
        SettingsError: the settings name a device or precision that this machine does not have.
    """
    end = time.monotonic() + budget
    settings, speeds = work.settings, Speeds()
    if work.photographs:
        _measure_resizing(work, speeds)
    if work.plots:
        _measure_plots(work, speeds)
    wanted = backbones(settings)
    for place, backbone in enumerate(wanted):
        share = (end - time.monotonic()) / (len(wanted) - place)
        _measure_passes(work, backbone, share, speeds)
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > _BUSY * _cores():
        speeds.notes.append("other processes kept this machine busy meanwhile; without them it is faster")
    return speeds


def seconds_here(work: Work, speeds: Speeds, stage: Stage, *, remaining: bool) -> float:
    """Return the seconds of a stage on this machine, all of it or what remains."""
    load = stage.remaining if remaining else stage.total
    shards = len(set(stage.loads) & set(stage.unfinished)) if remaining else len(stage.loads)
    settings = work.settings
    workers = workers_used(stage, shards, settings.workers, _cores())
    if stage.backbone and stage.asset in TABLES:  # fine-tuning, which is no table, uses one GPU
        workers = max(1, min(speeds.gpus, shards))
    return _speed(speeds, stage, min(settings.workers, _cores())).seconds(load, workers)


def _speed(speeds: Speeds, stage: Stage, threads: int) -> Speed:
    if stage.asset in ("raw_images", "plot_images"):
        return Speed(per_byte=1 / COPY_BYTES_PER_SECOND)
    if stage.asset == "resized_images":
        return Speed(per_item=speeds.photograph)
    if stage.asset == "validation_plots":
        return Speed(per_item=2 * speeds.plot)
    if stage.backbone is None:
        return Speed(per_byte=1 / COPY_BYTES_PER_SECOND)
    decoding = speeds.plot / threads if stage.unit == "plots" else 0.0
    return Speed(per_item=decoding, per_pass=speeds.passes[stage.backbone])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _measure_resizing(work: Work, speeds: Speeds) -> None:
    photographs, origin = _photographs(work)
    settings = work.settings
    config = ResizingConfig(settings.image_size, settings.max_pixels, settings.scaled_decoding)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < _RESIZING_SECONDS:
        data = photographs[done % len(photographs)]
        encode_jpeg(crop_reduced(decode_for_resizing(data, config), settings.image_size))
        done += 1
    speeds.photograph = (time.perf_counter() - start) / done
    speeds.notes.append(
        f"crop-resize: {1 / speeds.photograph:,.0f} photographs/s in one process, measured with {origin}"
    )


def _measure_plots(work: Work, speeds: Speeds) -> None:
    known = [size for sizes in work.plot_sizes.values() for size in sizes]
    size = known[0] if known else work.assumed_sizes[0] if work.plots and work.plots.count else ASSUMED_PLOT
    data = _generated(*size)
    start = time.perf_counter()
    decode_image(data, max_pixels=size[0] * size[1])
    speeds.plot = time.perf_counter() - start


def _photographs(work: Work) -> tuple[list[bytes], str]:
    """Return a few decodable photographs, and what they are."""
    found = _in_lake(work) or _in_source(work)
    usable = [data for data in found if _is_decodable(data, work.settings)]
    if usable:
        return usable, f"{len(usable)} of your photographs"
    return [_generated(*_SIZE)], f"a generated photograph of {_SIZE[0]} × {_SIZE[1]} px"


def _in_lake(work: Work) -> list[bytes]:
    if is_in_bucket(work.settings.lake) or not work.photographs:
        return []
    for key in work.photographs.counts:
        artifact = Artifact("raw_images", key)
        if work.lake.exists(artifact):
            try:
                batch = next(work.lake.open(artifact).iter_batches(_PHOTOGRAPHS, columns=["data"]), None)
            except (ValueError, OSError):  # damaged
                return []
            return batch.column("data").to_pylist() if batch else []
    return []


def _in_source(work: Work) -> list[bytes]:
    location = work.settings.training_images or ""
    place = Path(work.settings.resolve(location))
    if is_remote(location) or not place.is_dir():
        return []
    try:
        source = image_source(work.settings, location, lambda line: None)
        batch = next(iter(source.listing()), None)
        rows = [row for row in (batch.to_pylist() if batch else []) if row["reason"] is None][:_PHOTOGRAPHS]
        with source.reading() as read:
            return [data for data in read(rows) if isinstance(data, bytes)]
    except (ValueError, OSError):
        return []


def _is_decodable(data: bytes, settings: Settings) -> bool:
    try:
        decode_image(data, max_pixels=settings.max_pixels)
    except UndecodableImage:
        return False
    return True


def _generated(width: int, height: int) -> bytes:
    """Return a JPEG with about as much detail as a photograph of plants."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (max(1, height // 4), max(1, width // 4), 3), np.uint8)
    return encode_jpeg(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR), 90)


def _measure_passes(work: Work, backbone: Backbone, budget: float, speeds: Speeds) -> None:
    """Measure forward passes at the settings' batch, or as many pictures as fit the budget."""
    from plantclef_assets.models.embedding import embed_views

    settings = work.settings
    end = time.monotonic() + budget
    model, weights = _model(work, backbone)
    picture = encode_jpeg(Image.open(io.BytesIO(_generated(*_SIZE))).resize((backbone.tile_size, backbone.tile_size)))
    dct = "dct" in TABLES[backbone.embeddings].vectors

    def seconds_of(pictures: int, batch: int) -> float:
        start = time.perf_counter()
        views = embed_views(
            model,
            [picture] * pictures,
            lambda data: [decode_image(data)],
            batch_size=batch,
            threads=settings.workers,
            dct=dct,
        )
        for _ in views:
            pass
        return (time.perf_counter() - start) / pictures

    _warm_up(model, picture, dct)
    pictures = batch = 1
    measured = seconds_of(1, 1)
    for _ in range(2):  # a single pass is easily disturbed
        if time.monotonic() + measured < end - budget / 3:
            measured = min(measured, seconds_of(1, 1))
    while batch < settings.batch_size:
        affordable = int((end - time.monotonic()) / 2 / measured)
        if affordable < 2 * batch:
            break
        batch = pictures = min(settings.batch_size, affordable, 8 * batch)
        measured = seconds_of(pictures, batch)
    more = int((end - time.monotonic()) / 2 / measured / batch)
    if more >= 2:
        pictures = batch * min(more, 4)
        measured = seconds_of(pictures, batch)
    speeds.passes[backbone.name] = measured
    speeds.notes.append(
        f"{backbone.name} backbone: {1 / measured:,.3g} images/s on {model.device.type} in {model.precision}, "
        f"measured with {pictures} in batches of {batch}, {weights}"
    )
    if model.device.type == "cuda":
        speeds.gpus = len(devices_of(settings))
    if speeds.gpus > 1:
        speeds.notes.append(f"measured on one of {speeds.gpus} GPUs, which share the shards")
    if model.device.type == "cuda" and settings.compile != "off":
        speeds.notes.append("measured without compiling, which may be about a tenth faster")


def _warm_up(model: "Model", picture: bytes, dct: bool) -> None:
    """Load the libraries that a forward pass needs, with a small image."""
    import torch

    from plantclef_assets.models.device_resizing import DividedTransform

    DividedTransform(model.info.data_config, model.device).prepare(decode_image(picture))
    side = 4 * model.model.patch_embed.patch_size[0]
    model.forward(torch.zeros((1, 3, side, side), dtype=torch.uint8), dct=dct)


def _model(work: Work, backbone: Backbone) -> tuple["Model", str]:
    """Return the backbone of the lake if it is local, else one with random weights."""
    settings = work.settings
    from plantclef_assets.models.backbone_files import open_backbone
    from plantclef_assets.models.weights import WeightsError

    device, wanted = str(device_of(settings)), precision(settings)
    artifact = Artifact(backbone.asset, suffix="safetensors")
    if not is_in_bucket(settings.lake) and work.lake.exists(artifact):
        try:
            model = open_backbone(Path(str(work.lake.path(artifact))), device, wanted)
        except (WeightsError, ValueError, OSError):
            model = None
        if (
            model is not None
            and model.info.model == backbone.model
            and backbone.input_size in (None, model.info.data_config.input_size)
        ):
            return model, "with its weights"
    return _random_model(backbone, device, wanted), "with random weights"


def _random_model(backbone: Backbone, device: str, wanted: str) -> "Model":
    import torch

    from plantclef_assets.models.backbones import Backbone as Model
    from plantclef_assets.models.backbones import BackboneInfo, create_model
    from plantclef_assets.models.data_config import data_config_of

    with torch.device("meta"):
        created = create_model(backbone.model, backbone.input_size)
    model = created.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.02, 0.02)
    info = BackboneInfo(
        model=backbone.model,
        data_config=data_config_of(model, backbone.input_size),
        embed_dim=model.embed_dim,
        prefix_tokens=model.num_prefix_tokens,
        register_tokens=model.num_reg_tokens,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256="",
        source="random",
    )
    return Model(model, info, torch.device(device), wanted)
