"""Files beside a table: a CSV, a picture or a JSON that is made with it, and that it knows by its checksum.

Each is published on its own, before its table. Where two runs with different settings make the same artifact in a
bucket, the table of one may find the file of the other beside it; from the checksums in its figures it is told.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plantclef_assets.lake import buckets
from plantclef_assets.lake.store import Artifact, Lake, LakePath, Record

BESIDE = "beside"
"""The figure that holds the checksums of the files beside an artifact, by their names."""


def publish_beside(lake: Lake, contents: Mapping[LakePath, bytes]) -> dict[str, Any]:
    """Publish files beside an artifact that is still to be written, and give the figure by which it will know them.

    Raises:
        OvertakenError: in a bucket, somebody else published one of them meanwhile.
    """
    for path, content in contents.items():
        with lake.publish(path) as temporary:
            temporary.write_bytes(content)
    return {BESIDE: {path.name: _checksum_of(content) for path, content in contents.items()}}


def foreign_file(lake: Lake, artifact: Artifact, record: Record) -> str | None:
    """Name a file beside an artifact that is missing or not the one that was made with it; None where all are.

    Costs a look at the metadata of each object in a bucket, and reading each file of a folder.
    """
    for name, checksum in record.figures.get(BESIDE, {}).items():
        if _checksum_at(lake, lake.path(artifact).with_name(name)) != checksum:
            return name
    return None


def _checksum_at(lake: Lake, path: LakePath) -> str | None:
    try:
        # Cloud Storage keeps this checksum of every object that was created by one upload.
        known = None if isinstance(path, Path) else buckets.find_object(lake.storage, str(path)).md5_hash
        return known or _checksum_of(path.read_bytes())
    except FileNotFoundError:
        return None


def _checksum_of(content: bytes) -> str:
    """Give the checksum that Cloud Storage has of its objects: MD5, base64."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
