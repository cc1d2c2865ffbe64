"""The data config of a model and its eval transform.

The transform is timm's (`timm.data.create_transform`), in two halves: the geometry of Pillow images, for threads that
decode, and the normalisation of uint8 batches, for the device. Together they equal timm's transform bit for bit in
float32 on a CPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from PIL import Image

from plantclef_assets.models.timm_import import import_timm

timm = import_timm()


@dataclass(frozen=True)
class DataConfig:
    """The kind of pictures that a model was trained on.

    Attributes:
        input_size: side of the square input in pixels.
        mean: per channel R, G, B, of values in [0, 1].
        std: per channel R, G, B, of values in [0, 1].
        interpolation: filter of the resize, by timm's name (`bicubic`).
        crop_pct: side of the crop as a share of the resized picture's side.
        crop_mode: `center` (resize the short side, crop the centre), `squash` or `border`, as timm defines them.
    """

    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_pct: float
    crop_mode: str = "center"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DataConfig":
        """Create a config from plain values of JSON, with lists for tuples."""
        others = {name: value for name, value in values.items() if name not in ("mean", "std")}
        return cls(mean=tuple(values["mean"]), std=tuple(values["std"]), **others)


def data_config_of(model: torch.nn.Module, input_size: int | None = None) -> DataConfig:
    """Return the data config of a timm model, with another input size if one is given."""
    config = timm.data.resolve_model_data_config(model)
    return DataConfig(
        input_size=input_size or int(config["input_size"][-1]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=str(config["interpolation"]),
        crop_pct=float(config["crop_pct"]),
        crop_mode=str(config["crop_mode"]),
    )


def eval_transform(config: DataConfig) -> Callable[[Image.Image], torch.Tensor]:
    """Return the geometric half of timm's eval transform: RGB image → uint8 tensor (3, input_size, input_size)."""
    return timm.data.create_transform(
        input_size=(3, config.input_size, config.input_size),
        is_training=False,
        interpolation=config.interpolation,
        mean=config.mean,
        std=config.std,
        crop_pct=config.crop_pct,
        crop_mode=config.crop_mode,
        normalize=False,
    )


def normalise(pixels: torch.Tensor, config: DataConfig) -> torch.Tensor:
    """Return float32 inputs of uint8 pixels (batch, 3, height, width): (pixels / 255 − mean) / std."""
    mean, std = (_per_channel(values, str(pixels.device)) for values in (config.mean, config.std))
    return pixels.to(torch.float32).div(255).sub(mean).div(std)


@lru_cache(maxsize=16)
def _per_channel(values: tuple[float, float, float], device: str) -> torch.Tensor:
    """Return values on the device, cached, since a copy would wait for the previous batch."""
    with torch.inference_mode(False):  # so that the cached tensor can be used everywhere
        return torch.tensor(values, device=device).view(1, 3, 1, 1)
