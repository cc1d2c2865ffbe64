"""Backbones as artifacts of the lake."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Lake, record_metadata
from plantclef_assets.vision.backbones import load_backbone, save_backbone
from plantclef_assets.vision.weights import hash_tensors, read_weights


def write_backbone(
    lake: Lake, shard: Shard, *, model: str, weights: Path | Literal["hub"], input_size: int | None
) -> None:
    """Check weights against their model, tensor by tensor, and publish them with their data config.

    Raises:
        ValueError: the model is unknown, or its patches do not divide the input size.
        WeightsError: the weights cannot be read, or do not fit; every misfit is named.
    """
    read = "hub" if weights == "hub" else read_weights(Path(weights), source=Path(weights).name)
    backbone = load_backbone(model, read, input_size=input_size)
    info = backbone.info.to_dict()
    what_counts = json.dumps({"model": info["model"], "data_config": info["data_config"]}, sort_keys=True)
    tensors = hash_tensors(backbone.model.state_dict())
    fingerprint = hashlib.blake2b(f"{tensors}{what_counts}".encode(), digest_size=16).hexdigest()
    with lake.publish(lake.path(shard.artifact)) as temporary:
        save_backbone(temporary, backbone, record_metadata(shard.provenance, fingerprint, info))
