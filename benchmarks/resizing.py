"""Resizing: a plain Pillow loop against shards of resized_images, with one worker and with all cores."""

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
from PIL import Image

from plantclef_assets.engines.local import run_shards
from plantclef_assets.images.resizing import ResizedImages, ResizingConfig
from plantclef_assets.lake.schemas import RAW_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard

SHARDS, IMAGES, SIZE = 4, 60, (1200, 800)


def plain_loop(pictures: list[bytes]) -> int:
    """Decode, crop, resize and encode one picture after the other, as a script would."""
    for data in pictures:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.resize((128, 128), Image.Resampling.BOX, box=(left, top, left + side, top + side))
        square.save(io.BytesIO(), "JPEG", quality=95)
    return len(pictures)


def shards(lake: Lake, workers: int) -> int:
    """Write all shards of resized_images."""
    wanted = [Shard(Artifact("resized_images", f"{key:02}"), {}) for key in range(SHARDS)]
    outcomes = list(run_shards(ResizedImages(lake, ResizingConfig(128, 10**9)), wanted, workers=workers))
    assert not any(outcome.error for outcome in outcomes)
    return SHARDS * IMAGES


@contextmanager
def candidates() -> Iterator[Mapping[str, Callable[[], int]]]:
    """Write raw shards of random smooth photographs, and yield the candidates."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        pictures = []
        for key in range(SHARDS):
            with write_shard(lake, Shard(Artifact("raw_images", f"{key:02}"), {}), RAW_IMAGES) as table:
                for number in range(IMAGES):
                    coarse = Image.fromarray(random.integers(0, 255, (60, 90, 3), dtype=np.uint8))
                    buffer = io.BytesIO()
                    coarse.resize(SIZE, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
                    pictures.append(buffer.getvalue())
                    table.add([{"image_name": f"{key}-{number}.jpg", "species_id": 1, "data": pictures[-1]}])
        cores = os.cpu_count() or 1
        yield {
            "plain Pillow loop": partial(plain_loop, pictures),
            "shards, 1 worker": partial(shards, lake, 1),
            f"shards, {cores} workers (their start included)": partial(shards, lake, cores),
        }
