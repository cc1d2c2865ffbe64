"""Local copies of source files: a CSV, a class list, weights or an archive from a path, a bucket or an http(s) address.

Copies are kept in the cache (`PLANTCLEF_CACHE`): one per https address, and one per version of a gs:// object.
Artifacts in the lake do not need the cache; it may be deleted at any time.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plantclef_assets.engines.progress import BYTES, Progress
from plantclef_assets.ingest.downloads import Download, Limits, download_files
from plantclef_assets.ingest.locations import file_in_address, is_download, is_remote, split_checksum
from plantclef_assets.lake.atomic import atomic_write
from plantclef_assets.lake.filesystems import is_in_bucket, open_filesystem
from plantclef_assets.redaction import without_secrets

Log = Callable[[str], None]


class SourceError(ValueError):
    """A source is missing or malformed; the message gives its location and says what to do."""


def fetch_file(location: str, cache: Path, log: Log = lambda line: None, limits: Limits | None = None) -> Path:
    """Return a local file with the content of a location; a remote file is fetched into the cache.

    Args:
        location: a path, `gs://bucket/object`, or an http(s) address, optionally with `#sha256=…`.
        cache: the folder for fetched files.
        log: called with the progress of a download.
        limits: the limits of a download.

    Raises:
        DownloadError: the download failed, or the checksum is wrong.
        SourceError: there is no such object, it is not readable, or it was replaced while it was fetched.
    """
    if is_download(location):
        address, checksum = split_checksum(location)
        target = _cache_path(cache, file_in_address(address), without_secrets(address))
        if not target.exists():  # else its checksum has been verified
            download = Download(address, target, sha256=checksum)
            with Progress(target.name, 0, BYTES, log) as progress:
                failed = download_files([download], limits=limits, progress=progress.reach, log=log)
            if failed:
                raise failed[download]
        return target
    if not is_remote(location):
        return Path(location)
    version = _version_at(location)
    target = _cache_path(cache, location.rpartition("/")[2], f"{location}\0{version}")
    if not target.exists():
        log(f"Fetching {location}.")
        filesystem, path = open_filesystem(location)
        with atomic_write(target) as temporary:
            filesystem.get_file(path, str(temporary))
            if _version_at(location) != version:
                raise SourceError(f"'{location}' was replaced while it was fetched; materialize again")
    return target


def file_identity(location: str) -> str:
    """Return the identity of a file for a provenance, without fetching it.

    The identity of a local file is the sha256 of its bytes, that of an object in a bucket its size and version, and
    that of a download its address without secrets, because it is downloaded once.

    Raises:
        SourceError: there is no such object, or it is not readable.
    """
    if is_download(location):
        return without_secrets(location)
    if is_remote(location):
        return _version_at(location)
    with Path(location).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def object_version(info: Mapping[str, Any]) -> str:
    """Return the version of an object (generation or ETag); empty if the bucket has none."""
    return str(info.get("generation") or info.get("etag") or "")


@contextmanager
def readable(location: str) -> Iterator[None]:
    """Translate errors of an unreadable bucket.

    Raises:
        SourceError: permission or credentials are missing.
    """
    if not is_in_bucket(location):
        yield
        return
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except GoogleAuthError as error:
        raise SourceError(
            f"no credentials for '{location}': {error}; create them with `gcloud auth application-default login`"
        ) from error
    except OSError as error:
        if not str(error).startswith("Forbidden"):  # gcsfs has no exception class for this
            raise
        reason = str(error).rpartition("\n")[2]
        raise SourceError(
            f"no permission for '{location}': {reason}; the account must be able to list and read its objects (role "
            "Storage Object Viewer)"
        ) from error


def _version_at(location: str) -> str:
    try:
        with readable(location):
            filesystem, path = open_filesystem(location)
            info = filesystem.info(path)
    except FileNotFoundError:
        raise SourceError(f"there is no object '{location}'; use the address of a readable object") from None
    if info["type"] != "file":
        raise SourceError(f"'{location}' is a prefix with objects below it; the address of one object is needed")
    return f"{info['size']}:{object_version(info)}"


def _cache_path(cache: Path, name: str, identity: str) -> Path:
    mark = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return cache / "downloads" / mark / name
