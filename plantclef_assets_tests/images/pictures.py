"""Pictures for tests."""

import io

import numpy as np
from PIL import Image

ORIENTATION_TAG = 0x0112


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return a smooth random RGB picture, which JPEG and resizing change little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
