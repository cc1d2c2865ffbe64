"""Backbones: vision transformers that turn pictures into features, from any source of weights.

A backbone is a timm `VisionTransformer` without its classifier, built for one input size. One forward pass computes
both feature vectors of the reference: the [CLS] token and the DCT corner of the token matrix. Saved backbones are in
`backbone_files`.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch

from plantclef_assets.models import small_vit  # noqa: F401  (registers the project's own model)
from plantclef_assets.models.cls_only import cls_features, is_plain
from plantclef_assets.models.data_config import DataConfig, data_config_of, normalise
from plantclef_assets.models.dct import dct_corner
from plantclef_assets.models.devices import PRECISIONS, resolve_device, resolve_precision
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.weights import (
    HUB,
    UNKNOWN_LICENCE,
    Weights,
    WeightsError,
    hash_tensors,
    separate_classifier,
)

timm = import_timm()

from timm.models import clean_state_dict  # noqa: E402
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn  # noqa: E402

_LISTED_AT_MOST = 3


@dataclass(frozen=True)
class BackboneInfo:
    """Description of a backbone, for provenance and for opening it; as a dict it is plain JSON.

    Attributes:
        model: timm name of the model.
        data_config: its data config; the position embedding is resampled to its input size.
        embed_dim: width D of a token.
        prefix_tokens: number of tokens before the patches: [CLS] and the registers.
        register_tokens: number of registers.
        parameters: number of parameters.
        weights_sha256: hash of the file (or of the downloaded tensors) of the weights.
        source: source of the weights, for the reader.
        licence: licence of the weights, as their source states it.
    """

    model: str
    data_config: DataConfig
    embed_dim: int
    prefix_tokens: int
    register_tokens: int
    parameters: int
    weights_sha256: str
    source: str
    licence: str = UNKNOWN_LICENCE

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `json` writes and `from_dict` reads."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BackboneInfo":
        """Create the info from the result of `to_dict`."""
        others = {name: value for name, value in values.items() if name != "data_config"}
        return cls(data_config=DataConfig.from_dict(values["data_config"]), **others)


class Backbone:
    """A model on a device, ready to embed.

    Attributes:
        info: description of the backbone.
        device: device of the model.
        precision: `fp32`, `bf16` or `fp16`, of weights and activations.
        compiled: whether torch compiles the forward pass, separately for each batch size.
        model: the timm model, in eval mode.
        batch_limit: greatest batch that fits the device's memory, as found by running out of it; None if that never
            happened.
    """

    def __init__(
        self,
        model: VisionTransformer,
        info: BackboneInfo,
        device: torch.device,
        precision: str,
        compiled: bool = False,
    ):
        self.info = info
        self.device = device
        self.precision = precision
        self.compiled = compiled
        self.model = model.to(device=device, dtype=PRECISIONS[precision]).eval().requires_grad_(False)
        self.batch_limit: int | None = None
        self._all_tokens: Callable[[torch.Tensor], torch.Tensor] = self.model.forward_features
        self._cls_first = partial(cls_features, self.model) if is_plain(self.model) else self._all_tokens
        if compiled:
            self._all_tokens = torch.compile(self._all_tokens, dynamic=False)
            self._cls_first = torch.compile(self._cls_first, dynamic=False)

    @torch.inference_mode()
    def forward(self, pixels: torch.Tensor, *, dct: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed a batch in one forward pass.

        Args:
            pixels: uint8, shape (batch, 3, input_size, input_size), RGB, results of `eval_transform`.
            dct: whether the DCT is computed. Without it the last block is computed for [CLS] only, if the model
                allows this: equal in real arithmetic, and in float32 within 1e-5 of the largest feature.

        Returns:
            [CLS] of shape (batch, D) and the DCT corner of shape (batch, 64), or (batch, 0) without DCT, both float32
            on the device. The token matrix of the DCT is [CLS] followed by the patches, without register tokens.

        Raises:
            torch.OutOfMemoryError: the batch does not fit the device.
        """
        inputs = normalise(pixels.to(self.device), self.info.data_config)
        inputs = inputs.to(PRECISIONS[self.precision])
        if not dct:
            cls = self._cls_first(inputs)[:, 0].to(torch.float32)
            return cls, cls.new_empty((len(cls), 0))
        tokens = self._all_tokens(inputs).to(torch.float32)
        cls = tokens[:, 0]
        if self.info.register_tokens:
            tokens = torch.cat([tokens[:, :1], tokens[:, self.info.prefix_tokens :]], dim=1)
        return cls, dct_corner(tokens)


def load_backbone(
    model_name: str,
    weights: Weights | Literal["hub"],
    *,
    input_size: int | None = None,
    device: str = "cpu",
    precision: str = "fp32",
) -> Backbone:
    """Load a backbone from its weights.

    If the checkpoint has another input size, timm resamples its position embedding. The tensors of the checkpoint's
    classifier are ignored; every other tensor must fit.

    Args:
        model_name: a vision transformer of timm or of this package.
        weights: the result of `read_weights`, or `hub` for timm's pretrained weights.
        input_size: side of the square input in pixels; the model's default if not given.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.

    Raises:
        ValueError: an unknown model, device or precision, or an input size that patches do not divide.
        WeightsError: the weights do not fit (the first missing, unexpected and misshapen tensors are named), or cannot
            be fetched from the hub.
    """
    target = resolve_device(device)
    if isinstance(weights, Weights):
        model = create_model(model_name, input_size)
        _load_checkpoint(model, model_name, weights)
        sha256, source, licence = weights.sha256, weights.source, weights.licence
    else:
        model = create_model(model_name, input_size, pretrained=True)
        sha256, source = hash_tensors(model.state_dict()), HUB
        licence = vars(model).get("pretrained_cfg", {}).get("license") or UNKNOWN_LICENCE
    info = BackboneInfo(
        model=model_name,
        data_config=data_config_of(model, input_size),
        embed_dim=model.embed_dim,
        prefix_tokens=model.num_prefix_tokens,
        register_tokens=model.num_reg_tokens,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=sha256,
        source=source,
        licence=licence,
    )
    return Backbone(model, info, target, resolve_precision(precision, target))


def create_model(name: str, input_size: int | None, *, pretrained: bool = False) -> VisionTransformer:
    """Create a timm model without classifier, and check that it is a vision transformer with a [CLS] token.

    Args:
        name: a vision transformer of timm or of this package.
        input_size: side of the square input in pixels; the model's default if None.
        pretrained: whether timm fetches its pretrained weights.

    Raises:
        ValueError: an unknown model, or an input size that is no multiple of the patch size.
        WeightsError: the weights could not be fetched.
    """
    if not timm.is_model(name):
        raise ValueError(f"timm {timm.__version__} has no model {name!r}; timm.list_models('vit_*') lists them")
    arguments = {} if input_size is None else {"img_size": input_size}
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **arguments)
    except TypeError as error:
        raise ValueError(f"the model {name!r} is not a plain vision transformer ({error})") from error
    except Exception as error:  # the hub's client raises errors of several HTTP libraries
        if not pretrained:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"the weights of {name!r} could not be fetched from the hub ({reason}); use a file of weights instead"
        ) from error
    if not isinstance(model, VisionTransformer) or not model.has_class_token:
        raise ValueError(f"the model {name!r} is not a vision transformer with a [CLS] token")
    patch = model.patch_embed.patch_size[0]
    side = input_size or model.patch_embed.img_size[0]
    if side % patch:
        raise ValueError(
            f"an input size of {side} px is not a multiple of {name!r}'s patches of {patch} px; "
            f"the nearest is {max(1, round(side / patch)) * patch}"
        )
    return model


def _load_checkpoint(model: VisionTransformer, name: str, weights: Weights) -> None:
    """Load the tensors of a checkpoint strictly, except those of its classifier.

    Raises:
        WeightsError: the tensors do not fit; the first misfits of each kind are named.
    """
    tensors, _classifier = separate_classifier(clean_state_dict(dict(weights.tensors)))
    # In float32, since resampling a half-precision position embedding would round it twice.
    tensors = {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}
    # If conversion fails, the tensors belong to another model, which the comparison below reports.
    with contextlib.suppress(RuntimeError, KeyError, ValueError, AttributeError):
        tensors = cast("dict[str, torch.Tensor]", checkpoint_filter_fn(tensors, model))
    expected = model.state_dict()
    misshapen = [
        f"{key} {tuple(tensors[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & tensors.keys()
        if tensors[key].shape != expected[key].shape
    ]
    problems = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "misshapen": sorted(misshapen),
    }
    if any(problems.values()):
        listed = "; ".join(f"{kind}: {_listing(names)}" for kind, names in problems.items() if names)
        raise WeightsError(f"{weights.source} does not fit {name!r}: {listed}")
    model.load_state_dict(tensors)


def _listing(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    more = len(names) - _LISTED_AT_MOST
    return ", ".join(names[:_LISTED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
