"""Embedding: timm's plain loop, picture by picture and in batches, against the embedding engine."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from PIL import Image

from plantclef_assets.images.decoding import decode_image
from plantclef_assets.images.resizing import encode_jpeg
from plantclef_assets.models.backbones import Backbone, load_backbone
from plantclef_assets.models.embedding import embed_views
from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.weights import weights_from_tensors

IMAGES, BATCH = 256, 32


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


@contextmanager
def candidates() -> Iterator[Mapping[str, Callable[[], int]]]:
    """Create crops of noise and the small model with random weights, and yield the candidates."""
    random = np.random.default_rng(0)
    pictures = [
        encode_jpeg(Image.fromarray(random.integers(0, 255, (128, 128, 3), dtype=np.uint8))) for _ in range(IMAGES)
    ]
    torch.manual_seed(0)
    model = import_timm().create_model(SMALL_VIT, num_classes=0).eval()
    backbone = load_backbone(SMALL_VIT, weights_from_tensors(model.state_dict(), "random"))
    yield {
        "timm loop, one at a time": partial(timm_loop, model, pictures, 1),
        f"timm loop, batches of {BATCH}": partial(timm_loop, model, pictures, BATCH),
        "embedding engine, [CLS] and DCT": partial(engine, backbone, pictures, True),
        "embedding engine, [CLS] alone": partial(engine, backbone, pictures, False),
    }
