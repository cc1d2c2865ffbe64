"""Inboxes: folders or prefixes that are polled for new photographs.

What belongs here: which files are complete and new. What does not: deliveries (`deliveries.py`), and when to poll. A
file is complete if it has not changed between two polls that are far enough apart and, for a photograph, if it decodes
completely. It is new if no equal file was delivered before. The state between polls is plain data.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from plantclef_assets.images.decoding import EMPTY, TRUNCATED, UndecodableImage, decode_image
from plantclef_assets.images.file_names import is_left_alone, is_photograph, why_unread
from plantclef_assets.ingest.archives import SUFFIXES
from plantclef_assets.ingest.fetching import object_version
from plantclef_assets.lake.filesystems import is_in_bucket, open_filesystem

_TEMPORARY = (".part", ".partial", ".filepart", ".tmp", ".temp", ".incomplete", ".crdownload", ".download", "~")
"""Endings of files that browsers, copying programs and this platform's downloads have not finished."""
_BLOCK_BYTES = 2**20
_UNFINISHED = (EMPTY, TRUNCATED)
"""Faults of incomplete photographs; those with other faults are delivered, and quarantined later."""


@dataclass(frozen=True)
class Stamp:
    """The entry of a file in a listing: its size in bytes, and the time of its last change, in ns since 1970.

    For an object in a bucket, `modified` is the number of its generation.
    """

    size: int
    modified: int


@dataclass(frozen=True)
class Sighting:
    """The state of a file that has not changed since an earlier poll.

    Attributes:
        stamp: its entry in the listing.
        since: time of the first poll with this entry, in s since 1970.
        digest: blake2b of its bytes, 32 hexadecimal digits; None before they were read.
        fault: why it is not delivered although it no longer changes; None if no fault is known.
    """

    stamp: Stamp
    since: float
    digest: str | None = None
    fault: str | None = None


@dataclass(frozen=True, order=True)
class Delivery:
    """A complete file: its name below the inbox, its size in bytes, the blake2b of its bytes."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Look:
    """The result of one poll of an inbox.

    Attributes:
        ready: complete and new files, by name.
        repeated: complete files that equal a delivered or ready one, with the name of that one.
        faulty: files that no longer change but are not delivered, with the reason.
        sightings: the state for the next poll.
    """

    ready: tuple[Delivery, ...]
    repeated: Mapping[str, str]
    faulty: Mapping[str, str]
    sightings: Mapping[str, Sighting]


def list_inbox(folder: Path) -> dict[str, Stamp]:
    """Return the files below a folder by relative path, except hidden, system and temporary files.

    Raises:
        OSError: the folder cannot be listed.
    """
    stamps: dict[str, Stamp] = {}
    folder.stat()  # os.walk ignores a missing folder
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not is_left_alone(name)]
        for path in (Path(parent, name) for name in names if not _is_temporary(name)):
            try:
                status = path.stat()
            except OSError:  # deleted since it was listed, or unreadable
                continue
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
                continue
            stamps[path.relative_to(folder).as_posix()] = Stamp(status.st_size, status.st_mtime_ns)
    return dict(sorted(stamps.items()))


def open_inbox(location: str) -> tuple[dict[str, Stamp], Callable[[str], BinaryIO]]:
    """List an inbox that is a folder or a `gs://` prefix.

    Returns:
        the files in it, as in `list_inbox`, and a function that opens one by name.

    Raises:
        OSError: the folder or the bucket cannot be listed. A prefix without objects is an empty inbox.
    """
    filesystem, root = open_filesystem(location)
    if not is_in_bucket(location):
        return list_inbox(Path(root)), lambda name: Path(root, name).open("rb")
    found = {path.removeprefix(root + "/"): entry for path, entry in filesystem.find(root, detail=True).items()}
    stamps = {
        name: Stamp(entry["size"], int(object_version(entry)))
        for name, entry in sorted(found.items())
        if not is_left_alone(name) and not _is_temporary(PurePosixPath(name).name)
    }
    return stamps, lambda name: filesystem.open(f"{root}/{name}", "rb")


def judge_inbox(
    stamps: Mapping[str, Stamp],
    last: Mapping[str, Sighting],
    taken: Collection[Delivery],
    open_file: Callable[[str], BinaryIO],
    *,
    now: float,
    settle_seconds: float,
) -> Look:
    """Determine which files of an inbox are complete and new.

    Args:
        stamps: the current files.
        last: the sightings of the last poll; empty at first.
        taken: the delivered files. A file with the name and the size of a delivered one is not read.
        open_file: opens a file by name; called once for each state of a file that has settled.
        now: time in s since 1970.
        settle_seconds: for how long a file must not have changed.
    """
    sizes = {(one.name, one.size): one.name for one in taken}
    digests = {one.digest: one.name for one in sorted(taken, reverse=True)}
    ready: list[Delivery] = []
    repeated: dict[str, str] = {}
    sightings: dict[str, Sighting] = {}
    for name, stamp in sorted(stamps.items()):
        before = last.get(name)
        sighting = before if before and before.stamp == stamp and before.since <= now else Sighting(stamp, now)
        if (name, stamp.size) in sizes:
            repeated[name] = name
        elif sighting is before and now - sighting.since >= settle_seconds:
            sighting = sighting if sighting.digest or sighting.fault else _examine(name, sighting, open_file)
            if sighting.digest in digests:
                repeated[name] = digests[sighting.digest]
            elif sighting.digest:
                ready.append(Delivery(name, stamp.size, sighting.digest))
                digests[sighting.digest] = name
        sightings[name] = sighting
    faulty = {name: sighting.fault for name, sighting in sightings.items() if sighting.fault}
    return Look(tuple(ready), repeated, faulty, sightings)


def find_unread(names: Iterable[str]) -> dict[str, str]:
    """Return the files that may be or contain photographs but cannot be delivered, with the reason."""
    archive = "an archive, which is not opened in an inbox; put the photographs in it there"
    why = {name: archive if name.lower().endswith(SUFFIXES) else why_unread(name) for name in names}
    return {name: reason for name, reason in why.items() if reason}


def dump_sightings(sightings: Mapping[str, Sighting]) -> str:
    """Write sightings as a line of JSON."""
    return json.dumps({name: asdict(sighting) for name, sighting in sightings.items()}, sort_keys=True)


def load_sightings(line: str | None) -> dict[str, Sighting]:
    """Read sightings from a line of JSON; an empty result without a line.

    Raises:
        ValueError, TypeError, KeyError: the line has another content.
    """
    found = json.loads(line) if line else {}
    return {name: Sighting(**(sighting | {"stamp": Stamp(**sighting["stamp"])})) for name, sighting in found.items()}


def _refuse_folder(error: OSError) -> None:
    """Raise the error of a folder that cannot be listed, unless it was deleted in the meantime."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_temporary(name: str) -> bool:
    return name.startswith((".", "~")) or name.lower().endswith(_TEMPORARY) or ".incomplete." in name


def _examine(name: str, sighting: Sighting, open_file: Callable[[str], BinaryIO]) -> Sighting:
    """Read a file that no longer changes; if it cannot be read or has changed, its sighting stays as it is."""
    try:
        with open_file(name) as stream:
            digest, size = _digest(stream)
            stream.seek(0)
            content = stream.read() if is_photograph(name) else None
    except OSError:
        return sighting
    if size != sighting.stamp.size:
        return sighting
    try:
        if content is not None:
            decode_image(content)
    except UndecodableImage as error:
        if error.reason in _UNFINISHED:
            return replace(sighting, fault=str(error))
    return replace(sighting, digest=digest)


def _digest(stream: BinaryIO) -> tuple[str, int]:
    """Return the blake2b and the number of bytes of a stream, which may be larger than memory."""
    digest, size = hashlib.blake2b(digest_size=16), 0
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size
