"""Random weights of the small model."""

import torch

from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.weights import Weights, weights_from_tensors


def random_weights(model_name: str = SMALL_VIT, seed: int = 0, **options) -> Weights:
    """Return random weights in which position embeddings, norms and layer scales matter, as in trained ones."""
    model = import_timm().create_model(model_name, num_classes=0, **options)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: (1.0 if name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "gamma")) else 0.0)
        + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in model.state_dict().items()
    }
    return weights_from_tensors(tensors, "random")
