"""An inbox: a place that others put files into, looked at now and then, and what has been delivered there for good.

What belongs here: which files are complete and new. What does not: taking them, and how often is looked. A file is
complete when two looks that are far enough apart found it the same and, if it is a photograph, it decodes to its end.
It is new when nothing like it has been taken. What a look has found goes into the next one as plain data.
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
"""How names end while browsers, copying programs and this platform's downloads still write."""
_BLOCK_BYTES = 2**20
_UNFINISHED = (EMPTY, TRUNCATED)
"""Why a photograph is waited for; any other fault is the quarantine's."""


@dataclass(frozen=True)
class Stamp:
    """What a listing says of a file: its size in bytes, and when it was last changed, in ns since 1970.

    For an object in a bucket that is the number of its generation.
    """

    size: int
    modified: int


@dataclass(frozen=True)
class Sighting:
    """What is known of a file since it has looked as it does.

    Attributes:
        stamp: how it looks.
        since: when it was first seen so, in s since 1970.
        digest: blake2b of its bytes, 32 hexadecimal digits; None before they were read.
        fault: why it is not taken, though it no longer changes; None where nothing is known against it.
    """

    stamp: Stamp
    since: float
    digest: str | None = None
    fault: str | None = None


@dataclass(frozen=True, order=True)
class Delivery:
    """A file that is complete: its name below the inbox, its size in bytes, the blake2b of its bytes."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Look:
    """What one look into an inbox has found.

    Attributes:
        ready: files that are complete and new, by name.
        repeated: files that are complete, but are like one that was taken or is ready, with the name of that.
        faulty: files that no longer change, but are not taken, and why.
        sightings: what the next look has to know.
    """

    ready: tuple[Delivery, ...]
    repeated: Mapping[str, str]
    faulty: Mapping[str, str]
    sightings: Mapping[str, Sighting]


def list_inbox(folder: Path) -> dict[str, Stamp]:
    """Yield all files below a folder by their relative path, without hidden, system and temporary names.

    Raises:
        OSError: the folder cannot be listed.
    """
    stamps: dict[str, Stamp] = {}
    folder.stat()  # os.walk would keep silent
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not is_left_alone(name)]
        for path in (Path(parent, name) for name in names if not _is_temporary(name)):
            try:
                status = path.stat()
            except OSError:  # gone since it was listed, or not to be read by anybody
                continue
            if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
                continue
            stamps[path.relative_to(folder).as_posix()] = Stamp(status.st_size, status.st_mtime_ns)
    return dict(sorted(stamps.items()))


def open_inbox(location: str) -> tuple[dict[str, Stamp], Callable[[str], BinaryIO]]:
    """Look into an inbox that is a folder or a `gs://` prefix.

    Returns:
        the files in it, as `list_inbox` gives them, and what opens one by its name.

    Raises:
        OSError: the folder or the bucket cannot be listed. A prefix below which there is nothing is an empty inbox.
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
    """Say which files of an inbox are complete and new.

    Args:
        stamps: what is there now.
        last: the sightings of the look before; empty at first.
        taken: what was taken before. A file with the name and the size of one is not read at all.
        open_file: opens a file by its name; asked once for each state of a file that has settled.
        now: s since 1970.
        settle_seconds: for how long a file has to look the same.
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
    """Return the files that may hold photographs but cannot be taken, and why."""
    archive = "an archive, which is not opened in an inbox; put the photographs in it there"
    why = {name: archive if name.lower().endswith(SUFFIXES) else why_unread(name) for name in names}
    return {name: reason for name, reason in why.items() if reason}


def dump_sightings(sightings: Mapping[str, Sighting]) -> str:
    """Write sightings as a line of JSON."""
    return json.dumps({name: asdict(sighting) for name, sighting in sightings.items()}, sort_keys=True)


def load_sightings(line: str | None) -> dict[str, Sighting]:
    """Read sightings from a line of JSON; none where there is no line.

    Raises:
        ValueError, TypeError, KeyError: the line is of something else.
    """
    found = json.loads(line) if line else {}
    return {name: Sighting(**(sighting | {"stamp": Stamp(**sighting["stamp"])})) for name, sighting in found.items()}


def _refuse_folder(error: OSError) -> None:
    """Raise what keeps a folder from being listed, unless that it is gone since its own folder was."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_temporary(name: str) -> bool:
    return name.startswith((".", "~")) or name.lower().endswith(_TEMPORARY) or ".incomplete." in name


def _examine(name: str, sighting: Sighting, open_file: Callable[[str], BinaryIO]) -> Sighting:
    """Read a file that no longer changes; one that cannot be read now, or has changed after all, is seen anew later."""
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
    """Give the blake2b and the number of bytes of what may be larger than memory."""
    digest, size = hashlib.blake2b(digest_size=16), 0
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size
