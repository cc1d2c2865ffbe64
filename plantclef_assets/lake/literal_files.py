"""Filesystems for DuckDB in which every name is literal: no glob patterns, no escapes.

DuckDB has no escape that works for all names, so local paths with pattern characters are read through `LocalFiles`.
Objects are read through `BucketFiles`: gcsfs sends two requests for each query about a file, and its read-ahead
outlives the connection. Here an object is looked up once, and a connection sees one generation of it.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fsspec import AbstractFileSystem

from plantclef_assets.lake.buckets import find_object, open_object
from plantclef_assets.lake.filesystems import BUCKETS

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

LITERAL = "literal://"
"""The scheme of local paths that DuckDB would interpret as patterns."""


class _LiteralFiles(AbstractFileSystem):
    cachable = False

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> list[str]:
        """Return the name: there are no patterns."""
        return [path]


class LocalFiles(_LiteralFiles):
    """A read-only filesystem of local paths with the scheme `LITERAL`."""

    protocol = ("literal",)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Return name, size and kind of a file.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return {"name": path, "size": _local(path).stat().st_size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """Return the time of a file's last change."""
        return datetime.fromtimestamp(_local(path).stat().st_mtime, UTC)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        return _local(path).open("rb")


class BucketFiles(_LiteralFiles):
    """A read-only filesystem of gs:// addresses."""

    protocol = ("gs",)

    def __init__(self, client: "Client") -> None:
        super().__init__()
        self._client = client
        self._found: dict[str, Blob] = {}

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Return name, size and kind of an object.

        Raises:
            FileNotFoundError: there is no such object.
        """
        return {"name": path, "size": self._find(path).size, "type": "file"}

    def modified(self, path: str) -> Any:
        """Return the time at which an object was created."""
        return self._find(path).updated

    def _open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        return open_object(self._find(path))

    def _find(self, path: str) -> "Blob":
        address = BUCKETS + path.removeprefix(BUCKETS)
        if address not in self._found:
            self._found[address] = find_object(self._client, address)
        return self._found[address]


def _local(path: str) -> Path:
    return Path(path.removeprefix(LITERAL))
