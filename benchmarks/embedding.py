"""Embedding: timm's plain loop, picture by picture and in batches, against the embedding engine."""

import os
from functools import partial

import numpy as np
import torch
from PIL import Image

from benchmarks.results import Results
from benchmarks.timing import Size, add_rates, alternate, rates
from plantclef_assets.images.decoding import decode_image
from plantclef_assets.images.resizing import encode_jpeg
from plantclef_assets.models.backbones import Backbone, load_backbone
from plantclef_assets.models.embedding import embed_views
from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.weights import weights_from_tensors

BATCH = 32


def timm_loop(model: torch.nn.Module, pictures: list[bytes], batch: int) -> int:
    """Embed as timm's documentation shows: transform, model, pooled [CLS]."""
    timm = import_timm()
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    with torch.inference_mode():
        for start in range(0, len(pictures), batch):
            tensors = [transform(decode_image(data)) for data in pictures[start : start + batch]]
            model(torch.stack(tensors)).numpy()
    return len(pictures)


def engine(backbone: Backbone, pictures: list[bytes], dct: bool) -> int:
    """Embed with the engine: decode threads, [CLS] and DCT from one pass, or [CLS] only."""
    threads = os.cpu_count() or 1
    embedded = embed_views(
        backbone, pictures, lambda data: [decode_image(data)], batch_size=BATCH, threads=threads, dct=dct
    )
    return sum(len(one.cls) for one in embedded)


def measure(results: Results, size: Size) -> None:
    """Compare the loops on crops of noise, with the small model and random weights."""
    images = 32 if size is Size.SMALL else 256
    random = np.random.default_rng(0)
    pictures = [
        encode_jpeg(Image.fromarray(random.integers(0, 255, (128, 128, 3), dtype=np.uint8))) for _ in range(images)
    ]
    torch.manual_seed(0)
    model = import_timm().create_model(SMALL_VIT, num_classes=0).eval()
    backbone = load_backbone(SMALL_VIT, weights_from_tensors(model.state_dict(), "random"))
    arms = {
        "timm loop, one at a time": partial(timm_loop, model, pictures, 1),
        f"timm loop, batches of {BATCH}": partial(timm_loop, model, pictures, BATCH),
        "embedding engine, [CLS] and DCT": partial(engine, backbone, pictures, True),
        "embedding engine, [CLS] alone": partial(engine, backbone, pictures, False),
    }
    results.start(f"embedding {images} crops", rates("images/s"), "timm loop, one at a time")
    add_rates(results, alternate(arms, rounds=3), images)
