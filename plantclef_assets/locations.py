"""Locations: what a setting may say of where a source lies, and where that is on this machine.

What belongs here: the schemes of addresses and what is wrong with one. What does not: reading what lies there.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Literal

DEMO = "demo:"
"""Sources that begin with this lie in the generated demo survey, `<lake>/demo_survey/…`."""
PACKAGE = "package:"
"""Files that begin with this ship inside the package."""
HUB = "hub"
TRAIN = "train"
"""In place of weights: they are trained here."""
"""Weights that timm fetches for the model's name."""

PACKAGE_FOLDER = Path(__file__).resolve().parent
_SPARK_MASTER = r"local(\[(\*|\d+)(,\d+)?\])?|local-cluster\[\d+,\d+,\d+\]|spark://[^/]+:\d+(,.+)?|yarn|k8s://.+"
_SPARK_CONNECT = r"sc://[^/]+(/.*)?"
_REMOTE = re.compile(r"^[a-z][a-z0-9+.-]*://")


def is_remote(location: str) -> bool:
    """Whether a location is an address such as `gs://…`."""
    return _REMOTE.match(location) is not None


def is_download(location: str) -> bool:
    """Whether a location is an address that a file is downloaded from."""
    return location.startswith(("https://", "http://"))


def split_checksum(address: str) -> tuple[str, str | None]:
    """Split `https://…/file#sha256=…` into the address proper and the checksum, where there is one."""
    address, _, checksum = address.partition("#sha256=")
    return address, checksum.lower() or None


def is_demo(location: str | None) -> bool:
    """Whether a source lies in the generated demo survey."""
    return location is not None and location.startswith(DEMO)


def resolve_location(location: str, lake: str) -> Path:
    """Give the local path of a source."""
    if location.startswith(DEMO):
        return Path(lake) / "demo_survey" / location.removeprefix(DEMO)
    if location.startswith(PACKAGE):
        return PACKAGE_FOLDER / location.removeprefix(PACKAGE)
    if is_download(location):
        address, _ = split_checksum(location)
        mark = hashlib.sha256(address.encode()).hexdigest()[:12]
        return Path(lake) / "downloads" / mark / address.rpartition("/")[2]
    return Path(location).expanduser().absolute()


def check_weights(location: str | None) -> str | None:
    """Give where weights lie: `hub`, `train`, an address to download from, or a file with its path made absolute.

    Raises:
        ValueError: there is no such file, its address has no file name, or its checksum is none.
    """
    if location is None or location in (HUB, TRAIN):
        return location
    if not is_download(location):
        return check_readable(location, "file")
    address, checksum = split_checksum(location)
    if not re.search(r"://[^/]+/(.*/)?[^/?#]+$", address):
        raise ValueError(f"'{address}' does not end with the name of a file")
    if checksum is not None and not re.fullmatch(r"[0-9a-f]{64}", checksum):
        raise ValueError(f"'{checksum}' is no sha256, which has 64 hexadecimal digits")
    return location


def check_readable(location: str | None, kind: Literal["file", "folder"]) -> str | None:
    """Give a location with its path made absolute; what the package or the demo brings is there in time.

    Raises:
        ValueError: there is no such file or folder, it may not be read, or its kind is not supported.
    """
    if location is None or location.startswith((DEMO, PACKAGE)):
        return location
    if is_remote(location):
        raise ValueError(f"'{location}' is a remote address, and only local {kind}s can be read yet")
    path = Path(location).expanduser().absolute()
    if kind == "folder" and path.is_file():
        raise ValueError(f"'{path}' is a file, and an archive cannot be read yet; unpack it and give the folder")
    if not (path.is_file() if kind == "file" else path.is_dir()):
        raise ValueError(f"there is no {kind} '{path}'")
    if not os.access(path, os.R_OK):
        raise ValueError(f"no permission to read '{path}'")
    return str(path)


def check_spark_address(address: str | None, *, connect: bool) -> str | None:
    """Give the address of a Spark master, or of a Spark Connect server.

    Raises:
        ValueError: it has not the form of one.
    """
    if address is None or re.fullmatch(_SPARK_CONNECT if connect else _SPARK_MASTER, address):
        return address
    forms = "sc://host:port" if connect else "local[*], spark://host:port, yarn or k8s://…"
    raise ValueError(f"'{address}' is no address of {'a Spark Connect server' if connect else 'a master'}; say {forms}")


def check_writable_folder(location: str) -> str:
    """Give the absolute path of a folder that can be made and written.

    Raises:
        ValueError: it cannot.
    """
    if is_remote(location):
        raise ValueError(f"'{location}' is a remote address, and the lake can only be a local folder yet")
    path = Path(location).expanduser().absolute()
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(f"cannot write to '{existing}'; give a folder that can be made and written")
    return str(path)
