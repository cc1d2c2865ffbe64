"""Scaled decoding changes the features of real photographs hardly at all; `--log-cli-level=INFO` shows by how much."""

import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.images.decoding import ReducedImage, decode_image, decode_reduced
from plantclef_assets.images.resizing import crop_reduced, crop_resize, encode_jpeg
from plantclef_assets.models.backbones import Backbone, load_backbone
from plantclef_assets.models.embedding import embed_views
from plantclef_assets.models.weights import read_weights
from plantclef_assets_tests.images.test_resizing import area_average
from plantclef_assets_tests.images.test_scaled_decoding import centre

pytestmark = [pytest.mark.slow, pytest.mark.sample]

PHOTOGRAPHS = 60
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def real_backbone(sample: Path) -> Backbone:
    weights = read_weights(sample.parent / "weights" / "dinov2_vits14.safetensors")
    return load_backbone("vit_small_patch14_dinov2", weights, input_size=126)


def photographs(sample: Path) -> list[bytes]:
    files = sorted((sample / "images").rglob("*.jpg"))
    return [file.read_bytes() for file in files[:: len(files) // PHOTOGRAPHS][:PHOTOGRAPHS]]


def enlarged(sample: Path) -> list[bytes]:
    """Photographs with a shorter side of 800 px, as in the data set published in full."""

    def enlarge(data: bytes) -> bytes:
        image = decode_image(data)
        scale, buffer = 800 / min(image.size), io.BytesIO()
        size = (round(image.width * scale), round(image.height * scale))
        image.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    return [enlarge(data) for data in photographs(sample)]


def quadrats(sample: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((sample / "plots").iterdir()) if not file.name.startswith("MIX")]


def psnr(image: Image.Image, expected: Image.Image) -> float:
    return float(10 * np.log10(255**2 / ((np.asarray(image, float) - np.asarray(expected, float)) ** 2).mean()))


@pytest.mark.parametrize(
    ("source", "size"),
    [(photographs, 112), (enlarged, 128), (quadrats, 128)],
    ids=["500 px to 112 px", "800 px to 128 px", "real quadrats to 128 px"],
)
def test_features_are_those_of_the_exact_area_average(
    source: Callable[[Path], list[bytes]], size: int, sample: Path, real_backbone: Backbone
) -> None:
    files = source(sample)
    reduced: list[ReducedImage] = [decode_reduced(data, 2 * size) for data in files]
    assert all(one.divisor > 1 for one in reduced)
    complete = [decode_image(data) for data in files]
    exact = [Image.fromarray(np.rint(area_average(centre(one), size)).astype(np.uint8)) for one in complete]
    ours = {
        "scaled decoding": [crop_reduced(one, size) for one in reduced],
        "complete decoding": [crop_resize(one, size) for one in complete],
    }

    def embed(squares: list[Image.Image]) -> np.ndarray:
        cls = np.concatenate([one.cls for one in embed_views(real_backbone, squares, lambda one: [one], dct=False)])
        return cls / np.linalg.norm(cls, axis=1, keepdims=True)

    def stored(squares: list[Image.Image]) -> list[Image.Image]:
        return [decode_image(encode_jpeg(one)) for one in squares]

    for name, squares in ours.items():
        decibels = np.array([psnr(*pair) for pair in zip(squares, exact, strict=True)])
        cosines = (embed(squares) * embed(exact)).sum(axis=1)
        as_jpeg = (embed(stored(squares)) * embed(stored(exact))).sum(axis=1)
        log.info(
            f"{name}, {len(files)} files: [CLS] cosine {np.median(cosines):.5f} (lowest {cosines.min():.5f}), "
            f"PSNR {np.median(decibels):.1f} dB (lowest {decibels.min():.1f}); "
            f"cosine after JPEG {np.median(as_jpeg):.5f} (lowest {as_jpeg.min():.5f})"
        )
        if name == "scaled decoding":
            assert np.median(cosines) >= 0.9995
            assert cosines.min() >= 0.999
            assert np.median(as_jpeg) >= 0.9995
