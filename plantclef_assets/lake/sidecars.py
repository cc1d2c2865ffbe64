"""Sidecar files: the CSV, picture or JSON that is written with a table, and whose checksum is in the table's footer.

Each is published on its own, before its table. When two runs with different settings write the same artifact to a
bucket, the table of one run may end up beside the sidecars of the other; the checksums reveal this.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plantclef_assets.lake import buckets
from plantclef_assets.lake.store import Artifact, Lake, LakePath, Record

SIDECARS = "beside"
"""The footer statistic with the checksums of an artifact's sidecars, by file name."""


def publish_sidecars(lake: Lake, contents: Mapping[LakePath, bytes]) -> dict[str, Any]:
    """Publish the sidecars of an artifact that is still to be written; return the statistic for its footer.

    Raises:
        OvertakenError: in a bucket, another process published one of them in the meantime.
    """
    for path, content in contents.items():
        with lake.publish(path) as temporary:
            temporary.write_bytes(content)
    return {SIDECARS: {path.name: _checksum_of(content) for path, content in contents.items()}}


def mismatched_sidecar(lake: Lake, artifact: Artifact, record: Record) -> str | None:
    """Return the name of a sidecar that is missing or was not written with the artifact; None if all match.

    Reads the metadata of each object in a bucket, and the content of each local file.
    """
    for name, checksum in record.statistics.get(SIDECARS, {}).items():
        if _checksum_at(lake, lake.path(artifact).with_name(name)) != checksum:
            return name
    return None


def _checksum_at(lake: Lake, path: LakePath) -> str | None:
    try:
        # Cloud Storage stores this checksum for every object that was created by one upload.
        known = None if isinstance(path, Path) else buckets.find_object(lake.storage, str(path)).md5_hash
        return known or _checksum_of(path.read_bytes())
    except FileNotFoundError:
        return None


def _checksum_of(content: bytes) -> str:
    """Return the checksum in the form of Cloud Storage: MD5, base64."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
