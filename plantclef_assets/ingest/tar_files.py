"""Tar files by their first bytes, and bounded reading of their headers; the standard library alone.

What belongs here: whether a file is a tar archive, and limits against headers that claim gigabytes. What does not: the
members of an archive of photographs (`archives.py`), and checkpoints.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

LONGEST_HEADER = 2**20
"""The most bytes of one header, such as a long name."""
COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""Magic bytes → reader of the compression."""

_READ_OF_ARCHIVE = 2 * LONGEST_HEADER


class BoundedReads(io.RawIOBase):
    """A stream that refuses reads larger than a header: a damaged archive could request all memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1, /) -> bytes:
        """Read bytes; more than a header has are a `tarfile.ReadError`."""
        if not 0 <= size <= LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._stream.read(size)


def is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, plain or compressed; its first bytes alone are read and decompressed.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        magic = stream.read(8)
        stream.seek(0)
        reader = next((one for begin, one in COMPRESSIONS.items() if magic.startswith(begin)), None)
        try:
            start = reader(stream).read(_READ_OF_ARCHIVE) if reader else stream.read(_READ_OF_ARCHIVE)
            tarfile.open(fileobj=io.BytesIO(start), mode="r:").close()
        except (tarfile.TarError, EOFError, ValueError, RecursionError, zlib.error, lzma.LZMAError, gzip.BadGzipFile):
            return False
    return True


def is_compressed(path: Path) -> bool:
    """Whether a file begins like a compressed one."""
    with path.open("rb") as stream:
        return stream.read(8).startswith(tuple(COMPRESSIONS))
