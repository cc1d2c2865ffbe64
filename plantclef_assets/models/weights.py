"""Reading the tensors of a model from a file, without running what a stranger's file may contain.

Two kinds of files: safetensors, and torch's pickles (.pth, .pt, .bin, .pth.tar). Pickles are loaded with weights
only; beyond tensors just `argparse.Namespace` is allowed, because the organisers' published checkpoint
(Zenodo 10848263) keeps its training arguments in one.
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
"""The word that asks for the pretrained weights that timm itself knows and downloads."""

UNKNOWN_LICENCE = "unknown"

_PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".pth.tar")

_NESTED_UNDER = ("state_dict_ema", "state_dict", "model")
"""Where a training checkpoint keeps its tensors, best first: averaged (EMA) weights recognise better."""

_UNPICKLER_REASON = re.compile(r"WeightsUnpickler error: (.+?)(?:\. |\n|$)")
"""The sentence of torch's long message that says what the file wanted."""

_CLASSIFIER_PREFIXES = ("head.", "classifier.")
"""Names of the tensors that turn features into classes, in timm's vision transformers and in exports of them."""


class WeightsError(ValueError):
    """A file of weights cannot be read, or does not fit the model."""


@dataclass(frozen=True)
class Weights:
    """The tensors of a model and where they came from.

    Attributes:
        tensors: name → tensor, on the CPU, as stored.
        sha256: of the file, or of the tensors where there was no file (see `hash_tensors`).
        source: for the reader of a provenance: a file name, a URL, `hub`.
        licence: as the file or its publisher states it.
    """

    tensors: Mapping[str, torch.Tensor]
    sha256: str
    source: str
    licence: str = UNKNOWN_LICENCE


def read_weights(path: Path, *, source: str | None = None, licence: str | None = None) -> Weights:
    """Read the state dict in a .safetensors, .pth, .pt, .bin or .pth.tar file.

    A checkpoint that nests its tensors is unpacked; EMA weights are preferred over the last ones.

    Args:
        path: a local file.
        source: what to call it in the provenance; the file's name if not given.
        licence: the one it is published under; if not given, what `license` says in the header of a safetensors file.

    Raises:
        WeightsError: the file is missing, of an unknown kind, damaged, wants more than tensors, or has none.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file of weights at {path}")
    if path.suffix == ".safetensors":
        try:
            stored: Any = load_file(path)
            licence = licence or _stated_licence(path)
        except SafetensorError as error:
            raise WeightsError(f"{path.name} is no whole safetensors file: {error}") from error
    elif path.name.endswith(_PICKLE_SUFFIXES):
        stored = _load_pickle(path)
    else:
        kinds = ", ".join((".safetensors", *_PICKLE_SUFFIXES))
        raise WeightsError(f"{path.name} is not a known kind of weights file; known are {kinds}")
    tensors = _find_tensors(stored, path.name)
    return Weights(tensors, hash_file(path), source or path.name, licence or UNKNOWN_LICENCE)


@dataclass(frozen=True)
class Head:
    """The classifier inside a checkpoint: class scores are weight · [CLS] + bias.

    Attributes:
        weight: float32, (classes, D).
        bias: float32, (classes,).
        species_ids: int64, (classes,), the checkpoint's own class list.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    species_ids: torch.Tensor


def read_head(weights: Weights, species_ids: Sequence[int]) -> Head:
    """Take the classifier out of a checkpoint's tensors.

    Raises:
        WeightsError: it has none, or one of another number of classes than the class list.
    """
    _, tensors = separate_classifier(weights.tensors)
    named = {name.rpartition(".")[2]: tensor.float() for name, tensor in tensors.items()}
    if named.keys() != {"weight", "bias"}:
        raise WeightsError(f"{weights.source} has no linear classifier, though a class list comes with it")
    if len(named["weight"]) != len(species_ids):
        raise WeightsError(
            f"{weights.source} has a classifier of {len(named['weight'])} classes, but its class list has "
            f"{len(species_ids)}: they do not belong together"
        )
    return Head(named["weight"], named["bias"], torch.tensor(species_ids, dtype=torch.int64))


def weights_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> Weights:
    """Wrap tensors that are already in memory; their hash is that of names, types, shapes and values."""
    return Weights(tensors, hash_tensors(tensors), source)


def separate_classifier(
    tensors: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Split a checkpoint into (tensors of the backbone, tensors of its own classifier)."""
    classifier = {name: t for name, t in tensors.items() if name.startswith(_CLASSIFIER_PREFIXES)}
    return {name: t for name, t in tensors.items() if name not in classifier}, classifier


def hash_file(path: Path) -> str:
    """Compute the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Compute a SHA-256 over names, types, shapes and bytes, independent of the order of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _stated_licence(path: Path) -> str | None:
    """Look for the licence in the header of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
    return header.get("license") or header.get("licence")


def _load_pickle(path: Path) -> Any:
    """Load a torch checkpoint, refusing whatever is more than tensors and plain values."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = _UNPICKLER_REASON.search(str(error))
        raise WeightsError(
            f"{path.name} is refused: it is no checkpoint of tensors and plain values only"
            + (f" ({reason[1]})" if reason else "")
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{path.name} cannot be read as a torch checkpoint: {reason}") from error


def _find_tensors(stored: Any, name: str) -> dict[str, torch.Tensor]:
    """Find the state dict in what a file holds."""
    if isinstance(stored, Mapping):
        nested = [stored[key] for key in _NESTED_UNDER if isinstance(stored.get(key), Mapping) and stored[key]]
        stored = nested[0] if nested else stored
    if not isinstance(stored, Mapping) or not stored:
        raise WeightsError(f"{name} holds no state dict, but {type(stored).__name__}")
    others = [str(key) for key, value in stored.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise WeightsError(
            f"{name} holds no state dict: not tensors are {', '.join(others[:5])}"
            f"{' …' if len(others) > 5 else ''}; looked under {', '.join(_NESTED_UNDER)} and at the top"
        )
    return dict(stored)
