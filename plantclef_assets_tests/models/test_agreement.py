"""[CLS] of the engine against timm's plain loop, with the shipped weights on photographs of the demo's kind."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from plantclef_assets import demo
from plantclef_assets.demo.flora import species_of
from plantclef_assets.demo.photographs import photograph_species
from plantclef_assets.images.decoding import decode_image
from plantclef_assets.images.resizing import crop_resize, encode_jpeg
from plantclef_assets.models.backbones import load_backbone
from plantclef_assets.models.embedding import embed_views
from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.weights import read_weights

WEIGHTS = Path(demo.__file__).with_name("vit_mini.safetensors")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def photographs():
    """Crops of 128 px as the platform stores them."""
    drawn = [photograph_species(species_of(3, n), 176, np.random.default_rng([5, n]))[1] for n in range(13)]
    return [encode_jpeg(crop_resize(image, 128)) for image in drawn]


@pytest.fixture(scope="module")
def plain(photographs):
    """What timm's documentation shows: its own transform, one picture at a time, in float32 on the CPU."""
    timm = import_timm()
    model = timm.create_model(SMALL_VIT, num_classes=0).eval()
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        images = [Image.open(io.BytesIO(data)).convert("RGB") for data in photographs]
        return np.concatenate([model.forward_features(transform(image)[None])[:, 0].numpy() for image in images])


def engine(photographs, device, precision, dct):
    backbone = load_backbone(SMALL_VIT, read_weights(WEIGHTS), device=device, precision=precision)
    embedded = embed_views(backbone, photographs, lambda data: [decode_image(data)], batch_size=5, dct=dct)
    return np.concatenate([one.cls for one in embedded])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dct", [True, False])
def test_in_fp32_the_largest_relative_difference_is_1e_4(photographs, plain, device, dct):
    difference = np.abs(engine(photographs, device, "fp32", dct) - plain).max(axis=1)
    assert (difference / np.abs(plain).max(axis=1)).max() <= 1e-4


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dct", [True, False])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_half_precision_the_cosine_is_at_least_0_999(photographs, plain, device, precision, dct):
    cls = engine(photographs, device, precision, dct)
    cosines = (cls * plain).sum(axis=1) / np.linalg.norm(cls, axis=1) / np.linalg.norm(plain, axis=1)
    assert cosines.min() >= 0.999


def test_the_shipped_weights_say_their_licence():
    backbone = load_backbone(SMALL_VIT, read_weights(WEIGHTS))
    assert backbone.info.licence == "Apache-2.0"
