"""Files of sources: a CSV, a class list, weights or an archive, wherever it lies, as a file of this machine.

What comes from elsewhere is kept in the cache (`PLANTCLEF_CACHE`): an https address once, a gs:// object once for each
of its versions. Nothing in the cache is needed for what is already in the lake; it may be deleted at any time.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plantclef_assets.engines.progress import BYTES, Progress
from plantclef_assets.ingest.downloads import Download, Limits, download_files
from plantclef_assets.ingest.locations import is_download, is_remote, split_checksum
from plantclef_assets.lake.atomic import atomic_write
from plantclef_assets.lake.filesystems import is_in_bucket, open_filesystem

Log = Callable[[str], None]


class SourceError(ValueError):
    """A source that is not there, or is not what it should be; the message says where it lies and what to do."""


def fetch_file(location: str, cache: Path, log: Log = lambda line: None, limits: Limits | None = None) -> Path:
    """Give a local file with the bytes of a location, fetching it into the cache where it lies elsewhere.

    Args:
        location: a path, `gs://bucket/object`, or an http(s) address, with `#sha256=…` where that is known.
        cache: the folder for what is fetched.
        log: told how far a download is.
        limits: what a download may take.

    Raises:
        DownloadError: the address cannot be downloaded, or gives bytes with another checksum.
        SourceError: there is no such object, it may not be read, or it was replaced while it was fetched.
    """
    if is_download(location):
        address, checksum = split_checksum(location)
        target = _place(cache, address, address)
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
    target = _place(cache, location, f"{location}\0{version}")
    if not target.exists():
        log(f"Fetching {location}.")
        filesystem, path = open_filesystem(location)
        with atomic_write(target) as temporary:
            filesystem.get_file(path, str(temporary))
            if _version_at(location) != version:
                raise SourceError(f"'{location}' was replaced while it was fetched; materialize again")
    return target


def file_identity(location: str) -> str:
    """Give what a file is known by in a provenance, without fetching it.

    It is the sha256 of a local file's bytes, size and version of an object in a bucket, and the address of what is
    downloaded, since that happens once.

    Raises:
        SourceError: there is no such object, or it may not be read.
    """
    if is_download(location):
        return location
    if is_remote(location):
        return _version_at(location)
    with Path(location).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def object_version(info: Mapping[str, Any]) -> str:
    """Give the version of an object as its bucket names it (generation or ETag); empty where it names none."""
    return str(info.get("generation") or info.get("etag") or "")


@contextmanager
def readable(location: str) -> Iterator[None]:
    """Turn what a bucket that may not be read raises into a sentence.

    Raises:
        SourceError: permission or credentials are lacking.
    """
    if not is_in_bucket(location):
        yield
        return
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except GoogleAuthError as error:
        raise SourceError(
            f"no credentials for '{location}': {error}; `gcloud auth application-default login` makes them"
        ) from error
    except OSError as error:
        if not str(error).startswith("Forbidden"):  # gcsfs has no type of its own for this
            raise
        reason = str(error).rpartition("\n")[2]
        raise SourceError(
            f"no permission for '{location}': {reason}; its objects have to be listed and read (role Storage Object "
            "Viewer)"
        ) from error


def _version_at(location: str) -> str:
    try:
        with readable(location):
            filesystem, path = open_filesystem(location)
            info = filesystem.info(path)
    except FileNotFoundError:
        raise SourceError(f"there is no object '{location}'; give the address of one that can be read") from None
    if info["type"] != "file":
        raise SourceError(f"'{location}' is a prefix with objects below it, and one object is needed")
    return f"{info['size']}:{object_version(info)}"


def _place(cache: Path, location: str, identity: str) -> Path:
    mark = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return cache / "downloads" / mark / location.rpartition("/")[2]
