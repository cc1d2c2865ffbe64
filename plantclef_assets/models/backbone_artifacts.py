"""Backbones as artifacts of the lake."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from plantclef_assets.ingest.checkpoints import checkpoint_files, licence_at
from plantclef_assets.ingest.class_map import read_class_mapping, read_species_names, write_class_map_of
from plantclef_assets.ingest.downloads import Limits
from plantclef_assets.ingest.fetching import fetch_file
from plantclef_assets.ingest.locations import is_remote
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.shards import Shard
from plantclef_assets.lake.store import Artifact, Lake, record_metadata
from plantclef_assets.models.backbones import (
    Backbone,
    fingerprint_backbone,
    load_backbone,
    read_backbone_metadata,
    read_saved_head,
    save_backbone,
)
from plantclef_assets.models.weights import HUB, Head, WeightsError, read_head, read_weights

SPECIES_NAMES_KEY = "species_names"
"""Where a backbone's header keeps the names that came with its checkpoint, species_id → name, as JSON."""


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
    """Check weights against their model, tensor by tensor, and publish them with their data config.

    Args:
        lake: where to write.
        shard: what to write.
        model: timm name.
        weights: where a file of weights or an archive of them lies, with `#sha256=…` where it is an address whose bytes
            are known; or `hub`.
        cache: the folder for what is fetched, or taken out of an archive.
        input_size: side of the model's input, px; its own if None.
        with_head: whether the checkpoint's own classifier is kept.
        class_mapping: the class list of that classifier; the one that comes with the checkpoint if None.
        limits: what a download may take.
        log: told how far a download is.

    Raises:
        CheckpointError: an archive of weights is damaged, or not what the organisers publish.
        ClassListError: the class list cannot be read.
        DownloadError: the weights cannot be downloaded.
        SourceError: there is no such object in a bucket.
        ValueError: the model is unknown, or its patches do not divide the input size.
        WeightsError: the weights cannot be read, or do not fit; the first misfits are named.
    """
    head, names = None, {}
    if weights == HUB:
        read = HUB
    else:
        file = fetch_file(weights, cache, log, limits)
        files = checkpoint_files(file, cache / "checkpoints")
        source = weights if is_remote(weights) else file.name
        read = read_weights(files.weights, source=source, licence=licence_at(weights))
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
    """Publish a backbone with the classifier and the names that belong to it; its info is among the figures."""
    info = backbone.info.to_dict()
    fingerprint = fingerprint_backbone(info, backbone.model.state_dict() | (vars(head) if head else {}))
    record = record_metadata(shard.provenance, fingerprint, info | dict(figures))
    with lake.publish(lake.path(shard.artifact)) as temporary:
        require_unchanged(lake, shard.provenance)
        save_backbone(temporary, backbone, record | {SPECIES_NAMES_KEY: json.dumps(dict(species_names))}, head)


def write_class_map_of_backbone(lake: Lake, shard: Shard, *, backbone: str) -> None:
    """Write the class map from the class list and names that came with a backbone's checkpoint.

    Raises:
        WeightsError: the backbone has no classifier.
    """
    path = lake.local(lake.path(Artifact(f"{backbone}_backbone", suffix="safetensors")))
    head = read_saved_head(path)
    if head is None:
        raise WeightsError(f"{path} has no classifier, so there is no class list to make a class map from")
    names = json.loads(read_backbone_metadata(path)[SPECIES_NAMES_KEY])
    write_class_map_of(lake, shard, head.species_ids.tolist(), {int(one): name for one, name in names.items()})
