"""What recipes are made of: which artifacts go in, and what files outside the lake are known by."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa

from plantclef_assets.ingest.fetching import file_identity
from plantclef_assets.ingest.locations import HUB, is_demo, is_download
from plantclef_assets.ingest.sources import open_source
from plantclef_assets.lake.provenance import Origin
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import PREFIX

Inputs = Callable[[str | None], tuple[Artifact, ...]]
_PHOTOGRAPHS_COMPARED = 10_000
"""Photographs of a manifest of which one has to lie at a source, for it to be of the same survey."""


def only(*artifacts: Artifact) -> Inputs:
    """Let every partition be made from the same artifacts."""
    return lambda partition: artifacts


def same_shard(asset: str) -> Inputs:
    """Let a shard be made from that of the same key."""
    return lambda partition: (Artifact(asset, partition),)


def demo_survey_of(settings: Settings, source: str) -> tuple[Artifact, ...]:
    """Give the demo survey where a source lies in it."""
    return (Artifact("demo_survey"),) if is_demo(source) else ()


def origin_of(settings: Settings, setting: str) -> Origin:
    """Return the origin of what is made from a source; the photographs at its address tell surveys apart."""
    location = getattr(settings, setting)

    def holds(lake: Lake, manifest: Artifact) -> bool:
        if location is None or is_download(location):
            return False
        batch = next(lake.open(manifest).iter_batches(_PHOTOGRAPHS_COMPARED, columns=["source", "bytes"]))
        known = set(_files(batch))
        listing = open_source(settings.resolve(location), Path(settings.cache)).listing()
        return any(not known.isdisjoint(_files(batch)) for batch in listing)

    photographs = setting in ("training_images", "plot_images") and not is_demo(location)
    return Origin(PREFIX + setting.upper(), location, settings.replace_sources, holds if photographs else None)


def _files(batch: pa.RecordBatch) -> Iterable[tuple[str, int]]:
    return zip(batch.column("source").to_pylist(), batch.column("bytes").to_pylist(), strict=True)


def weights_identity(settings: Settings, source: str) -> str | None:
    """Give what weights are known by: those of timm's hub by their name."""
    return source if source == HUB else file_digest(settings, source)


def file_digest(settings: Settings, location: str | None) -> str | None:
    """Give what a source file is known by; None where the setting is not used."""
    return None if location is None else file_identity(settings.resolve(location))


def images_identity(settings: Settings, location: str) -> str:
    """Give the digest of what lies at a source of photographs; what is downloaded is known by its address."""
    if is_download(location):
        return location
    return open_source(settings.resolve(location), Path(settings.cache)).digest()
