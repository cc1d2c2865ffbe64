"""DINOv2 in Hugging Face's transformers, with the weights of timm's model, so that features can be compared."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from plantclef_assets.models.backbones import BackboneInfo
from plantclef_assets.models.timm_import import import_timm

import_timm()  # transformers imports torchvision

_BLOCK_NAMES = {
    "norm1": "norm1",
    "attn.proj": "attention.o_proj",
    "ls1.gamma": "layer_scale1.lambda1",
    "norm2": "norm2",
    "mlp": "mlp",
    "ls2.gamma": "layer_scale2.lambda1",
}


def convert_tensors(tensors: Mapping[str, torch.Tensor], registers: int) -> dict[str, torch.Tensor]:
    """Return the state dict of transformers for that of a DINOv2 vision transformer of timm.

    timm adds no position to [CLS] in models with registers, transformers adds one: it is zero here.
    """
    positions, cls_token = tensors["pos_embed"], tensors["cls_token"]
    if registers:
        positions = torch.cat([torch.zeros_like(cls_token), positions], dim=1)
    converted = {
        "embeddings.cls_token": cls_token,
        "embeddings.mask_token": torch.zeros_like(cls_token)[0],
        "embeddings.position_embeddings": positions,
    }
    if registers:
        converted["embeddings.register_tokens"] = tensors["reg_token"]
    for name, tensor in tensors.items():
        if name.startswith("patch_embed.proj."):
            converted[name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")] = tensor
        elif name.startswith("norm."):
            converted[f"layer{name}"] = tensor
        elif name.startswith("blocks."):
            _, number, rest = name.split(".", maxsplit=2)
            converted |= {f"encoder.layer.{number}.{new}": part for new, part in _convert_block(rest, tensor).items()}
    return converted


def _convert_block(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    if name.startswith("attn.qkv."):
        kind = name.removeprefix("attn.qkv.")
        return {f"attention.{part}_proj.{kind}": one for part, one in zip("qkv", tensor.chunk(3), strict=True)}
    old = next(old for old in _BLOCK_NAMES if name.startswith(old))
    return {name.replace(old, _BLOCK_NAMES[old], 1): tensor}


def create_model(info: BackboneInfo, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Create the model of transformers with the weights of a backbone.

    Args:
        info: of the backbone.
        tensors: state dict of timm's model.

    Raises:
        ImportError: transformers is not installed.
    """
    transformers = import_module("transformers")  # no dependency of the project

    depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))
    shape = {
        "hidden_size": info.embed_dim,
        "num_hidden_layers": depth,
        "num_attention_heads": info.embed_dim // 64,  # all DINOv2 models have heads of 64 channels
        "image_size": info.data_config.input_size,
        "patch_size": tensors["patch_embed.proj.weight"].shape[-1],
    }
    if info.register_tokens:
        config = transformers.Dinov2WithRegistersConfig(**shape, num_register_tokens=info.register_tokens)
        model = transformers.Dinov2WithRegistersModel(config)
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**shape))
    model.load_state_dict(convert_tensors(tensors, info.register_tokens))
    return model.eval()


def create_processor(info: BackboneInfo, folder: Path) -> Any:
    """Create the image processor of DINOv2 for the input of a backbone, from a file in `folder` as on the hub.

    Raises:
        ImportError: transformers is not installed.
    """
    transformers = import_module("transformers")  # no dependency of the project

    config = info.data_config
    description = {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": round(config.input_size / config.crop_pct)},
        "crop_size": {"height": config.input_size, "width": config.input_size},
        "resample": 3,  # bicubic
        "image_mean": config.mean,
        "image_std": config.std,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preprocessor_config.json").write_text(json.dumps(description), encoding="utf-8")
    return transformers.AutoImageProcessor.from_pretrained(folder)
