"""Filesystems: how an address, a local path or `gs://bucket/prefix`, is reached.

Credentials for gs:// are the application-default ones, never a key in a setting or file of this project. Where
STORAGE_EMULATOR_HOST names a server, that one is asked, without credentials. Nothing here talks to a network.
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
    """Name the packages that gs:// needs and that are not installed; imports none of them."""
    return [name for name in _PACKAGES if find_spec(name) is None]


def bucket_options() -> dict[str, Any]:
    """Give the options of gcsfs: nothing is remembered of a listing, since other processes write too."""
    # gcsfs would ask each bucket for its kind over gRPC first, and stall where only JSON is answered.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    token = "anon" if os.environ.get(EMULATOR) else "google_default"
    return {"token": token, "use_listings_cache": False}


def open_filesystem(location: str) -> "tuple[fsspec.AbstractFileSystem, str]":
    """Give the filesystem of a location and the location's path on it.

    Args:
        location: a local path, or an address that begins with gs://.

    Returns:
        the filesystem, and the path in its own terms: absolute, or `bucket/prefix`; without a slash at its end.

    Raises:
        ImportError: gcsfs is not installed; it comes with the extra `gcs`.
    """
    import fsspec

    if not is_in_bucket(location):
        return fsspec.filesystem("file"), str(Path(location).expanduser().absolute())
    return fsspec.filesystem("gs", **bucket_options()), location.removeprefix(BUCKETS).rstrip("/")


def default_cache() -> Path:
    """Give the folder for what can be had again: `plantclef` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "plantclef")


def local_folder(root: str, cache: str | Path) -> Path:
    """Give the local folder that belongs to a lake: the lake itself, or for one in a bucket its part of the cache."""
    if not is_in_bucket(root):
        return Path(root)
    bucket, prefix = split_address(root.rstrip("/"))
    return Path(cache, "buckets", bucket, prefix)
