import json
import shutil

import numpy as np
import pytest
import scipy.fft
import torch
from safetensors.torch import save_file

from plantclef_assets.models.backbone_files import (
    open_backbone,
    read_backbone_info,
    read_backbone_metadata,
    save_backbone,
)
from plantclef_assets.models.backbones import BackboneInfo, load_backbone
from plantclef_assets.models.data_config import DataConfig, data_config_of, eval_transform, normalise
from plantclef_assets.models.small_vit import SMALL_VIT
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.weights import WeightsError, weights_from_tensors
from plantclef_assets_tests.images.pictures import picture
from plantclef_assets_tests.models.random_weights import random_weights

timm = import_timm()

WITHOUT_REGISTERS = "vit_tiny_patch16_224"


def random_pixels(count: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b).min())


@pytest.mark.parametrize("size", [(126, 126), (200, 150), (90, 160)])
@pytest.mark.parametrize(("crop_pct", "crop_mode"), [(1.0, "center"), (0.875, "center"), (1.0, "squash")])
def test_the_transform_is_timms_bit_for_bit(size, crop_pct, crop_mode):
    config = DataConfig(126, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "bicubic", crop_pct, crop_mode)
    reference = timm.data.create_transform(
        (3, 126, 126),
        is_training=False,
        interpolation="bicubic",
        mean=config.mean,
        std=config.std,
        crop_pct=crop_pct,
        crop_mode=crop_mode,
    )
    image = picture(*size)
    pixels = eval_transform(config)(image)
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (3, 126, 126))
    assert torch.equal(normalise(pixels[None], config)[0], reference(image))


def test_the_data_config_is_the_models():
    config = data_config_of(timm.create_model("vit_small_patch14_dinov2", num_classes=0), 224)
    assert config == DataConfig(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", 1.0, "center")


@pytest.mark.parametrize(("name", "side"), [(SMALL_VIT, 126), (WITHOUT_REGISTERS, 224)])
def test_one_forward_gives_timms_cls_and_scipys_dct(name, side):
    weights = random_weights(name)
    backbone = load_backbone(name, weights)
    model = timm.create_model(name, num_classes=0).eval()
    model.load_state_dict(weights.tensors)
    pixels = random_pixels(3, side)
    with torch.inference_mode():
        tokens = model.forward_features(normalise(pixels, backbone.info.data_config))
    cls, dct = backbone.forward(pixels)
    assert torch.equal(cls, tokens[:, 0])
    registers = model.num_reg_tokens
    layout = np.delete(tokens.numpy().astype(np.float64), range(1, 1 + registers), axis=1)
    assert layout.shape[1] == 1 + (side // model.patch_embed.patch_size[0]) ** 2
    expected = scipy.fft.dctn(layout, type=2, axes=(1, 2))[:, :8, :8].reshape(3, 64)
    np.testing.assert_allclose(dct.numpy(), expected, atol=3e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", [SMALL_VIT, WITHOUT_REGISTERS, "vit_small_patch14_dinov2"])
def test_cls_alone_is_cls_of_the_whole(name):
    """In float32 on a CPU to the bit, elsewhere within the rounding of another order of sums."""
    side = {SMALL_VIT: 126, WITHOUT_REGISTERS: 224}.get(name, 56)
    backbone = load_backbone(name, random_weights(name, img_size=side), input_size=side)
    pixels = random_pixels(5, side)
    whole, _ = backbone.forward(pixels)
    alone, nothing = backbone.forward(pixels, dct=False)
    assert tuple(nothing.shape) == (5, 0)
    assert float((alone - whole).abs().max()) <= 1e-5 * float(whole.abs().max())
    assert torch.equal(alone, whole)
    for picture_alone in range(5):
        row, _ = backbone.forward(pixels[picture_alone : picture_alone + 1], dct=False)
        assert torch.equal(row[0], alone[picture_alone])


def test_cls_alone_computes_less():
    backbone = load_backbone(SMALL_VIT, random_weights())
    seen = []
    backbone.model.blocks[-1].mlp.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape))
    backbone.forward(random_pixels(2, 126), dct=False)
    assert seen == [(2, 8, 192)]


def test_a_last_block_of_another_kind_is_computed_whole():
    name = "vit_small_patch16_18x2_224"  # with two attentions side by side in a block
    backbone = load_backbone(name, random_weights(name, img_size=64), input_size=64)
    pixels = random_pixels(2, 64)
    assert torch.equal(backbone.forward(pixels, dct=False)[0], backbone.forward(pixels)[0])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler: apt-get install g++")
@pytest.mark.parametrize("dct", [True, False])
def test_compiled_features_are_those_of_the_eager_model(small_backbone, tmp_path, dct):
    save_backbone(tmp_path / "a.safetensors", small_backbone)
    compiled = open_backbone(tmp_path / "a.safetensors", "cpu", "fp32", "on")
    assert (compiled.compiled, small_backbone.compiled) == (True, False)
    pixels = random_pixels(4, 126)
    for ours, theirs in zip(compiled.forward(pixels, dct=dct), small_backbone.forward(pixels, dct=dct), strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()) if len(theirs[0]) else 0)


def test_the_info_says_what_it_is(small_backbone, small_weights):
    info = small_backbone.info
    assert (info.model, info.data_config.input_size, info.embed_dim) == (SMALL_VIT, 126, 192)
    assert (info.prefix_tokens, info.register_tokens) == (5, 4)
    assert info.parameters == sum(t.numel() for t in small_weights.tensors.values())
    assert (info.weights_sha256, info.source, info.licence) == (small_weights.sha256, "random", "unknown")
    assert BackboneInfo.from_dict(json.loads(json.dumps(info.to_dict()))) == info


@pytest.mark.parametrize(("precision", "at_least"), [("bf16", 0.999), ("fp16", 0.9999)])
def test_half_precision_weights_give_float32_features_nearby(small_backbone, small_weights, precision, at_least):
    half = load_backbone(SMALL_VIT, small_weights, precision=precision)
    assert next(half.model.parameters()).dtype != torch.float32
    pixels = random_pixels(4, 126)
    for exact, rounded in zip(small_backbone.forward(pixels), half.forward(pixels), strict=True):
        assert rounded.dtype == torch.float32
        assert cosine(exact, rounded) >= at_least


def test_a_saved_backbone_is_the_same_and_its_bytes_too(small_backbone, tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    metadata = {"provenance": "{}", "fingerprint": "ab", "figures": "é"}
    save_backbone(first, small_backbone, metadata)
    save_backbone(second, small_backbone, metadata)
    assert first.read_bytes() == second.read_bytes()
    assert read_backbone_info(first) == small_backbone.info
    assert read_backbone_metadata(first) == metadata
    pixels = random_pixels(2, 126)
    opened = open_backbone(first, "cpu", "auto")
    for ours, theirs in zip(opened.forward(pixels), small_backbone.forward(pixels), strict=True):
        assert torch.equal(ours, theirs)
    assert open_backbone(first, "cpu", "bf16").precision == "bf16"


def test_half_precision_is_not_saved(small_weights, tmp_path):
    with pytest.raises(ValueError, match="fp32"):
        save_backbone(tmp_path / "a.safetensors", load_backbone(SMALL_VIT, small_weights, precision="bf16"), {})
    assert not list(tmp_path.iterdir())


def test_what_is_no_saved_backbone_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no saved backbone"):
        read_backbone_info(tmp_path / "absent.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="its header describes no backbone"):
        open_backbone(tmp_path / "other.safetensors")


def test_another_input_size_resamples_the_position_embedding(small_weights):
    larger = load_backbone(SMALL_VIT, small_weights, input_size=168)
    assert tuple(larger.model.pos_embed.shape) == (1, 144, 192)
    assert larger.info.data_config.input_size == 168
    native = load_backbone(SMALL_VIT, small_weights)
    image = picture(168, 168)
    features = [b.forward(eval_transform(b.info.data_config)(image)[None])[0] for b in (native, larger)]
    assert cosine(*features) > 0.7
    assert not torch.equal(*features)


def test_a_checkpoints_own_classifier_and_wrapper_names_are_no_error(small_backbone, small_weights):
    tensors = {f"module.{name}": tensor for name, tensor in small_weights.tensors.items()}
    tensors |= {"module.head.weight": torch.ones(7806, 192), "module.head.bias": torch.ones(7806)}
    backbone = load_backbone(SMALL_VIT, weights_from_tensors(tensors, "checkpoint"))
    pixels = random_pixels(1, 126)
    assert torch.equal(backbone.forward(pixels)[0], small_backbone.forward(pixels)[0])


def test_all_that_does_not_fit_is_listed(small_weights):
    tensors = dict(small_weights.tensors)
    del tensors["blocks.3.attn.qkv.weight"]
    tensors["decoder.weight"] = torch.ones(1)
    tensors["norm.bias"] = torch.ones(7)
    with pytest.raises(WeightsError) as caught:
        load_backbone(SMALL_VIT, weights_from_tensors(tensors, "broken.pth"))
    assert str(caught.value) == (
        f"broken.pth does not fit '{SMALL_VIT}': missing: blocks.3.attn.qkv.weight; unexpected: decoder.weight; "
        "misshapen: norm.bias (7,) instead of (192,)"
    )


def test_weights_of_another_model_are_refused():
    with pytest.raises(WeightsError, match=r"does not fit .* and \d+ more"):
        load_backbone(SMALL_VIT, random_weights("vit_small_patch14_dinov2", img_size=126))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vit_enormous", {}, "has no model 'vit_enormous'"),
        ("resnet18", {}, "not a plain vision transformer"),
        (SMALL_VIT, {"input_size": 128}, "the nearest is 126"),
        (SMALL_VIT, {"device": "tpu"}, "unknown device"),
        (SMALL_VIT, {"precision": "int8"}, "unknown precision"),
    ],
)
def test_impossible_requests_are_refused(small_weights, name, options, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(name, small_weights, **options)


def test_a_hub_that_cannot_be_reached_is_one_clear_sentence(monkeypatch):
    def unreachable(*_args, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    with pytest.raises(WeightsError, match=r"could not be fetched from the hub \(no route.*use a file"):
        load_backbone("vit_tiny_patch16_224", "hub")


def test_the_hubs_weights_are_used_and_hashed(monkeypatch):
    published = random_weights(WITHOUT_REGISTERS)
    tensors = published.tensors | {"head.weight": torch.ones(1000, 192), "head.bias": torch.ones(1000)}
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_a, **_o: dict(tensors))
    backbone = load_backbone(WITHOUT_REGISTERS, "hub")
    assert (backbone.info.source, backbone.info.weights_sha256) == ("hub", published.sha256)
    assert backbone.info.licence == "apache-2.0"
    assert torch.equal(backbone.model.cls_token, published.tensors["cls_token"])
