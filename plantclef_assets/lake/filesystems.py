"""File systems: what reads and writes behind an address, a local path or `gs://bucket/…`."""

from typing import Any

GOOGLE_CLOUD = "gs://"


def open_filesystem(location: str) -> tuple[Any, str]:
    """Give the fsspec file system of a location, and the path that it knows the location by."""
    if location.startswith(GOOGLE_CLOUD):
        import gcsfs

        return gcsfs.GCSFileSystem(), location.removeprefix(GOOGLE_CLOUD).rstrip("/")
    from fsspec.implementations.local import LocalFileSystem

    return LocalFileSystem(), location
