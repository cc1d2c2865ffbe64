"""Pictures and weights that the tests of vision are made of."""

import io

import numpy as np
import torch
from PIL import Image

from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.weights import Weights, weights_from_tensors

ORIENTATION_TAG = 0x0112


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Make a smooth random RGB picture, so that JPEG and resizing change it little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def random_weights(model_name: str = SMALL_VIT, seed: int = 0, **options) -> Weights:
    """Make weights as if trained: random, but with position embeddings, norms and layer scales that matter."""
    model = import_timm().create_model(model_name, num_classes=0, **options)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: (1.0 if name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "gamma")) else 0.0)
        + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in model.state_dict().items()
    }
    return weights_from_tensors(tensors, "random")
