"""Locations in settings: paths, addresses and the special forms of sources, and their validation.

What belongs here: the schemes of locations and the errors of malformed ones. What does not: reading a location.
"""

import errno
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from plantclef_assets.ingest.tar_files import is_tar
from plantclef_assets.lake.filesystems import missing_packages
from plantclef_assets.redaction import without_secrets

DEMO = "demo:"
"""Prefix of sources in the generated demo survey, `demo_survey/…` in the lake's local folder."""
PACKAGE = "package:"
"""Prefix of files inside the package."""
HUB = "hub"
"""In place of weights: timm downloads them by the name of the model."""
TRAIN = "train"
"""In place of weights: they are trained by this platform."""

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]
_REMOTE = re.compile(r"^[a-z][a-z0-9+.-]*://")
_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]+[a-z0-9](/(?!\.\.?(/|$))[^/?#*\[\]]+)*/?")
_OBJECT = re.compile(r"^gs://[^/]+(/.*)?$")
_NAMED_FILE = re.compile(r"://[^/]+/(.*/)?[^/?#]+$")
_ARCHIVE = re.compile(r"\.(tar|tgz|tar\.(gz|bz2|xz))$", re.IGNORECASE)

_SHOWN = 100
"""The most characters of a path that an error shows."""


def is_remote(location: str) -> bool:
    """Whether a location is an address such as `gs://…`."""
    return _REMOTE.match(location) is not None


def is_download(location: str) -> bool:
    """Whether a location is an http(s) address."""
    return location.startswith(("https://", "http://"))


def file_in_address(address: str) -> str:
    """Return the last part of the path of an http(s) address, as it is written there."""
    return address.partition("?")[0].rpartition("/")[2]


def split_checksum(address: str) -> tuple[str, str | None]:
    """Split `https://…/file#sha256=…` into the address and the checksum; None without a checksum."""
    address, _, checksum = address.partition("#sha256=")
    return address, checksum.lower() or None


def is_demo(location: str | None) -> bool:
    """Whether a source is in the generated demo survey."""
    return location is not None and location.startswith(DEMO)


def local_path(location: str) -> Path:
    """Return the absolute path of a local file or folder, which need not exist; `~` and `~user` are home folders.

    Raises:
        ValueError: there is no such user, or no file can have such a path.
    """
    try:
        path = Path(location).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"'{location[:_SHOWN]}' begins with the home folder of an unknown user") from None
    try:
        os.lstat(path)
    except ValueError as error:
        raise ValueError(f"no file can have the path '{location[:_SHOWN]}' ({error})") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ValueError(f"the path '{location[:_SHOWN]}…' is too long ({len(location):,} characters)") from None
    return path


def resolve_location(location: str, folder: Path) -> str:
    """Return the absolute path of a source, or its address if it is remote.

    The demo survey is in `folder`, the local folder of the lake.
    """
    if location.startswith(DEMO):
        return str(folder / "demo_survey" / location.removeprefix(DEMO))
    if location.startswith(PACKAGE):
        return str(PACKAGE_FOLDER / location.removeprefix(PACKAGE))
    return location if is_remote(location) else str(local_path(location))


def check_weights(location: str | None) -> str | None:
    """Return the location of weights: `hub`, `train`, an address, or the absolute path of a file.

    Raises:
        ValueError: there is no such file, the address has no file name, or the checksum is malformed.
    """
    return location if location in (HUB, TRAIN) else check_readable(location, "file")


def check_readable(location: str | None, kind: Literal["file", "images"]) -> str | None:
    """Return a location with an absolute path; files of the package and of the demo are not checked.

    Only the form of an address is checked: settings are loaded before any work starts, often without a network. Images
    are a folder or a tar archive.

    Raises:
        ValueError: there is no such file or folder, it is not readable, or the address is not supported.
    """
    if location is None or location.startswith((DEMO, PACKAGE)):
        return location
    if is_remote(location):
        return _check_address(location, kind)
    path = local_path(location)
    folder = kind == "images" and path.is_dir()
    if not path.is_file() and not folder:
        what = "file" if kind == "file" else "folder or archive"
        raise ValueError(f"there is no {what} '{path}'{_what_there_is(path, location)}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"no permission to read '{path}'")
    if kind == "images" and not folder and not is_tar(path):
        raise ValueError(f"'{path}' is a file, but not a tar archive; set a tar archive, or the folder of photographs")
    return str(path)


def _what_there_is(path: Path, location: str) -> str:
    """Return a hint for a path that does not exist: a similar name in the folder, or the part that exists."""
    if path.is_dir():
        return ", but a folder"
    folder = next(folder for folder in path.parents if folder.is_dir())
    missing = path.relative_to(folder).parts[0]
    try:
        close = get_close_matches(missing, (one.name for one in folder.iterdir()), cutoff=0.7)
    except OSError:
        close = []
    if close:
        return f"; did you mean {' or '.join(str(folder / name) for name in close)}?"
    if not Path(location).is_absolute() and not location.startswith("~"):
        return f"; '{location}' is relative to the working folder; use an absolute path"
    return f"; '{folder}' exists, but has no '{missing}'"


def check_inbox(location: str | None) -> str | None:
    """Return the location of an inbox, an absolute path or `gs://bucket/prefix`, without a trailing slash.

    Raises:
        ValueError: there is no such folder, it is not readable, or the location is neither.
    """
    if location is None:
        return None
    if is_remote(location):
        if not _BUCKET.fullmatch(location):
            raise ValueError(
                f"'{without_secrets(location)}' is neither a folder nor an address like gs://bucket/prefix"
            )
        _require_bucket_packages(location)
        return location.rstrip("/")
    path = local_path(location)
    if not path.is_dir():
        raise ValueError(f"there is no folder '{path}'; create it, so that photographs can be put into it")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ValueError(f"no permission to read '{path}'")
    return str(path)


def _check_address(location: str, kind: Literal["file", "images"]) -> str:
    if is_download(location):
        address, checksum = split_checksum(location)
        shown = without_secrets(address)
        check_host(address)
        if not _NAMED_FILE.search(address.partition("?")[0]):
            raise ValueError(f"'{shown}' does not end with the name of a file")
        if kind == "images" and not _ARCHIVE.search(file_in_address(address)):
            raise ValueError(f"'{shown}' does not end with the name of a tar archive, and folders have no address")
        if checksum is not None and not re.fullmatch(r"[0-9a-f]{64}", checksum):
            raise ValueError(f"'{checksum}' is not a sha256, which has 64 hexadecimal digits")
        return location
    if not location.startswith("gs://"):
        shown = without_secrets(location)
        raise ValueError(f"'{shown}' is an address of a kind that is not supported; use a path, gs:// or https://")
    if not _OBJECT.match(location) or (kind == "file" and not _NAMED_FILE.search(location)):
        lacks = "a bucket" if not _OBJECT.match(location) else "an object"
        raise ValueError(f"'{without_secrets(location)}' does not name {lacks}; the form is gs://bucket/name")
    return location


def check_host(address: str) -> None:
    """Check that an http(s) address has a host, and a port that is a number.

    Raises:
        ValueError: it does not; the message has the address without its secrets.
    """
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an IPv6 address, or a port that is no number
        usable = False
    if not usable:
        raise ValueError(
            f"'{without_secrets(address)}' has no valid host; the form is https://host/file, and in a user name or "
            "password `/`, `?`, `#`, `@` and `[` are written as %2F, %3F, %23, %40 and %5B"
        )


def check_root(location: str) -> str:
    """Return the root of a lake: a writable folder, or `gs://bucket/prefix`, without a trailing slash.

    Whether the bucket exists is only checked when the lake is used: settings are loaded without a network.

    Raises:
        ValueError: the location is neither, or the packages for gs:// are not installed.
    """
    if not is_remote(location):
        return check_writable_folder(location)
    if not _BUCKET.fullmatch(location):
        raise ValueError(f"'{without_secrets(location)}' is neither a folder nor an address like gs://bucket/prefix")
    _require_bucket_packages(location)
    return location.rstrip("/")


def _require_bucket_packages(location: str) -> None:
    missing = missing_packages()
    if missing:
        raise ValueError(
            f"'{location}' needs {' and '.join(missing)}; install the extra: pip install 'plantclef-assets[gcs]'"
        )


def check_writable_folder(location: str) -> str:
    """Return the absolute path of a folder that exists or can be created, and is writable.

    Raises:
        ValueError: it is not writable.
    """
    if is_remote(location):
        raise ValueError(f"'{without_secrets(location)}' is a remote address; a local folder is needed")
    path = local_path(location)
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(f"cannot write to '{existing}'; set a folder that can be created and written")
    return str(path)
