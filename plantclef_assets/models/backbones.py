"""Vision transformers that turn pictures into features, from any source of weights.

A backbone is a timm `VisionTransformer` without its classifier, built for one input size. One forward pass yields
both feature vectors of the reference: the [CLS] token and the DCT corner of the token matrix. Once loaded it can
be kept as a single safetensors file whose header says what it is, and be opened again on any device.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from plantclef_assets.lake.store import FINGERPRINT_KEY, OTHER_TENSORS
from plantclef_assets.models.cls_only import cls_features, is_plain
from plantclef_assets.models.data_config import DataConfig, data_config_of, normalise
from plantclef_assets.models.dct import dct_corner
from plantclef_assets.models.devices import PRECISIONS, resolve_compile, resolve_device, resolve_precision
from plantclef_assets.models.timm_models import VisionTransformer, create_model, load_checkpoint
from plantclef_assets.models.weights import HUB, UNKNOWN_LICENCE, Head, Weights, WeightsError, hash_tensors

_HEADER_KEY = "backbone"
"""The one entry of the file's metadata: safetensors writes several in no fixed order, so bytes would differ."""

_HEAD_PREFIX = "checkpoint_head."
"""Before the names of the tensors of a checkpoint's own classifier, which are saved with its backbone."""


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
        licence: of the weights, as their source states it.
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
        compiled: whether torch compiles its forward pass, anew for each size of a batch.
        model: the timm model itself, in eval mode.
        batch_limit: the most pictures that fit the device's memory, as found by running out of it; None if
            that never happened.
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
            pixels: uint8, shape (batch, 3, input_size, input_size), RGB, as `eval_transform` makes them.
            dct: whether the DCT is wanted. Without it the last block is computed for [CLS] alone where the model
                allows that: equal in real arithmetic, and in float32 within 1e-5 of the largest feature.

        Returns:
            [CLS] of shape (batch, D) and the DCT corner of shape (batch, 64), or (batch, 0) where it is not wanted,
            both float32 on the device. The token matrix under the DCT is [CLS] followed by the patches;
            register tokens are left out.

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
        model = create_model(model_name, input_size)
        load_checkpoint(model, model_name, weights)
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
    _, _, head = _read_saved(path)
    return Head(**head) if head else None


def fingerprint_backbone(info: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the fingerprint of a backbone, 32 hexadecimal digits.

    Args:
        info: of the backbone, as a dict.
        tensors: its own, and those of the classifier that came with its checkpoint, by the names of `Head`.
    """
    what_counts = json.dumps({"model": info["model"], "data_config": info["data_config"]}, sort_keys=True)
    return hashlib.blake2b(f"{hash_tensors(tensors)}{what_counts}".encode(), digest_size=16).hexdigest()


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


def open_backbone(path: Path, device: str = "auto", precision: str = "auto", compile: str = "off") -> Backbone:
    """Open a saved backbone on a device.

    Args:
        path: the file.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        compile: `auto`, `on` or `off`: whether torch compiles the forward pass.

    Raises:
        ValueError: an unknown device, precision or word for compiling.
        WeightsError: the file is missing, damaged, or not a backbone.
    """
    header, tensors, _ = _read_saved(path)
    info = BackboneInfo.from_dict(header["info"])
    target = resolve_device(device)
    model = create_model(info.model, info.data_config.input_size)
    model.load_state_dict(tensors)
    return Backbone(model, info, target, resolve_precision(precision, target), resolve_compile(compile, target))


def _read_saved(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return header, tensors of the backbone and tensors of its head; refuse other tensors than were written."""
    header, stored = _read_header(path), load_file(path)
    tensors = {name: tensor for name, tensor in stored.items() if not name.startswith(_HEAD_PREFIX)}
    head = {name.removeprefix(_HEAD_PREFIX): tensor for name, tensor in stored.items() if name not in tensors}
    written = header["metadata"].get(FINGERPRINT_KEY)
    if written and written != fingerprint_backbone(header["info"], tensors | head):
        raise WeightsError(f"{path} is damaged: {OTHER_TENSORS}; delete it and materialize {path.stem} again")
    return header, tensors, head


def _read_header(path: Path) -> dict[str, Any]:
    """Read info and metadata from the header of a saved backbone."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"there is no saved backbone at {path}: {error}") from error
    if _HEADER_KEY not in header:
        raise WeightsError(f"{path} holds tensors, but its header does not say of which backbone")
    try:
        described = json.loads(header[_HEADER_KEY])
        BackboneInfo.from_dict(described["info"])
        return {name: described[name] for name in ("info", "metadata")}
    except (LookupError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} is damaged: its header cannot be read; delete it and materialize {path.stem} again"
        ) from error
