"""Backbones as files and artifacts of the lake: one safetensors file with a backbone, its info and its classifier.

The header of the file describes the backbone, so that it can be opened on any device.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from plantclef_assets.ingest.checkpoints import checkpoint_files, licence_at
from plantclef_assets.ingest.class_map import read_class_mapping, read_species_names, write_class_map_of
from plantclef_assets.ingest.downloads import Limits
from plantclef_assets.ingest.fetching import fetch_file
from plantclef_assets.ingest.locations import is_remote
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.store import FINGERPRINT_KEY, OTHER_TENSORS, Artifact, Lake, record_metadata
from plantclef_assets.lake.tables import Shard
from plantclef_assets.models.backbones import Backbone, BackboneInfo, create_model, load_backbone
from plantclef_assets.models.devices import resolve_compile, resolve_device, resolve_precision
from plantclef_assets.models.weights import HUB, Head, WeightsError, hash_tensors, read_head, read_weights
from plantclef_assets.redaction import without_secrets

_HEADER_KEY = "backbone"
"""The single entry of the file's metadata: safetensors writes several entries in arbitrary order."""

_HEAD_PREFIX = "checkpoint_head."
"""Prefix of the names of the tensors of a checkpoint's classifier, which is saved with its backbone."""

SPECIES_NAMES_KEY = "species_names"
"""Key of a backbone's metadata for the species names of its checkpoint, species_id → name, as JSON."""


def write_backbone(
    lake: Lake,
    shard: Shard,
    *,
    model: str,
    weights: str,
    cache: Path,
    input_size: int | None,
    with_head: bool = False,
    class_mapping: Path | None = None,
    limits: Limits | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Load weights into their model strictly, and publish the backbone.

    Args:
        lake: the lake.
        shard: the artifact to write.
        model: timm name.
        weights: path or address of a file of weights or an archive with one, optionally with `#sha256=…` after an
            address; or `hub`.
        cache: folder for downloads and unpacked files.
        input_size: side of the model's input in px; the model's default if None.
        with_head: whether the checkpoint's classifier is saved, too.
        class_mapping: class list of that classifier; the one that comes with the checkpoint if None.
        limits: limits on downloads.
        log: receives messages on the progress of a download.

    Raises:
        CheckpointError: an archive of weights is damaged, or not one that the organisers publish.
        ClassListError: the class list cannot be read.
        DownloadError: the weights cannot be downloaded.
        SourceError: there is no such object in a bucket.
        ValueError: the model is unknown, or the input size is no multiple of its patches.
        WeightsError: the weights cannot be read, or do not fit; the first misfits are named.
    """
    head, names = None, {}
    if weights == HUB:
        read = HUB
    else:
        file = fetch_file(weights, cache, log, limits)
        files = checkpoint_files(file, cache / "checkpoints")
        source = without_secrets(weights) if is_remote(weights) else file.name
        read = read_weights(files.weights, source=source, licence=licence_at(source))
        classes = class_mapping or files.class_mapping
        if with_head and classes:
            head = read_head(read, read_class_mapping(classes))
            names = read_species_names(files.species_names) if files.species_names else {}
    backbone = load_backbone(model, read, input_size=input_size)
    publish_backbone(lake, shard, backbone, head, {"classes": len(head.species_ids)} if head else {}, names)


def publish_backbone(
    lake: Lake,
    shard: Shard,
    backbone: Backbone,
    head: Head | None,
    figures: Mapping[str, Any],
    species_names: Mapping[int, str] = MappingProxyType({}),
) -> None:
    """Publish a backbone with the classifier and the species names of its checkpoint; its info is recorded."""
    info = backbone.info.to_dict()
    fingerprint = fingerprint_backbone(info, backbone.model.state_dict() | (vars(head) if head else {}))
    record = record_metadata(shard.provenance, fingerprint, info | dict(figures))
    with lake.publish(lake.path(shard.artifact)) as temporary:
        require_unchanged(lake, shard.provenance)
        save_backbone(temporary, backbone, record | {SPECIES_NAMES_KEY: json.dumps(dict(species_names))}, head)


def write_class_map_of_backbone(lake: Lake, shard: Shard, *, backbone: str) -> None:
    """Write the class map from the class list and the names of a backbone's checkpoint.

    Raises:
        WeightsError: the backbone has no classifier.
    """
    path = lake.local(lake.path(Artifact(f"{backbone}_backbone", suffix="safetensors")))
    head = read_saved_head(path)
    if head is None:
        raise WeightsError(f"{path} has no classifier, so there is no class list to make a class map from")
    names = json.loads(read_backbone_metadata(path)[SPECIES_NAMES_KEY])
    write_class_map_of(lake, shard, head.species_ids.tolist(), {int(one): name for one, name in names.items()})


def save_backbone(
    path: Path, backbone: Backbone, metadata: dict[str, str] | None = None, head: Head | None = None
) -> None:
    """Write a backbone as one safetensors file with its info in the header; equal backbones give equal bytes.

    Args:
        path: the file; writing is not atomic.
        backbone: the backbone.
        metadata: strings for the header, such as provenance.
        head: the classifier of its checkpoint.

    Raises:
        ValueError: the backbone is in half precision, whose weights are rounded.
    """
    if backbone.precision != "fp32":
        raise ValueError(f"a backbone must be saved in fp32, not in {backbone.precision}: load it in fp32 first")
    header = json.dumps({"info": backbone.info.to_dict(), "metadata": metadata or {}}, sort_keys=True)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in backbone.model.state_dict().items()}
    if head is not None:
        tensors |= {_HEAD_PREFIX + name: tensor.contiguous() for name, tensor in vars(head).items()}
    save_file(tensors, path, metadata={_HEADER_KEY: header})


def read_saved_head(path: Path) -> Head | None:
    """Return the classifier that was saved with a backbone; None if its checkpoint had none.

    Raises:
        WeightsError: the file is missing, damaged, or not written by `save_backbone`.
    """
    _, _, head = _read_saved(path)
    return Head(**head) if head else None


def fingerprint_backbone(info: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the fingerprint of a backbone, 32 hexadecimal digits.

    Args:
        info: info of the backbone, as a dict.
        tensors: tensors of the backbone and of its checkpoint's classifier, the latter by the names of `Head`.
    """
    what_counts = json.dumps({"model": info["model"], "data_config": info["data_config"]}, sort_keys=True)
    return hashlib.blake2b(f"{hash_tensors(tensors)}{what_counts}".encode(), digest_size=16).hexdigest()


def read_backbone_info(path: Path) -> BackboneInfo:
    """Return the info of a saved backbone; only the header of the file is read.

    Raises:
        WeightsError: the file is missing, damaged, or not written by `save_backbone`.
    """
    return BackboneInfo.from_dict(_read_header(path)["info"])


def read_backbone_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a saved backbone; only the header of the file is read.

    Raises:
        WeightsError: the file is missing, damaged, or not written by `save_backbone`.
    """
    return _read_header(path)["metadata"]


def open_backbone(path: Path, device: str = "auto", precision: str = "auto", compile: str = "off") -> Backbone:
    """Load a saved backbone onto a device.

    Args:
        path: the file.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; the first of several.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        compile: `auto`, `on` or `off`: whether torch compiles the forward pass.

    Raises:
        ValueError: an unknown device, precision or value of `compile`.
        WeightsError: the file is missing, damaged, or not a backbone.
    """
    header, tensors, _ = _read_saved(path)
    info = BackboneInfo.from_dict(header["info"])
    target = resolve_device(device)
    if target.index is not None:
        torch.cuda.set_device(target)  # pinned memory and streams belong to the current device
    model = create_model(info.model, info.data_config.input_size)
    model.load_state_dict(tensors)
    return Backbone(model, info, target, resolve_precision(precision, target), resolve_compile(compile, target))


def _read_saved(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the header, the tensors of the backbone and those of its head, after checking the fingerprint."""
    header, stored = _read_header(path), load_file(path)
    tensors = {name: tensor for name, tensor in stored.items() if not name.startswith(_HEAD_PREFIX)}
    head = {name.removeprefix(_HEAD_PREFIX): tensor for name, tensor in stored.items() if name not in tensors}
    written = header["metadata"].get(FINGERPRINT_KEY)
    if written and written != fingerprint_backbone(header["info"], tensors | head):
        raise WeightsError(f"{path} is damaged: {OTHER_TENSORS}; delete it and materialize {path.stem} again")
    return header, tensors, head


def _read_header(path: Path) -> dict[str, Any]:
    """Return info and metadata from the header of a saved backbone."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"there is no saved backbone at {path}: {error}") from error
    if _HEADER_KEY not in header:
        raise WeightsError(f"{path} holds tensors, but its header describes no backbone")
    try:
        described = json.loads(header[_HEADER_KEY])
        BackboneInfo.from_dict(described["info"])
        return {name: described[name] for name in ("info", "metadata")}
    except (LookupError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} is damaged: its header cannot be read; delete it and materialize {path.stem} again"
        ) from error
