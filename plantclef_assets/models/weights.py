"""Reading the tensors of a model from a file, without executing code in the file.

Two kinds of files are read: safetensors, and torch's pickles (.pth, .pt, .bin, .pth.tar). Pickles are loaded with
`weights_only`; besides tensors only `argparse.Namespace` is allowed, because the checkpoint published by the organisers
(Zenodo 10848263) stores its training arguments in one.
"""

import argparse
import hashlib
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

HUB = "hub"
"""The location that stands for timm's pretrained weights, which timm downloads."""

UNKNOWN_LICENCE = "unknown"

_PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".pth.tar")

_NESTED_UNDER = ("state_dict_ema", "state_dict", "model")
"""Keys under which a checkpoint stores its tensors, best first: averaged (EMA) weights recognise better."""

_UNPICKLER_REASON = re.compile(r"WeightsUnpickler error: (.+?)(?:\. |\n|$)")
"""The sentence of torch's long message with the reason."""

_CLASSIFIER_PREFIXES = ("head.", "classifier.")
"""Prefixes of the names of a classifier's tensors, in timm's vision transformers and in exports of them."""


class WeightsError(ValueError):
    """A file of weights cannot be read or does not fit the model."""


@dataclass(frozen=True)
class Weights:
    """The tensors of a model and their source.

    Attributes:
        tensors: name → tensor, on the CPU, as stored.
        sha256: hash of the file, or of the tensors without a file (see `hash_tensors`).
        source: for provenance: a file name, a URL, or `hub`.
        licence: the licence stated by the file or its publisher.
    """

    tensors: Mapping[str, torch.Tensor]
    sha256: str
    source: str
    licence: str = UNKNOWN_LICENCE


def read_weights(path: Path, *, source: str | None = None, licence: str | None = None) -> Weights:
    """Return the state dict of a .safetensors, .pth, .pt, .bin or .pth.tar file.

    Nested tensors of a checkpoint are found; EMA weights are preferred.

    Args:
        path: a local file.
        source: source for the provenance; the file's name if not given.
        licence: licence of the weights; if not given, `license` in the header of a safetensors file.

    Raises:
        WeightsError: the file is missing, of an unknown kind or damaged, or contains no tensors, or more than tensors
            and plain values.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file of weights at {path}")
    if path.suffix == ".safetensors":
        try:
            stored: Any = load_file(path)
            licence = licence or _stated_licence(path)
        except SafetensorError as error:
            raise WeightsError(f"{path.name} is not a complete safetensors file: {error}") from error
    elif path.name.endswith(_PICKLE_SUFFIXES):
        stored = _load_pickle(path)
    else:
        kinds = ", ".join((".safetensors", *_PICKLE_SUFFIXES))
        raise WeightsError(f"{path.name} is not a known kind of weights file; known kinds are {kinds}")
    tensors = _find_tensors(stored, path.name)
    return Weights(tensors, hash_file(path), source or path.name, licence or UNKNOWN_LICENCE)


@dataclass(frozen=True)
class Head:
    """The classifier inside a checkpoint: class scores are weight · [CLS] + bias.

    Attributes:
        weight: float32, (classes, D).
        bias: float32, (classes,).
        species_ids: int64, (classes,), the class list of the checkpoint.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    species_ids: torch.Tensor


def read_head(weights: Weights, species_ids: Sequence[int]) -> Head:
    """Return the classifier inside a checkpoint.

    Raises:
        WeightsError: there is none, or its number of classes differs from the class list.
    """
    _, tensors = separate_classifier(weights.tensors)
    named = {name.rpartition(".")[2]: tensor.float() for name, tensor in tensors.items()}
    if named.keys() != {"weight", "bias"}:
        raise WeightsError(f"{weights.source} has no linear classifier, but a class list")
    if len(named["weight"]) != len(species_ids):
        raise WeightsError(
            f"{weights.source} has a classifier of {len(named['weight'])} classes, but its class list has "
            f"{len(species_ids)}: they do not fit together"
        )
    return Head(named["weight"], named["bias"], torch.tensor(species_ids, dtype=torch.int64))


def weights_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> Weights:
    """Return tensors in memory as `Weights`, hashed by `hash_tensors`."""
    return Weights(tensors, hash_tensors(tensors), source)


def separate_classifier(
    tensors: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Split a checkpoint into (tensors of the backbone, tensors of the classifier)."""
    classifier = {name: t for name, t in tensors.items() if name.startswith(_CLASSIFIER_PREFIXES)}
    return {name: t for name, t in tensors.items() if name not in classifier}, classifier


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes, independent of the order of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _stated_licence(path: Path) -> str | None:
    """Return the licence in the header of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
    return header.get("license") or header.get("licence")


def _load_pickle(path: Path) -> Any:
    """Load a torch checkpoint of tensors and plain values only."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = _UNPICKLER_REASON.search(str(error))
        raise WeightsError(
            f"{path.name} is refused: it is not a checkpoint of tensors and plain values only"
            + (f" ({reason[1]})" if reason else "")
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{path.name} cannot be read as a torch checkpoint: {reason}") from error


def _find_tensors(stored: Any, name: str) -> dict[str, torch.Tensor]:
    """Return the state dict within the contents of a file."""
    if isinstance(stored, Mapping):
        nested = [stored[key] for key in _NESTED_UNDER if isinstance(stored.get(key), Mapping) and stored[key]]
        stored = nested[0] if nested else stored
    if not isinstance(stored, Mapping) or not stored:
        raise WeightsError(f"{name} contains no state dict, but {type(stored).__name__}")
    others = [str(key) for key, value in stored.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise WeightsError(
            f"{name} contains no state dict: {', '.join(others[:5])}{' …' if len(others) > 5 else ''} are not tensors; "
            f"searched under {', '.join(_NESTED_UNDER)} and at the top level"
        )
    return dict(stored)
