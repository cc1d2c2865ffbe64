"""The geometry of timm's eval transform on the device: Pillow's resize, bit for bit, as matrix products.

Measured on one NVIDIA H200: 128 px photographs are embedded 2.6 times as fast as with Pillow (docs/performance.md).

Pillow resamples 8-bit pictures in two passes, along the rows and then along the columns. A pixel of a pass is a
weighted sum of pixels with weights rounded to 22 fractional bits, plus a half, shifted right and clipped to 0 … 255
(`src/libImaging/Resample.c`: `precompute_coeffs`, `normalize_coeffs_8bpc`, `ImagingResampleHorizontal_8bpc`). All of
this is integer arithmetic, so the result is the same on every device. Products of integer matrices are exact in float32
as long as the sums stay below 2²⁴: a weight is therefore split into three signed digits of 8 bits, and the pixels are
multiplied by each. Factors of 8 bits stay exact on hardware that rounds them to TF32 or bfloat16.

For square pictures the result equals timm's transform exactly; all crop modes of timm are the same for these. Other
pictures are transformed by Pillow, whose versions differ in the order of the passes for tall pictures.
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
"""`PRECISION_BITS` of Pillow: 32, minus 8 for pixels, minus 2 for overshooting sums."""

_DIGIT_BITS = 8
_DIGITS = 3

_MOST_WEIGHTS = 512
"""The sum of this number of digits of at most 2⁷, times pixels below 2⁸, is below 2²⁴."""

Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Prepared(NamedTuple):
    """One picture as prepared by a thread.

    Attributes:
        pixels: uint8, (3, height, width).
        finished: whether it is transformed; if not, it is square.
    """

    pixels: torch.Tensor
    finished: bool


class DividedTransform:
    """timm's eval transform, divided between threads and device; the bytes are the same in any case.

    On a CPU the threads do all of it, since the matrix products take six to twelve times as long as Pillow there. With
    an accelerator, the threads only decode.
    """

    def __init__(self, config: DataConfig, device: torch.device):
        self._whole = eval_transform(config)
        self._on_device = device_transform(config) if device.type != "cpu" and _is_possible(config) else None

    def prepare(self, image: Image.Image) -> Prepared:
        """Return one RGB picture after the threads' part of the transform."""
        if self._on_device is None or image.width != image.height:
            return Prepared(self._whole(image), True)
        return Prepared(torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous(), False)

    def finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """Finish unfinished pictures of one size on the device: (n, 3, input_size, input_size)."""
        assert self._on_device is not None
        return self._on_device(pixels)


def _is_possible(config: DataConfig) -> bool:
    return config.interpolation in _KERNELS and config.crop_pct <= 1


def device_transform(config: DataConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the geometric half of timm's eval transform for batches of square pictures on any device.

    Returns:
        a function of uint8 pixels (n, 3, side, side) to uint8 (n, 3, input_size, input_size). It raises ValueError for
        pictures so large that a pixel is a sum of more than 512.

    Raises:
        ValueError: the interpolation is not one of Pillow's filters, or crop_pct pads pictures.
    """
    if not _is_possible(config):
        raise ValueError(f"{config.interpolation} with a crop_pct of {config.crop_pct} is not supported on the device")
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
    """Return one pass along the last dimension: uint8 (…, length) to uint8 (…, count)."""
    values = pixels.to(torch.float32)
    sums = (values @ digits[0].T).to(torch.int32)
    for digit in digits[1:]:
        sums = (sums << _DIGIT_BITS) + (values @ digit.T).to(torch.int32)
    return ((sums + (1 << (_FRACTION_BITS - 1))) >> _FRACTION_BITS).clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=64)
def _weight_digits(interpolation: str, length: int, resized: int, start: int, count: int, device: str) -> torch.Tensor:
    """Return the weights as digits, the highest first: float32 (3, count, length), shared by all callers."""
    rest = pillow_weights(interpolation, length, resized, start, count)
    if np.count_nonzero(rest, axis=1).max() > _MOST_WEIGHTS:
        raise ValueError(f"shrinking {length} px to {resized} px sums more than {_MOST_WEIGHTS} pixels")
    half, digits = 1 << (_DIGIT_BITS - 1), []
    for _ in range(_DIGITS - 1):
        digit = ((rest + half) & (2 * half - 1)) - half
        digits.append(digit)
        rest = (rest - digit) >> _DIGIT_BITS
    # Created outside inference mode, so that the cached tensor can be used everywhere.
    with torch.inference_mode(False):
        return torch.from_numpy(np.stack([rest, *reversed(digits)])).to(torch.float32).to(device)


def pillow_weights(interpolation: str, length: int, resized: int, start: int, count: int) -> NDArray[np.int64]:
    """Return the weights of Pillow's resize from `length` to `resized` pixels, times 2²².

    Args:
        interpolation: timm's name of the filter.
        length: pixels before.
        resized: pixels after.
        start: first resulting pixel to compute.
        count: number of resulting pixels to compute.

    Returns:
        shape (count, length); a row sums to 2²² except for rounding. The order of floating-point operations is that of
        Pillow.
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
    weights /= weights.cumsum(axis=1)[:, -1:]  # sequential, as in Pillow; `sum` is pairwise
    return np.trunc(weights * (1 << _FRACTION_BITS) + np.copysign(0.5, weights)).astype(np.int64)


def _box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _hamming(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    low, high = float(np.float32(0.54)), float(np.float32(0.46))  # in single precision, as in Pillow
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
"""Pillow's filters by timm's names, each with its support in pixels of the smaller grid."""
