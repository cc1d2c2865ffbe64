"""Tar archives: the offsets of their photographs, found in one pass over the headers; archives are never unpacked.

The index of an archive is a parquet file in the cache and is made once. It includes refused members with a reason:
unsafe names, links, devices, and members that end beyond the archive. A compressed archive has no offsets; it is
repacked as a plain archive into the cache, once.
"""

import gzip
import hashlib
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
from plantclef_assets.ingest.tar_files import COMPRESSIONS, BoundedReads
from plantclef_assets.lake.atomic import atomic_write
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.parquet_files import CheckedFile, create_parquet

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Endings of archives in a folder; a source that is a single file may have any name."""
READ_AHEAD_BYTES = 8 * 2**20
"""Bytes that are fetched from a bucket at once: about forty photographs."""
INDEX = pa.schema(
    [
        ("source", pa.string()),
        ("offset", pa.int64()),
        ("bytes", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""A row for each photograph of an archive, and for each refused member, with a reason."""

_INDEX_VERSION = "2"
_DIGEST_KEY = "plantclef.digest"
_ROWS_AT_ONCE = 10_000
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
"""Types of pax headers, which come before the header of a member."""
_LONGEST_END = 2**20
_SPARE_BYTES = 2**30
"""Disk space that repacking leaves free."""


@dataclass(frozen=True)
class Archive:
    """A plain tar archive.

    Attributes:
        location: its location, for messages.
        filesystem: the filesystem of the archive.
        path: its path on the filesystem.
        size: bytes.
        version: distinguishes it from an older file with the same path and size.
    """

    location: str
    filesystem: Any
    path: str
    size: int
    version: str

    def open(self) -> IO[bytes]:
        """Open the archive for reading, with a large read-ahead if it is in a bucket."""
        return _open(self.filesystem, self.path)


@dataclass(frozen=True)
class Member:
    """A photograph in an archive, with the offset of its first byte; or a refused member, with a reason."""

    source: str
    offset: int | None
    bytes: int
    reason: str | None = None
    detail: str | None = None


def open_archive(filesystem: Any, path: str, location: str, cache: Path) -> Archive:
    """Return a tar archive; a compressed one is repacked into the cache first.

    Raises:
        SourceError: there is no such file, it is empty or damaged, or the cache has no space for it.
    """
    archive = _archive_at(filesystem, path, location)
    if not archive.size:
        raise SourceError(f"{location} is empty; download it again")
    with archive.open() as stream:
        begin = stream.read(8)
    for magic, decompress in COMPRESSIONS.items():
        if begin.startswith(magic):
            target = cache / "repacked" / f"{_mark(archive)}.tar"
            if not target.exists():
                _repack(archive, decompress, target)
            return _archive_at(*open_filesystem(str(target)), location)
    return archive


def read_index(archive: Archive, cache: Path) -> CheckedFile:
    """Return the index of an archive, rows of `INDEX` in the order of offsets; it is made if the cache has none.

    Raises:
        SourceError: the file is not a tar archive, or the index in the cache is damaged.
    """
    path = cache / "archive_index" / f"{_mark(archive)}.parquet"
    if not path.exists():
        with archive.open() as stream, atomic_write(path) as temporary:
            _write_index(list_members(stream, archive.size, archive.location), temporary)
    return CheckedFile(
        path,
        lambda reason: SourceError(
            f"the index of {archive.location} is damaged ({reason.rstrip('.')}); delete {path}; it is made again"
        ),
    )


def index_digest(archive: Archive, cache: Path) -> str:
    """Return a digest of names, offsets and sizes of the members: the identity of an archive.

    Raises:
        SourceError: the file is not a tar archive.
    """
    with read_index(archive, cache) as index:
        return index.metadata.metadata[_DIGEST_KEY.encode()].decode()


def list_members(stream: IO[bytes], size: int, location: str) -> Iterator[Member]:
    """Yield the photographs and the refused members of a tar archive in their order, reading headers only.

    Folders, hidden and system files, and files that cannot be photographs are skipped. The last member of a truncated
    or damaged archive has no name, and a reason.

    Args:
        stream: the archive, from its first byte.
        size: its bytes.
        location: its location, for messages.

    Raises:
        SourceError: the file is not a tar archive.
    """
    archive, begin, last = None, 0, -1
    while True:
        try:
            archive = archive or _open_at(stream, begin)
            member = _next_member(archive, stream, size)
        except (tarfile.TarError, ValueError, EOFError, RecursionError) as error:
            skipped = _skipped(stream, begin, size, str(error))
            if skipped is None and archive is None and not begin:
                raise SourceError(
                    f"{location} is not a tar archive ({error}); use a tar archive, or the folder of photographs"
                ) from error
            if skipped is None:
                yield _broken(begin, size, str(error))
                return
            refused, begin = skipped
            yield refused
            archive = None
            continue
        if member is None:
            break
        if archive.offset <= last:  # a negative size leads back
            yield _broken(archive.offset, size, "a header leads back to where it has been read from")
            return
        begin = last = archive.offset
        # Else all headers would stay in memory.
        archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
        found = _judged(member, size)
        if found is not None:
            yield found
    yield from _end_of(stream, archive.offset, size)


def _open_at(stream: IO[bytes], begin: int) -> tarfile.TarFile:
    stream.seek(begin)
    return tarfile.open(fileobj=BoundedReads(stream), mode="r:", errors="surrogateescape")


def _next_member(archive: tarfile.TarFile, stream: IO[bytes], size: int) -> tarfile.TarInfo | None:
    """Return the next member; None at the end, or at a header that is not valid.

    Raises:
        tarfile.TarError, ValueError, EOFError, RecursionError: the member has a malformed pax header, or the archive
            cannot be read any further.
    """
    member = archive.next()
    if member is None and (header := _plain_header(stream, archive.offset)) and header.type in _EXTENDED:
        raise tarfile.ReadError("it is not valid")
    given = member.pax_headers.get("size", "0") if member else "0"
    if not given.isdecimal() or (given != "0" and archive.offset > size):
        raise tarfile.ReadError(f"a size of {given[:20]}")
    return member


def _skipped(stream: IO[bytes], begin: int, size: int, why: str) -> tuple[Member, int] | None:
    """Return the member whose pax header, at `begin`, is malformed, and the position of the next member.

    None if there is no pax header, or no next member or end of the archive where the plain header of the member says.
    """
    position, extended = begin, False
    while (header := _plain_header(stream, position)) is not None and header.size >= 0:
        has_data = header.isreg() or header.type not in tarfile.SUPPORTED_TYPES or header.type in _EXTENDED
        blocks = -(-header.size // tarfile.BLOCKSIZE) if has_data else 0
        position += (1 + blocks) * tarfile.BLOCKSIZE
        if header.type in _EXTENDED:
            extended = True
            continue
        stream.seek(position)
        ends = position + tarfile.BLOCKSIZE <= size and not stream.read(tarfile.BLOCKSIZE).strip(b"\0")
        if not extended or not (ends or _plain_header(stream, position)):
            return None
        detail = f"its pax header is malformed ({why}); pack the archive again"
        return Member(as_unicode(header.name), None, header.size, "broken_header", detail), position
    return None


def _plain_header(stream: IO[bytes], position: int) -> tarfile.TarInfo | None:
    stream.seek(position)
    try:
        return tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except tarfile.TarError:
        return None


def refusal(path: str) -> tuple[str, str] | None:
    """Return the reason and detail for a file that may be a photograph but is not readable; None if it is."""
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
    """Yield a refused member unless the archive ends correctly, with blocks of zeros."""
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
    """Write the decompressed bytes of an archive, as long as the disk has space for them."""
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
                        f"{archive.location} is compressed, and {target.parent} has no space to decompress it; "
                        "set PLANTCLEF_CACHE to a folder on a larger disk"
                    )
                unpacked.write(chunk)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise SourceError(
            f"{archive.location} cannot be decompressed to its end ({error}); download it again"
        ) from error
