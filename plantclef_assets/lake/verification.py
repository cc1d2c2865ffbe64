"""Verification: whether the content of artifacts is what was written.

Reads every row and tensor and compares the fingerprint with the one in the footer or header. This finds more than page
checksums do: damage in files from before checksums were introduced, and edited rows.
"""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pyarrow as pa

from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.fingerprints import Fingerprint
from plantclef_assets.lake.parquet_files import written_schema
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.sidecars import mismatched_sidecar
from plantclef_assets.lake.sites import site_digest
from plantclef_assets.lake.store import (
    RECORD_SUFFIXES,
    Artifact,
    DamagedArtifactError,
    Lake,
    Record,
    artifact_named,
    recorded_name,
)

VerifyTensors = Callable[[str, Path], object]
"""Reads a tensor file of an asset; raises a ValueError if the tensors are not what was written."""

_QUARANTINE = "quarantine/"


def verify_artifacts(
    lake: Lake, assets: Collection[str], known: Collection[str], verify_tensors: VerifyTensors
) -> Iterator[tuple[Artifact, str | None]]:
    """Read artifacts completely; yield each with its problem, or None if it is intact.

    Unreadable files of unknown assets, and those without a fingerprint, are skipped: they are not the platform's.

    Args:
        lake: a local folder or a bucket.
        assets: the assets to verify, with their quarantine tables; all if empty.
        known: names of assets in addition to the tables.
        verify_tensors: reads safetensors files.

    Raises:
        UnreachableBucketError: there is no permission to use the bucket.
    """
    for artifact in _list_artifacts(lake):
        asset = asset_of(artifact)
        if assets and asset not in assets:
            continue
        ours = asset in TABLES or asset in known
        try:
            record = lake.record(artifact)
            if record is None or (not record.fingerprint and not ours):
                continue
            problem = _problem(lake, artifact, record, verify_tensors, ours=ours)
        except DamagedArtifactError as error:
            if not ours:
                continue
            problem = str(error)
        except (ValueError, pa.ArrowException) as error:  # a damaged footer may contradict itself
            problem = str(DamagedArtifactError(artifact, lake.path(artifact), " ".join(str(error).split())))
        yield artifact, problem


def asset_of(artifact: Artifact) -> str:
    """Return the asset that an artifact or a quarantine table belongs to."""
    return artifact.asset.removeprefix(_QUARANTINE)


def _list_artifacts(lake: Lake) -> Iterator[Artifact]:
    """Yield the files that may have a record, sorted by name."""
    lake.require()
    filesystem, root = open_filesystem(lake.root)
    for path in sorted(filesystem.find(root)):
        name = path.removeprefix(root).lstrip("/")
        artifact = artifact_named(name)
        hidden = path.rpartition("/")[2].startswith(".")
        if artifact.suffix in RECORD_SUFFIXES and artifact.file == name and not hidden:
            yield artifact


def _problem(
    lake: Lake, artifact: Artifact, record: Record, verify_tensors: VerifyTensors, *, ours: bool
) -> str | None:
    path = lake.path(artifact)
    reason = None
    if not record.fingerprint:
        reason = "it has no fingerprint, so another program wrote it"
    elif ours and recorded_name(record.provenance) not in (str(artifact), None):
        reason = f"it is the file of {recorded_name(record.provenance)}"
    elif artifact.suffix == "parquet":
        if _row_fingerprint(lake, artifact) != record.fingerprint:
            reason = "its rows are not those that were written"
    elif artifact.suffix == "html":
        if site_digest(lake, artifact, record.fingerprint) != record.fingerprint:
            reason = "its pages are not those that were written"
    else:
        try:
            verify_tensors(artifact.asset, lake.local(path))
        except ValueError as error:
            return str(error)
    sidecar = mismatched_sidecar(lake, artifact, record)
    if reason is None and sidecar:
        reason = f"its sidecar {sidecar} is missing or changed"
    return str(DamagedArtifactError(artifact, path, reason)) if reason else None


def _row_fingerprint(lake: Lake, artifact: Artifact) -> str:
    """Compute the fingerprint of a table's rows, one row group at a time."""
    fingerprint = Fingerprint()
    with lake.open(artifact) as file:
        schema = written_schema(file.metadata)
        for group in range(file.num_row_groups):
            for batch in file.read_row_group(group).to_batches():
                fingerprint.update(batch.cast(schema))
    return fingerprint.digest()
