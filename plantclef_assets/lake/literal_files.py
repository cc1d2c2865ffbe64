"""Read-only filesystems for DuckDB, each of a fixed set of files: no glob patterns, no escapes, no other names.

DuckDB has no escape that works for all names, so local files are read through `LocalFiles`, not its own filesystem.
Objects are read through `BucketFiles`: gcsfs sends two requests for each query about a file, and its read-ahead
outlives the connection. Here an object is looked up once, and a connection sees one generation of it.
"""

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fsspec import AbstractFileSystem

from plantclef_assets.lake.buckets import find_object, open_object
from plantclef_assets.lake.filesystems import BUCKETS

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

LITERAL = "literal://"
"""The scheme of local paths, which DuckDB would else interpret as patterns."""


class _LiteralFiles(AbstractFileSystem):
    """A read-only filesystem of some files, given with their scheme."""

    cachable = False

    def __init__(self, files: Iterable[str]) -> None:
        super().__init__()
        self._files = frozenset(self._strip_protocol(file) for file in files)

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> list[str]:
        """Return the name: there are no patterns."""
        return [path]

    def _open(self, path: str, mode: str = "rb", **options: Any) -> "_SharedFile":
        """Open a file for several threads.

        Raises:
            PermissionError: it is not one of the files, or would be written.
        """
        if mode != "rb":
            raise PermissionError(f"{path} cannot be written: a query only reads the lake")
        return _SharedFile(self._stream_of(self._require(path)))

    def _require(self, path: str) -> str:
        """Return the path of one of the files, without its scheme.

        Raises:
            PermissionError: it is not one of the files.
        """
        stripped = str(self._strip_protocol(path))
        if stripped not in self._files:
            raise PermissionError(f"{path} is not a table of the lake")
        return stripped

    def _stream_of(self, path: str) -> Callable[[], BinaryIO]:
        """Return a function that opens the file once more."""
        raise NotImplementedError


class LocalFiles(_LiteralFiles):
    """A read-only filesystem of local files with the scheme `LITERAL`."""

    protocol = ("literal",)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Return name, size and kind of a file.

        Raises:
            FileNotFoundError: there is no such file.
            PermissionError: it is not one of the files.
        """
        return {"name": path, "size": Path(self._require(path)).stat().st_size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """Return the time of a file's last change."""
        return datetime.fromtimestamp(Path(self._require(path)).stat().st_mtime, UTC)

    def _stream_of(self, path: str) -> Callable[[], BinaryIO]:
        return partial(open, path, "rb")


class BucketFiles(_LiteralFiles):
    """A read-only filesystem of gs:// addresses."""

    protocol = ("gs",)

    def __init__(self, client: "Client", files: Iterable[str]) -> None:
        super().__init__(files)
        self._client = client
        self._found: dict[str, Blob] = {}

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Return name, size and kind of an object.

        Raises:
            FileNotFoundError: there is no such object.
            PermissionError: it is not one of the files.
        """
        return {"name": path, "size": self._find(path).size, "type": "file"}

    def modified(self, path: str) -> Any:
        """Return the time at which an object was created."""
        return self._find(path).updated

    def _stream_of(self, path: str) -> Callable[[], BinaryIO]:
        return partial(open_object, self._find(path))

    def _find(self, path: str) -> "Blob":
        address = BUCKETS + self._require(path)
        if address not in self._found:
            self._found[address] = find_object(self._client, address)
        return self._found[address]


class _SharedFile:
    """A file with one stream for each thread that reads it.

    DuckDB's threads share a file and read in two calls, first `seek`, then `read`; a position that they shared as well
    would be moved between the two calls. Streams are kept by thread number: DuckDB's threads have no `threading.local`
    that lasts from one call to the next.
    """

    def __init__(self, stream: Callable[[], BinaryIO]) -> None:
        self._new_stream = stream
        self._streams = {threading.get_ident(): stream()}  # opened here, so that errors are raised here

    @property
    def _own(self) -> BinaryIO:
        number = threading.get_ident()
        if number not in self._streams:
            self._streams[number] = self._new_stream()
        return self._streams[number]

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._own.seek(offset, whence)

    def tell(self) -> int:
        return self._own.tell()

    def read(self, size: int = -1) -> bytes:
        return self._own.read(size)

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()
