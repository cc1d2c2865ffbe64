"""Filesystems of locations: local paths and `gs://bucket/prefix` addresses.

Credentials for gs:// are the application-default ones, never a key in a setting or a file of this project. If
STORAGE_EMULATOR_HOST names a server, that server is used, without credentials. This module does no network access.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import fsspec

BUCKETS = "gs://"
EMULATOR = "STORAGE_EMULATOR_HOST"
_PACKAGES = ("gcsfs", "dagster_gcp", "upath")


def is_in_bucket(location: str) -> bool:
    """Whether a location is an address on Google Cloud Storage."""
    return location.startswith(BUCKETS)


def split_address(address: str) -> tuple[str, str]:
    """Split `gs://bucket/some/key` into the bucket and the key, which may be empty."""
    bucket, _, key = address.removeprefix(BUCKETS).partition("/")
    return bucket, key


def missing_packages() -> list[str]:
    """Return the packages that gs:// needs and that are not installed, without importing any."""
    return [name for name in _PACKAGES if find_spec(name) is None]


def bucket_options() -> dict[str, Any]:
    """Return the options of gcsfs: listings are not cached, because other processes write too."""
    # Else gcsfs requests the kind of each bucket over gRPC first, and stalls on servers that only support JSON.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    token = "anon" if os.environ.get(EMULATOR) else "google_default"
    return {"token": token, "use_listings_cache": False}


def open_filesystem(location: str) -> "tuple[fsspec.AbstractFileSystem, str]":
    """Return the filesystem of a location and the location's path on it.

    Args:
        location: a local path, or an address that begins with gs://.

    Returns:
        the filesystem, and the path on it: absolute, or `bucket/prefix`; without a trailing slash.

    Raises:
        ImportError: gcsfs is not installed; the extra `gcs` installs it.
    """
    import fsspec

    if not is_in_bucket(location):
        return fsspec.filesystem("file"), str(Path(location).expanduser().absolute())
    return fsspec.filesystem("gs", **bucket_options()), location.removeprefix(BUCKETS).rstrip("/")


def default_cache() -> Path:
    """Return the default cache folder: `plantclef` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "plantclef")


def local_folder(root: str, cache: str | Path) -> Path:
    """Return the local folder of a lake: the lake itself, or for a lake in a bucket its part of the cache."""
    if not is_in_bucket(root):
        return Path(root)
    bucket, prefix = split_address(root.rstrip("/"))
    return Path(cache, "buckets", bucket, prefix)
