"""Files outside the lake: how assets fetch them, and what they are identified by in provenance.

What belongs here: the way from a setting to a file, its digest and its origin. What does not: how files are downloaded
or listed (`ingest/`).
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from plantclef_assets.ingest.downloads import Limits
from plantclef_assets.ingest.fetching import Log, fetch_file, file_identity
from plantclef_assets.ingest.locations import HUB, is_demo, is_download
from plantclef_assets.ingest.sources import ImageSource, open_source
from plantclef_assets.lake.provenance import Origin
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.redaction import without_secrets
from plantclef_assets.scoring.leaderboard import REVIEWED, is_reviewed
from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import PREFIX

_PHOTOGRAPHS_COMPARED = 10_000
"""Photographs of a manifest that are compared; if one of them lies at a source, both are of the same survey."""


def source_file(settings: Settings, location: str | None, log: Log) -> Path | None:
    """Return the local file of a source, downloaded if necessary; None where the setting is not used."""
    if location is None:
        return None
    return fetch_file(settings.resolve(location), Path(settings.cache), log, download_limits(settings))


def image_source(settings: Settings, location: str, log: Log) -> ImageSource:
    """Open a folder, archive or bucket prefix of photographs, downloaded if necessary."""
    return open_source(settings.resolve(location), Path(settings.cache), log, download_limits(settings))


def download_limits(settings: Settings) -> Limits:
    """Return what all downloads of a run may use together."""
    return settings.download


def demo_survey_of(location: str | None) -> list[str]:
    """Return the asset that a source lies in, where it is the demo's."""
    return ["demo_survey"] if is_demo(location) else []


def file_digest(settings: Settings, location: str | None) -> str | None:
    """Return the identity of a source file; None where the setting is not used."""
    return None if location is None else file_identity(settings.resolve(location))


def has_reviewed_truth(settings: Settings) -> bool:
    """Whether the ground truth is a file with reviewed lists. A download never is: its sidecar is not fetched."""
    truth = settings.plot_truth
    return truth is not None and not is_download(truth) and is_reviewed(Path(settings.resolve(truth)))


def reviewed_label(settings: Settings) -> dict[str, str]:
    """Return metadata that labels scores on reviewed lists; empty for other ground truth."""
    return {"ground_truth": REVIEWED} if has_reviewed_truth(settings) else {}


def weights_identity(settings: Settings, location: str) -> str | None:
    """Return the identity of weights; those of timm's hub are identified by name."""
    return location if location == HUB else file_digest(settings, location)


def images_identity(settings: Settings, location: str) -> str:
    """Return the digest of a source of photographs; a download is identified by its address without secrets."""
    if is_download(location):
        return without_secrets(location)
    return open_source(settings.resolve(location), Path(settings.cache)).digest()


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
    shown = None if location is None else without_secrets(location)
    return Origin(PREFIX + setting.upper(), shown, settings.replace_sources, holds if photographs else None)


def _files(batch: pa.RecordBatch) -> Iterator[tuple[str, int]]:
    return zip(batch.column("source").to_pylist(), batch.column("bytes").to_pylist(), strict=True)
