"""Pillow's resize as matrix products: the same bytes."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from plantclef_assets.models.data_config import DataConfig, eval_transform
from plantclef_assets.models.device_resizing import DividedTransform, device_transform, pillow_weights
from plantclef_assets_tests.images.pictures import picture

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else []), *(["mps"] if torch.mps.is_available() else [])]
SIDES = (48, 96, 128, 131, 200, 256, 518)


def config_of(input_size, interpolation="bicubic", crop_pct=1.0, crop_mode="center"):
    return DataConfig(input_size, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), interpolation, crop_pct, crop_mode)


def noise(side, seed=0):
    """Make black and white noise on one half, whose resize overshoots, and noise of all levels on the other."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (side, side, 3))
    pixels[: side // 2] = 255 * (pixels[: side // 2] > 127)
    return Image.fromarray(pixels.astype(np.uint8))


def as_batch(*images):
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


def equal_to_timm(config, side, device="cpu"):
    images = [noise(side, 1), picture(side, side)]
    expected = torch.stack([eval_transform(config)(image) for image in images])
    result = device_transform(config)(as_batch(*images).to(device)).cpu()
    return result.dtype == torch.uint8 and torch.equal(result, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", SIDES)
def test_square_pictures_are_timms_bit_for_bit(side, device):
    for input_size, crop_pct in itertools.product((42, 126, 224), (1.0, 0.9, 0.875)):
        assert equal_to_timm(config_of(input_size, crop_pct=crop_pct), side, device), (input_size, crop_pct)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos", "box", "hamming"])
def test_every_filter_is_pillows(interpolation, device):
    for side, input_size in ((48, 126), (128, 126), (131, 224), (900, 42), (518, 518), (128, 518)):
        assert equal_to_timm(config_of(input_size, interpolation), side, device), (side, input_size)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_all_crop_modes_are_one_for_squares(crop_mode):
    for side, crop_pct in itertools.product((96, 131, 224, 256), (1.0, 0.9, 0.875)):
        assert equal_to_timm(config_of(224, crop_pct=crop_pct, crop_mode=crop_mode), side)


def test_rounded_products_are_still_exact():
    """Where hardware multiplies float32 as bfloat16, nothing is lost: factors have eight significant bits."""
    weights = torch.from_numpy(pillow_weights("lanczos", 518, 224, 0, 224))
    pixels = as_batch(noise(518)).to(torch.int64)
    expected = ((pixels @ weights.T + (1 << 21)) >> 22).clamp(0, 255).to(torch.uint8)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        result = device_transform(config_of(224, "lanczos"))(pixels.to(torch.uint8))
    finally:
        torch.set_float32_matmul_precision(before)
    second = ((expected.to(torch.int64).mT @ weights.T + (1 << 21)) >> 22).clamp(0, 255).to(torch.uint8).mT
    assert torch.equal(result, second)


@pytest.mark.parametrize("changes", [{"interpolation": "nearest"}, {"crop_pct": 1.1}])
def test_what_the_device_cannot_do_is_refused_and_left_to_the_threads(changes):
    config = config_of(42, **changes)
    with pytest.raises(ValueError, match="not supported on the device"):
        device_transform(config)
    prepared = DividedTransform(config, torch.device("cuda")).prepare(picture(50, 50))
    assert prepared.finished
    assert torch.equal(prepared.pixels, eval_transform(config)(picture(50, 50)))


def test_shrinking_beyond_exactness_is_refused():
    with pytest.raises(ValueError, match="more than 512"):
        device_transform(config_of(14))(torch.zeros((1, 3, 3000, 3000), dtype=torch.uint8))


def test_threads_do_all_for_a_cpu_and_all_but_squares_for_an_accelerator():
    config = config_of(42)
    square, oblong = picture(50, 50), picture(50, 60)
    assert DividedTransform(config, torch.device("cpu")).prepare(square).finished
    divided = DividedTransform(config, torch.device("cuda"))
    assert divided.prepare(oblong).finished
    prepared = divided.prepare(square)
    assert (prepared.finished, prepared.pixels.dtype, tuple(prepared.pixels.shape)) == (False, torch.uint8, (3, 50, 50))
    assert torch.equal(divided.finish(prepared.pixels[None])[0], eval_transform(config)(square))
