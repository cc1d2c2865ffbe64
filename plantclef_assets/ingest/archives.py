"""Tar archives: where in them each photograph lies, found in one pass; nothing is ever unpacked.

The index of an archive is a parquet file in the cache, so that a second look costs nothing. Names are judged while it
is made: a member that leads elsewhere, is a link or a device, or ends beyond the archive is refused by name. A
compressed archive has no offsets and is repacked as a plain one into the cache, once.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from plantclef_assets.images.file_names import as_unicode, is_left_alone, is_photograph, is_unicode, why_unread
from plantclef_assets.ingest.fetching import SourceError, object_version
from plantclef_assets.lake.atomic import atomic_write
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.parquet_files import CheckedFile, create_parquet

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Endings of archives in a folder; a file that is named alone may have any name."""
READ_AHEAD_BYTES = 8 * 2**20
"""Bytes that are fetched from a bucket at once: some forty photographs."""
INDEX = pa.schema(
    [
        ("source", pa.string()),
        ("offset", pa.int64()),
        ("bytes", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""A row for each photograph of an archive, and for what is refused in it, with a reason."""

_INDEX_VERSION = "2"
_DIGEST_KEY = "plantclef.digest"
_ROWS_AT_ONCE = 10_000
_LONGEST_HEADER = 2**20
_LONGEST_END = 2**20
_SPARE_BYTES = 2**30
"""Room that repacking leaves on the disk of the cache."""
_COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""First bytes → what reads the compression that begins with them."""


@dataclass(frozen=True)
class Archive:
    """A plain tar archive.

    Attributes:
        location: where it was found, for sentences.
        filesystem: what reads it.
        path: its path in that file system.
        size: bytes.
        version: what tells it from an older file of the same path and size.
    """

    location: str
    filesystem: Any
    path: str
    size: int
    version: str

    def open(self) -> IO[bytes]:
        """Open it for reading, in large steps where it lies in a bucket."""
        return _open(self.filesystem, self.path)


@dataclass(frozen=True)
class Member:
    """A photograph in an archive, with the offset of its first byte; or what is refused, with a reason."""

    source: str
    offset: int | None
    bytes: int
    reason: str | None = None
    detail: str | None = None


def open_archive(filesystem: Any, path: str, location: str, cache: Path) -> Archive:
    """Find a tar archive; a compressed one is first repacked into the cache.

    Raises:
        SourceError: there is no such file, it is empty or damaged, or the cache has no room for it.
    """
    archive = _archive_at(filesystem, path, location)
    if not archive.size:
        raise SourceError(f"{location} is empty; fetch it again")
    with archive.open() as stream:
        begin = stream.read(8)
    for magic, decompress in _COMPRESSIONS.items():
        if begin.startswith(magic):
            target = cache / "repacked" / f"{_mark(archive)}.tar"
            if not target.exists():
                _repack(archive, decompress, target)
            return _archive_at(*open_filesystem(str(target)), location)
    return archive


def read_index(archive: Archive, cache: Path) -> CheckedFile:
    """Give the index of an archive, rows of `INDEX` in the order of offsets; it is made where the cache has none.

    Raises:
        SourceError: the file is no tar archive, or the index in the cache is damaged.
    """
    path = cache / "archive_index" / f"{_mark(archive)}.parquet"
    if not path.exists():
        with archive.open() as stream, atomic_write(path) as temporary:
            _write_index(list_members(stream, archive.size, archive.location), temporary)
    return CheckedFile(
        path,
        lambda reason: SourceError(
            f"the index of {archive.location} is damaged ({reason.rstrip('.')}); delete {path}, and it is made again"
        ),
    )


def index_digest(archive: Archive, cache: Path) -> str:
    """Give a digest of names, places and sizes of what is in an archive: its identity, without reading a photograph.

    Raises:
        SourceError: the file is no tar archive.
    """
    with read_index(archive, cache) as index:
        return index.metadata.metadata[_DIGEST_KEY.encode()].decode()


def list_members(stream: IO[bytes], size: int, location: str) -> Iterator[Member]:
    """Give the photographs of a tar archive in their order, and what is refused, reading headers only.

    Folders, hidden and system files, and files that cannot hold photographs are left out. An archive that breaks off or
    is damaged ends with a member without name that says so.

    Args:
        stream: the archive, from its first byte.
        size: its bytes.
        location: where it lies, for sentences.

    Raises:
        SourceError: the file is no tar archive.
    """
    try:
        archive = tarfile.open(fileobj=_BoundedReads(stream), mode="r:", errors="surrogateescape")  # noqa: SIM115
    except (tarfile.TarError, OSError, ValueError) as error:
        raise SourceError(
            f"{location} is no tar archive ({error}); give a tar, or the folder of photographs"
        ) from error
    last = -1
    while True:
        try:
            member = archive.next()
        except (tarfile.TarError, ValueError, EOFError) as error:
            yield _broken(archive.offset, size, str(error))
            return
        if member is None:
            break
        if archive.offset <= last:  # a negative size leads back
            yield _broken(archive.offset, size, "a header leads back to where it has been read from")
            return
        last = archive.offset
        # Else all headers stay in memory.
        archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
        found = _judged(member, size)
        if found is not None:
            yield found
    yield from _end_of(stream, archive.offset, size)


def refusal(path: str) -> tuple[str, str] | None:
    """Return why a file at a path of a source is not read although it may be a photograph: a reason, and what to do."""
    if not is_unicode(path):
        return "unreadable_name", "its name is not UTF-8; rename it"
    why = why_unread(path)
    return ("unsupported", why) if why else None


def _judged(member: tarfile.TarInfo, size: int) -> Member | None:
    name = re.sub(r"^(\./+)+", "", as_unicode(member.name))
    unsafe = _unsafe(member, name)
    if unsafe:
        return Member(name, None, member.size, *unsafe)
    if member.isdir() or is_left_alone(name) or not (is_photograph(name) or why_unread(name)):
        return None
    refused = refusal(member.name)
    if refused:
        return Member(name, None, member.size, *refused)
    if member.offset_data + member.size > size:
        return Member(name, None, member.size, "truncated", f"its bytes end with the archive, at byte {size:,}")
    return Member(name, member.offset_data, member.size)


def _unsafe(member: tarfile.TarInfo, name: str) -> tuple[str, str] | None:
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", name):
        return "unsafe_name", "an absolute name; names in an archive have to lie below it"
    if ".." in re.split(r"[/\\]", name):
        return "unsafe_name", "its name leads out of the archive"
    if member.issym() or member.islnk():
        return "link", f"a link to '{member.linkname[:200]}'; links in an archive are not followed"
    if member.issparse() or not (member.isfile() or member.isdir()):
        return "not_a_file", "a device, a pipe or a sparse file, and no photograph"
    return None


def _end_of(stream: IO[bytes], offset: int, size: int) -> Iterator[Member]:
    """Say whether an archive ends as it should, with blocks of zeros."""
    stream.seek(offset)
    block = stream.read(tarfile.BLOCKSIZE)
    if not block:
        yield _broken(offset, size, "its closing blocks are missing")
    elif block.strip(b"\0"):
        yield _broken(offset, size, "what stands there is no header")
    elif size - offset > _LONGEST_END:
        yield _broken(offset, size, "it ends there, as archives do that were joined one behind the other")


def _broken(offset: int, size: int, why: str) -> Member:
    detail = f"the archive cannot be read beyond byte {offset:,} of {size:,}: {why}; fetch or pack it again"
    return Member("", None, 0, "broken_archive", detail)


def _write_index(members: Iterator[Member], path: Path) -> None:
    digest = hashlib.blake2b(digest_size=16)
    with create_parquet(path, INDEX) as writer:
        while rows := list(islice(members, _ROWS_AT_ONCE)):
            for row in rows:
                digest.update(f"{row.source}\0{row.offset}\0{row.bytes}\0{row.reason or ''}\n".encode())
            columns = {name: [getattr(row, name) for row in rows] for name in INDEX.names}
            writer.write_table(pa.table(columns, INDEX))
        writer.add_key_value_metadata({_DIGEST_KEY: digest.hexdigest()})


def _archive_at(filesystem: Any, path: str, location: str) -> Archive:
    try:
        info = filesystem.info(path)
    except FileNotFoundError:
        raise SourceError(f"there is no archive '{location}'") from None
    return Archive(location, filesystem, path, info["size"], object_version(info) or str(info.get("mtime", "")))


def _mark(archive: Archive) -> str:
    identity = f"{_INDEX_VERSION}\0{archive.location}\0{archive.path}\0{archive.size}\0{archive.version}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _open(filesystem: Any, path: str) -> IO[bytes]:
    if "file" in filesystem.protocol:
        return Path(path).open("rb")
    return filesystem.open(path, "rb", block_size=READ_AHEAD_BYTES, cache_type="readahead")


def _repack(archive: Archive, decompress: Callable[[Any], Any], target: Path) -> None:
    """Write the plain bytes of a compressed archive, as long as the disk has room for them."""
    try:
        with (
            archive.open() as stream,
            decompress(stream) as plain,
            atomic_write(target) as temporary,
            temporary.open("wb") as unpacked,
        ):
            while chunk := plain.read(2**22):
                if shutil.disk_usage(target.parent).free < _SPARE_BYTES + len(chunk):
                    raise SourceError(
                        f"{archive.location} is compressed, and {target.parent} has no room for its plain bytes; "
                        "let PLANTCLEF_CACHE name a folder on a larger disk"
                    )
                unpacked.write(chunk)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise SourceError(f"{archive.location} cannot be decompressed to its end ({error}); fetch it again") from error


class _BoundedReads(io.RawIOBase):
    """A stream that gives no more at once than a header may have: a damaged one can ask for all memory there is."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._stream.read(size)
