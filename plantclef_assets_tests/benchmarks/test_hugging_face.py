"""The weights of timm's DINOv2 in transformers give the same features."""

import pytest
import torch

from benchmarks.embedding_arms import load
from benchmarks.gpu.inputs import draw_photographs, random_backbone
from plantclef_assets.models.data_config import eval_transform, normalise

pytest.importorskip("transformers")

from benchmarks import hugging_face

SIDE = 56


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"])
def test_equal_features(model):
    backbone = random_backbone(model, SIDE)
    other = hugging_face.create_model(backbone.info, backbone.model.state_dict())
    transform = eval_transform(backbone.info.data_config)
    pixels = torch.stack([load(data, transform) for data in draw_photographs(2, SIDE)])
    inputs = normalise(pixels, backbone.info.data_config)
    with torch.inference_mode():
        expected = backbone.model.forward_features(inputs)
        found = other(inputs).last_hidden_state
    assert torch.nn.functional.cosine_similarity(expected[:1, 0], expected[1:, 0]).item() < 0.999
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
