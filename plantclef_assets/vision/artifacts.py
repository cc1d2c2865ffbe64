"""Backbones as artifacts of the lake."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from plantclef_assets.engines.progress import Progress
from plantclef_assets.ingest.downloads import download_file
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Lake, record_metadata
from plantclef_assets.locations import split_checksum
from plantclef_assets.vision.backbones import load_backbone, save_backbone
from plantclef_assets.vision.weights import hash_tensors, read_weights


def write_backbone(
    lake: Lake,
    shard: Shard,
    *,
    model: str,
    weights: Path | Literal["hub"],
    input_size: int | None,
    address: str | None,
    log: Callable[[str], None],
) -> None:
    """Check weights against their model, tensor by tensor, and publish them with their data config.

    Args:
        lake: where to write.
        shard: what to write.
        model: timm name.
        weights: the file, or `hub`.
        input_size: side of the model's input, px; its own if None.
        address: where the file is downloaded from if it is not there yet, with `#sha256=…` where that is known.
        log: told how far a download is.

    Raises:
        DownloadError: the weights cannot be downloaded.
        ValueError: the model is unknown, or its patches do not divide the input size.
        WeightsError: the weights cannot be read, or do not fit; every misfit is named.
    """
    if address and isinstance(weights, Path):
        _download(address, weights, log)
    read = "hub" if weights == "hub" else read_weights(Path(weights), source=address or Path(weights).name)
    backbone = load_backbone(model, read, input_size=input_size)
    info = backbone.info.to_dict()
    what_counts = json.dumps({"model": info["model"], "data_config": info["data_config"]}, sort_keys=True)
    tensors = hash_tensors(backbone.model.state_dict())
    fingerprint = hashlib.blake2b(f"{tensors}{what_counts}".encode(), digest_size=16).hexdigest()
    with lake.publish(lake.path(shard.artifact)) as temporary:
        save_backbone(temporary, backbone, record_metadata(shard.provenance, fingerprint, info))


def _download(address: str, target: Path, log: Callable[[str], None]) -> None:
    url, checksum = split_checksum(address)
    with Progress(target.name, 0, "bytes", log) as progress:
        download_file(url, target, sha256=checksum, progress=progress.reach)
