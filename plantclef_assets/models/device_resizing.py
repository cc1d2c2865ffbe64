"""The geometry of timm's eval transform on the device: Pillow's resize, bit for bit, as matrix products.

Pillow resamples 8-bit pictures in two passes, along the rows and then along the columns. A pixel of a pass is a
weighted sum of pixels with weights rounded to 22 fractional bits, plus a half, shifted right and clipped to 0 … 255
(`src/libImaging/Resample.c`: `precompute_coeffs`, `normalize_coeffs_8bpc`, `ImagingResampleHorizontal_8bpc`). All of
this is integer arithmetic, and so has one right answer on every device. Products of integer matrices are exact in
float32 while the sums stay below 2²⁴: a weight is therefore split into three signed digits of 8 bits, and the
pixels are multiplied by each. Factors of 8 bits stay exact where the hardware rounds them to TF32 or bfloat16.

The tolerance to timm's transform is zero, for square pictures. All crop modes of timm are one for these. Others are
left to Pillow, whose versions disagree on which pass goes first where a picture is taller than wide.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from plantclef_assets.models.data_config import DataConfig, eval_transform

_FRACTION_BITS = 22
"""`PRECISION_BITS` of Pillow: 32 less 8 of the pixels, less 2 for sums that overshoot."""

_DIGIT_BITS = 8
_DIGITS = 3

_MOST_WEIGHTS = 512
"""So many digits of at most 2⁷ times pixels below 2⁸ sum up to less than 2²⁴."""

Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Prepared(NamedTuple):
    """One picture as a thread leaves it.

    Attributes:
        pixels: uint8, (3, height, width).
        finished: whether it is transformed already; if not, it is square.
    """

    pixels: torch.Tensor
    finished: bool


class DividedTransform:
    """timm's eval transform, divided between the threads and the device; the bytes are the same in any case.

    On a CPU the threads do all of it: there the matrix products take six to twelve times as long as Pillow. An
    accelerator does them beside its forward passes, and the threads only decode.
    """

    def __init__(self, config: DataConfig, device: torch.device):
        self._whole = eval_transform(config)
        self._on_device = device_transform(config) if device.type != "cpu" and _is_possible(config) else None

    def prepare(self, image: Image.Image) -> Prepared:
        """Do the part of the threads for one RGB picture."""
        if self._on_device is None or image.width != image.height:
            return Prepared(self._whole(image), True)
        return Prepared(torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous(), False)

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """Do the part of the device for unfinished pictures of one size: to (n, 3, input_size, input_size)."""
        assert self._on_device is not None
        return self._on_device(pixels)


def _is_possible(config: DataConfig) -> bool:
    return config.interpolation in _KERNELS and config.crop_pct <= 1


def device_transform(config: DataConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """Make the geometric half of timm's eval transform for batches of square pictures on any device.

    Returns:
        a function of uint8 pixels (n, 3, side, side) to uint8 (n, 3, input_size, input_size). It raises
        ValueError where pictures shrink so much that a pixel is a sum of more than 512.

    Raises:
        ValueError: the interpolation is not one of Pillow's filters, or crop_pct pads pictures.
    """
    if not _is_possible(config):
        raise ValueError(f"{config.interpolation} with a crop_pct of {config.crop_pct} is not done on the device")
    resized = math.floor(config.input_size / config.crop_pct)
    start = round((resized - config.input_size) / 2)

    def transform(pixels: torch.Tensor) -> torch.Tensor:
        side = pixels.shape[-1]
        if side == resized:
            return pixels[..., start : start + config.input_size, start : start + config.input_size]
        digits = _weight_digits(config.interpolation, side, resized, start, config.input_size, str(pixels.device))
        across = _weighted_sums(pixels, digits)
        return _weighted_sums(across.transpose(-1, -2), digits).transpose(-1, -2)

    return transform


def _weighted_sums(pixels: torch.Tensor, digits: torch.Tensor) -> torch.Tensor:
    """Do one pass along the last dimension: uint8 (…, length) to uint8 (…, count)."""
    values = pixels.to(torch.float32)
    sums = (values @ digits[0].T).to(torch.int32)
    for digit in digits[1:]:
        sums = (sums << _DIGIT_BITS) + (values @ digit.T).to(torch.int32)
    return ((sums + (1 << (_FRACTION_BITS - 1))) >> _FRACTION_BITS).clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=64)
def _weight_digits(interpolation: str, length: int, resized: int, start: int, count: int, device: str) -> torch.Tensor:
    """Split the weights into digits, the highest first: float32 (3, count, length), for all callers."""
    rest = pillow_weights(interpolation, length, resized, start, count)
    if np.count_nonzero(rest, axis=1).max() > _MOST_WEIGHTS:
        raise ValueError(f"shrinking {length} px to {resized} sums up more than {_MOST_WEIGHTS} pixels")
    half, digits = 1 << (_DIGIT_BITS - 1), []
    for _ in range(_DIGITS - 1):
        digit = ((rest + half) & (2 * half - 1)) - half
        digits.append(digit)
        rest = (rest - digit) >> _DIGIT_BITS
    # Built outside inference mode so that the cached tensor can be used everywhere.
    with torch.inference_mode(False):
        return torch.from_numpy(np.stack([rest, *reversed(digits)])).to(torch.float32).to(device)


def pillow_weights(interpolation: str, length: int, resized: int, start: int, count: int) -> NDArray[np.int64]:
    """Compute the weights of Pillow's resize from `length` to `resized` pixels, times 2²².

    Args:
        interpolation: timm's name of the filter.
        length: pixels before.
        resized: pixels after.
        start: the first pixel after that is wanted.
        count: how many of them are.

    Returns:
        shape (count, length); a row sums up to 2²² but for rounding. The order of the floating-point operations is
        that of Pillow.
    """
    kernel, support = _KERNELS[interpolation]
    scale = length / resized
    stretch = max(scale, 1.0)
    centres = (start + np.arange(count) + 0.5) * scale
    first = np.maximum((centres - support * stretch + 0.5).astype(np.int64), 0)[:, None]
    end = np.minimum((centres + support * stretch + 0.5).astype(np.int64), length)[:, None]
    places = np.arange(length)
    weights = kernel((places - centres[:, None] + 0.5) * (1.0 / stretch))
    weights = np.where((first <= places) & (places < end), weights, 0.0)
    weights /= weights.cumsum(axis=1)[:, -1:]  # one after the other, as Pillow sums them; `sum` goes by pairs
    return np.trunc(weights * (1 << _FRACTION_BITS) + np.copysign(0.5, weights)).astype(np.int64)


def _box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _hamming(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    low, high = float(np.float32(0.54)), float(np.float32(0.46))  # Pillow writes them in single precision
    return np.where(x < 1.0, np.sinc(x) * (low + high * np.cos(x * np.pi)), 0.0)


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((x >= -3.0) & (x < 3.0), np.sinc(x) * np.sinc(x / 3.0), 0.0)


_KERNELS: dict[str, tuple[Kernel, float]] = {
    "box": (_box, 0.5),
    "bilinear": (_bilinear, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Pillow's filters by timm's names, each with its reach in pixels of the smaller grid."""
