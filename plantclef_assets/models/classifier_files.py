"""Classifiers as files: one safetensors file with layers, class list, metrics and metadata."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from plantclef_assets.lake.store import FINGERPRINT_KEY, OTHER_TENSORS, Artifact, Lake
from plantclef_assets.models.linear import LinearClassifier

_HEADER_KEY = "classifier"
"""The single entry of the file's metadata: safetensors writes several entries in arbitrary order."""


def write_classifier(path: Path, classifier: LinearClassifier, metadata: dict[str, str]) -> None:
    """Write a classifier; equal classifiers and metadata give equal bytes.

    Args:
        path: the file; writing is not atomic.
        classifier: the classifier.
        metadata: strings for the header, such as provenance.
    """
    header = json.dumps({"metrics": classifier.metrics, "metadata": metadata}, sort_keys=True)
    arrays = {name: np.ascontiguousarray(array) for name, array in classifier.arrays.items()}
    save_file(arrays, path, metadata={_HEADER_KEY: header})


def read_classifier(path: Path) -> LinearClassifier:
    """Return a saved classifier with its class list and metrics.

    Raises:
        ValueError: the file is missing, damaged, or not written by `write_classifier`.
    """
    header, arrays = _read_header(path), load_file(path)
    try:
        classifier = LinearClassifier(**arrays, metrics=header["metrics"])
    except TypeError as error:
        raise ValueError(f"{path} is damaged: {OTHER_TENSORS}; delete it and materialize classifier again") from error
    written = header["metadata"].get(FINGERPRINT_KEY)
    if written and written != fingerprint_classifier(classifier):
        raise ValueError(f"{path} is damaged: {OTHER_TENSORS}; delete it and materialize classifier again")
    return classifier


def open_classifier(lake: Lake, name: str) -> LinearClassifier:
    """Return the classifier of a feature set from the lake.

    Raises:
        ValueError: as `read_classifier`.
    """
    return read_classifier(lake.local(lake.path(Artifact("classifier", name, "safetensors"))))


def fingerprint_classifier(classifier: LinearClassifier) -> str:
    """Return the fingerprint of a classifier's arrays, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for array in classifier.arrays.values():
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def read_classifier_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a saved classifier; only the header of the file is read.

    Raises:
        ValueError: the file is missing, damaged, or not written by `write_classifier`.
    """
    return _read_header(path)["metadata"]


def _read_header(path: Path) -> dict[str, Any]:
    """Return metrics and metadata from the header."""
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"there is no classifier at {path}: {error}") from error
    if _HEADER_KEY not in header:
        raise ValueError(f"{path} holds tensors, but its header does not describe a classifier")
    try:
        described = json.loads(header[_HEADER_KEY])
        return {name: described[name] for name in ("metrics", "metadata")}
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged: its header cannot be read; delete it and materialize classifier again"
        ) from error
