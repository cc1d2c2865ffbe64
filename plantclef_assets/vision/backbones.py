"""Vision transformers that turn pictures into features, from any source of weights.

A backbone is a timm `VisionTransformer` without its classifier, built for one input size. One forward pass yields
both feature vectors of the reference: the [CLS] token and the DCT corner of the token matrix. Once loaded it can
be kept as a single safetensors file whose header says what it is, and be opened again on any device.
"""

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from plantclef_assets.vision import small_vit  # noqa: F401  (timm knows our own model once it is imported)
from plantclef_assets.vision.data_config import DataConfig, data_config_of, normalise
from plantclef_assets.vision.dct import dct_corner
from plantclef_assets.vision.devices import PRECISIONS, resolve_device, resolve_precision
from plantclef_assets.vision.timm_import import import_timm
from plantclef_assets.vision.weights import HUB, Head, Weights, WeightsError, hash_tensors, separate_classifier

timm = import_timm()

from timm.models import clean_state_dict  # noqa: E402
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn  # noqa: E402

_HEADER_KEY = "backbone"
"""The one entry of the file's metadata: safetensors writes several in no fixed order, so bytes would differ."""

_HEAD_PREFIX = "checkpoint_head."
"""Before the names of the tensors of a checkpoint's own classifier, which are saved with its backbone."""

_LISTED_AT_MOST = 20


@dataclass(frozen=True)
class BackboneInfo:
    """What a backbone is, for provenance and for opening it again; as a dict it is plain JSON.

    Attributes:
        model: name by which timm creates it.
        data_config: what it sees; its input size is the one the position embedding was resampled to.
        embed_dim: width D of a token.
        prefix_tokens: tokens before the patches: [CLS] and the registers.
        register_tokens: how many of those are registers.
        parameters: how many numbers it has.
        weights_sha256: of the file (or the downloaded tensors) the weights came from.
        source: where they came from, for the reader.
    """

    model: str
    data_config: DataConfig
    embed_dim: int
    prefix_tokens: int
    register_tokens: int
    parameters: int
    weights_sha256: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Make plain values that `json` writes and `from_dict` reads."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BackboneInfo":
        """Read what `to_dict` made."""
        others = {name: value for name, value in values.items() if name != "data_config"}
        return cls(data_config=DataConfig.from_dict(values["data_config"]), **others)


class Backbone:
    """A model on a device, ready to embed.

    Attributes:
        info: what it is.
        device: where it computes.
        precision: `fp32`, `bf16` or `fp16`, of weights and activations.
        model: the timm model itself, in eval mode.
    """

    def __init__(self, model: VisionTransformer, info: BackboneInfo, device: torch.device, precision: str):
        self.info = info
        self.device = device
        self.precision = precision
        self.model = model.to(device=device, dtype=PRECISIONS[precision]).eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed a batch in one forward pass.

        Args:
            pixels: uint8, shape (batch, 3, input_size, input_size), RGB, as `eval_transform` makes them.

        Returns:
            [CLS] of shape (batch, D) and the DCT corner of shape (batch, 64), both float32 on the device. The token
            matrix under the DCT is [CLS] followed by the patches; register tokens are left out.
        """
        inputs = normalise(pixels.to(self.device, non_blocking=True), self.info.data_config)
        tokens = self.model.forward_features(inputs.to(PRECISIONS[self.precision])).to(torch.float32)
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
    """Build a backbone from its weights.

    Where the checkpoint was trained at another input size, timm resamples its position embedding. Tensors of
    the checkpoint's own classifier are set aside; every other tensor must fit.

    Args:
        model_name: a vision transformer that timm (or this package) knows.
        weights: as read by `read_weights`, or `hub` for timm's own pretrained ones.
        input_size: side of the square input in pixels; the model's own if not given.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.

    Raises:
        ValueError: an unknown model, device or precision, or an input size that patches do not divide.
        WeightsError: the weights do not fit (all missing, unexpected and misshapen tensors are named), or the hub
            could not give them.
    """
    target = resolve_device(device)
    if isinstance(weights, Weights):
        model = _create_model(model_name, input_size)
        _load_checkpoint(model, model_name, weights)
        sha256, source = weights.sha256, weights.source
    else:
        model = _create_model(model_name, input_size, pretrained=True)
        sha256, source = hash_tensors(model.state_dict()), HUB
    info = BackboneInfo(
        model=model_name,
        data_config=data_config_of(model, input_size),
        embed_dim=model.embed_dim,
        prefix_tokens=model.num_prefix_tokens,
        register_tokens=model.num_reg_tokens,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=sha256,
        source=source,
    )
    return Backbone(model, info, target, resolve_precision(precision, target))


def save_backbone(
    path: Path, backbone: Backbone, metadata: dict[str, str] | None = None, head: Head | None = None
) -> None:
    """Write a backbone as one safetensors file, its info in the header; equal backbones give equal bytes.

    Args:
        path: the file to write; not atomic, give a temporary name where that matters.
        backbone: what to write.
        metadata: free strings to keep in the header, such as provenance.
        head: the classifier that came with its checkpoint.

    Raises:
        ValueError: its weights are half precision; rounded weights are not worth keeping.
    """
    if backbone.precision != "fp32":
        raise ValueError(f"a backbone is saved in fp32, not in {backbone.precision}: load it in fp32 first")
    header = json.dumps({"info": backbone.info.to_dict(), "metadata": metadata or {}}, sort_keys=True)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in backbone.model.state_dict().items()}
    if head is not None:
        tensors |= {_HEAD_PREFIX + name: tensor.contiguous() for name, tensor in vars(head).items()}
    save_file(tensors, path, metadata={_HEADER_KEY: header})


def read_saved_head(path: Path) -> Head | None:
    """Read the classifier that was saved with a backbone; None where its checkpoint had none.

    Raises:
        WeightsError: the file is missing, damaged, or not written by `save_backbone`.
    """
    _read_header(path)
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(_HEAD_PREFIX)]  # noqa: SIM118 (not a dict)
        tensors = {name.removeprefix(_HEAD_PREFIX): file.get_tensor(name) for name in names}
    return Head(**tensors) if tensors else None


def read_backbone_info(path: Path) -> BackboneInfo:
    """Read what a saved backbone is from the header of its file; no tensor is read.

    Raises:
        WeightsError: the file is missing, damaged, or not written by `save_backbone`.
    """
    return BackboneInfo.from_dict(_read_header(path)["info"])


def read_backbone_metadata(path: Path) -> dict[str, str]:
    """Read the free metadata of a saved backbone; only the header of the file is read.

    Raises:
        WeightsError: the file is missing, damaged, or not written by `save_backbone`.
    """
    return _read_header(path)["metadata"]


def open_backbone(path: Path, device: str = "auto", precision: str = "auto") -> Backbone:
    """Open a saved backbone on a device.

    Raises:
        ValueError: an unknown device or precision.
        WeightsError: the file is missing, damaged, or not a backbone.
    """
    info = read_backbone_info(path)
    target = resolve_device(device)
    model = _create_model(info.model, info.data_config.input_size)
    tensors = load_file(path)
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if not name.startswith(_HEAD_PREFIX)})
    return Backbone(model, info, target, resolve_precision(precision, target))


def _read_header(path: Path) -> dict[str, Any]:
    """Read info and metadata from the header of a saved backbone."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"there is no saved backbone at {path}: {error}") from error
    if _HEADER_KEY not in header:
        raise WeightsError(f"{path} holds tensors, but its header does not say of which backbone")
    return json.loads(header[_HEADER_KEY])


def _create_model(name: str, input_size: int | None, *, pretrained: bool = False) -> VisionTransformer:
    """Create the timm model without classifier, checking that it is one whose tokens we understand."""
    if not timm.is_model(name):
        raise ValueError(f"timm {timm.__version__} knows no model {name!r}; timm.list_models('vit_*') lists them")
    arguments = {} if input_size is None else {"img_size": input_size}
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **arguments)
    except TypeError as error:
        raise ValueError(f"the model {name!r} is no plain vision transformer ({error})") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise WeightsError(
            f"the weights of {name!r} could not be fetched from the hub ({error}); give a file of weights instead"
        ) from error
    if not isinstance(model, VisionTransformer) or not model.has_class_token:
        raise ValueError(f"the model {name!r} is no vision transformer with a [CLS] token")
    patch = model.patch_embed.patch_size[0]
    side = input_size or model.patch_embed.img_size[0]
    if side % patch:
        raise ValueError(
            f"an input size of {side} px is no multiple of {name!r}'s patches of {patch} px; "
            f"the nearest is {max(1, round(side / patch)) * patch}"
        )
    return model


def _load_checkpoint(model: VisionTransformer, name: str, weights: Weights) -> None:
    """Load a checkpoint's backbone tensors strictly, naming everything that does not fit."""
    tensors, _classifier = separate_classifier(clean_state_dict(dict(weights.tensors)))
    # In float32 first: resampling a half-precision position embedding would round it a second time.
    tensors = {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}
    # Where conversion fails the tensors are those of another model, which the comparison below says best.
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
    """Name the tensors, up to a number that a person can still read."""
    more = len(names) - _LISTED_AT_MOST
    return ", ".join(names[:_LISTED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
