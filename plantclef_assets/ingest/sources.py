"""Sources of photographs: a folder tree, tar archives, or both, on this machine, in a bucket, or at an http(s) address.

A source is listed without reading a photograph. Rows of the listing are then read: a plain file by its path, a member
of an archive by its offset. Listings are batches, so that memory does not grow with the number of photographs.
"""

import errno
import hashlib
import os
import stat
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from plantclef_assets.images.file_names import as_unicode, is_left_alone, is_photograph, is_unicode, why_unread
from plantclef_assets.ingest.archives import SUFFIXES, Archive, index_digest, open_archive, read_index, refusal
from plantclef_assets.ingest.downloads import Limits
from plantclef_assets.ingest.fetching import Log, SourceError, fetch_file, object_version, readable
from plantclef_assets.ingest.locations import is_download
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.redaction import without_secrets

LISTING = pa.schema(
    [
        ("archive", pa.string()),
        ("source", pa.string()),
        ("offset", pa.int64()),
        ("bytes", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""A row for each photograph: its archive (null: a plain file), its path below the source or in the archive, the offset
of its first byte in the archive, its size in bytes; and for refused files the reason."""

Read = Callable[[Sequence[Mapping[str, Any]]], list["bytes | OSError"]]
"""Reads rows of a listing; returns the bytes of each, or the error."""

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class ImageSource:
    """The photographs at a location.

    Attributes:
        location: the location as it was given, for messages.
        filesystem: the filesystem of the location.
        root: the folder or prefix that paths are relative to.
        cache: the folder for indexes and repacked archives.
        archive: the archive in `root` that is the source; None if the source is everything below `root`.
    """

    location: str
    filesystem: Any
    root: str
    cache: Path
    archive: str | None = None

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Yield rows of `LISTING`: plain files by path, then the members of each archive by offset.

        Files that may be photographs but are not readable have a reason.

        Raises:
            SourceError: a file is not an archive despite its name, or is empty.
        """
        archives: list[str] = []

        def plain_files() -> Iterator[tuple[str, int]]:
            for path, size, _ in self._files():
                if self._is_archive(path) and is_unicode(path):
                    archives.append(path)
                else:
                    yield path, size

        plain = plain_files()
        while rows := list(islice(plain, _ROWS_AT_ONCE)):
            refusals = [refusal(path) or (None, None) for path, _ in rows]
            yield _batch(
                len(rows),
                source=pa.array([as_unicode(path) for path, _ in rows], pa.string()),
                bytes=pa.array([size for _, size in rows], pa.int64()),
                reason=pa.array([reason for reason, _ in refusals], pa.string()),
                detail=pa.array([detail for _, detail in refusals], pa.string()),
            )
        for name in archives:
            with read_index(self._open_archive(name), self.cache) as index:
                for batch in index.iter_batches(_ROWS_AT_ONCE):
                    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                    yield _batch(batch.num_rows, archive=pa.array([name] * batch.num_rows, pa.string()), **columns)

    def digest(self) -> str:
        """Return the identity of the source, 32 hexadecimal digits, without reading a photograph.

        It is a hash of paths and sizes of files, versions of objects, and indexes of local archives; not of times.

        Raises:
            SourceError: a file is not an archive despite its name, or is empty.
        """
        digest = hashlib.blake2b(digest_size=16)
        for path, size, version in self._files():
            if not version and self._is_archive(path) and is_unicode(path):
                version = index_digest(self._open_archive(path), self.cache)
            line = (as_unicode(path), str(size), *([version] if version else []))
            digest.update(("\0".join(line) + "\n").encode())
        return digest.hexdigest()

    def endings(self) -> Counter[str]:
        """Count all files, listed or not, by the ending of their names; hidden and system files are skipped."""
        if self.archive is not None:
            names = [self.archive]
        elif _is_local(self.filesystem):
            names = (
                f"{Path(parent, name).relative_to(self.root)}"
                for parent, _, files in os.walk(self.root, followlinks=False)
                for name in files
            )
        else:
            names = (path.removeprefix(f"{self.root}/") for path in self.filesystem.find(self.root))
        return Counter(
            PurePosixPath(name).suffix.lower() or "without ending" for name in names if not is_left_alone(name)
        )

    @contextmanager
    def reading(self) -> Iterator[Read]:
        """Yield a function that reads rows of the listing; archives stay open until the block ends.

        Reading is fastest in the order of the listing. It raises a SourceError if an archive has changed since it was
        listed.
        """
        with ExitStack() as stack:
            opened: dict[str, tuple[Archive, IO[bytes]]] = {}

            def stream_of(name: str) -> tuple[Archive, IO[bytes]]:
                if name not in opened:
                    archive = self._open_archive(name)
                    opened[name] = archive, stack.enter_context(archive.open())
                return opened[name]

            yield partial(self._read, stream_of)

    def _read(
        self, stream_of: Callable[[str], tuple[Archive, IO[bytes]]], rows: Sequence[Mapping[str, Any]]
    ) -> list[bytes | OSError]:
        plain = iter(self._read_files([row for row in rows if row["archive"] is None]))
        return [
            next(plain) if row["archive"] is None else _read_member(*stream_of(row["archive"]), row) for row in rows
        ]

    def _read_files(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes | OSError]:
        paths = [f"{self.root}/{row['source']}" for row in rows]
        if _is_local(self.filesystem):
            return [_read_file(Path(path)) for path in paths]
        # Objects are fetched concurrently, because each request mostly waits for the network.
        ends = [row["bytes"] for row in rows]
        contents = self.filesystem.cat_ranges(paths, [0] * len(rows), ends, on_error="return") if rows else []
        for content in contents:
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError | PermissionError):
                raise content  # a network error is not a fault of a photograph
        return contents

    def _files(self) -> Iterator[tuple[str, int, str]]:
        """Yield relative path, size and version of each listed file; local files have no version."""
        if self.archive is not None:
            info = self.filesystem.info(f"{self.root}/{self.archive}")
            yield self.archive, info["size"], object_version(info)
        elif _is_local(self.filesystem):
            for path, size in list_files(Path(self.root)):
                yield path, size, ""
        else:
            yield from _walk_objects(self.filesystem, self.root, "")

    def _is_archive(self, path: str) -> bool:
        return path == self.archive or path.lower().endswith(SUFFIXES)

    def _open_archive(self, name: str) -> Archive:
        location = self.location if self.archive is not None else f"{self.location.rstrip('/')}/{name}"
        return open_archive(self.filesystem, f"{self.root}/{name}", location, self.cache)


def open_source(location: str, cache: Path, log: Log = lambda line: None, limits: Limits | None = None) -> ImageSource:
    """Open the photographs at a location.

    Args:
        location: a folder tree, a tar archive (plain or compressed), or a folder with several archives; a `gs://`
            prefix or object of the same kinds; or the http(s) address of an archive, which is downloaded once.
        cache: the folder for downloads, indexes and repacked archives.
        log: called with the progress of a download.
        limits: the limits of a download.

    Raises:
        DownloadError: the download failed.
        SourceError: there is no such folder, archive or prefix, or it is not readable.
    """
    place = str(fetch_file(location, cache, log, limits)) if is_download(location) else location
    with readable(place):
        filesystem, path = open_filesystem(place)
        return source_in(filesystem, path, without_secrets(location), cache)


def source_in(filesystem: Any, path: str, location: str, cache: Path) -> ImageSource:
    """Open the photographs at a path of a filesystem; see `open_source`.

    Raises:
        SourceError: there is no such folder, archive or prefix.
    """
    path = path.rstrip("/")
    try:
        kind = filesystem.info(path)["type"]
    except FileNotFoundError:
        kinds = "folder" if _is_local(filesystem) else "object, and there are none below such a prefix"
        raise SourceError(f"there is no {kinds}: '{location}'") from None
    if kind == "directory":
        return ImageSource(location, filesystem, path, cache)
    root, _, name = path.rpartition("/")
    return ImageSource(location, filesystem, root, cache, name)


def list_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield relative path and size in bytes of each archive and of each file that may be a photograph.

    Hidden and system files are skipped. Bytes of a path that are not UTF-8 are surrogate escapes.

    Raises:
        SourceError: a folder cannot be listed.
    """
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a circular link
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_left_alone(name))
        below = "" if parent == str(folder) else Path(parent).relative_to(folder).as_posix() + "/"
        for name in sorted(names):
            if _is_listed(name):
                yield below + name, _size(f"{parent}/{name}")


def _walk_objects(filesystem: Any, root: str, below: str) -> Iterator[tuple[str, int, str]]:
    """Yield relative path, size and version of each listed file, prefix by prefix."""
    prefix = f"{root}/{below}".rstrip("/")
    found = sorted(filesystem.ls(prefix, detail=True), key=lambda one: one["name"])
    filesystem.invalidate_cache(prefix)  # else the listing of the whole bucket stays in memory
    deeper = []
    for info in found:
        name = info["name"].rstrip("/").rpartition("/")[2]
        if info["type"] == "directory":
            deeper += [] if is_left_alone(name) or info["name"].rstrip("/") == prefix else [name]
        elif _is_listed(name):
            yield f"{below}{name}", info["size"], object_version(info)
    for name in deeper:
        yield from _walk_objects(filesystem, root, f"{below}{name}/")


def _is_listed(name: str) -> bool:
    if is_left_alone(name):
        return False
    return is_photograph(name) or name.lower().endswith(SUFFIXES) or why_unread(name) is not None


def _refuse_folder(error: OSError) -> None:
    """Raise an error for a folder that cannot be listed; `os.walk` would skip it silently."""
    raise SourceError(f"the folder '{error.filename}' cannot be listed: {error.strerror}") from error


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 — a path object for each of a million files takes longer
    except OSError:  # a broken or circular link; reading it raises the error
        return 0


def _read_file(path: Path) -> bytes | OSError:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would block
            return OSError(errno.EINVAL, "it is no regular file", str(path))
        return path.read_bytes()
    except OSError as error:
        return error


def _read_member(archive: Archive, stream: IO[bytes], row: Mapping[str, Any]) -> bytes:
    """Read a member after checking its header, because the bytes of another photograph would get the wrong label."""
    stream.seek(row["offset"] - tarfile.BLOCKSIZE)
    header = stream.read(tarfile.BLOCKSIZE)
    data = stream.read(row["bytes"])
    if len(data) < row["bytes"] or not _is_header_of(header, row):
        raise SourceError(f"{archive.location} has changed since it was listed; materialize its manifest again")
    return data


def _is_header_of(header: bytes, row: Mapping[str, Any]) -> bool:
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    name, source = member.name, row["source"]
    whole = len(source) < tarfile.LENGTH_NAME - 2 and source.isascii()  # other names are in a preceding header
    return member.size == row["bytes"] and (not whole or name.endswith(source))


def _is_local(filesystem: Any) -> bool:
    return "file" in filesystem.protocol


def _batch(rows: int, **columns: pa.Array) -> pa.RecordBatch:
    arrays = [columns.get(column.name, pa.nulls(rows, column.type)) for column in LISTING]
    return pa.RecordBatch.from_arrays(arrays, schema=LISTING)
