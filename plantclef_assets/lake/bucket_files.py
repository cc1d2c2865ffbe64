"""Objects as DuckDB asks for files: the few calls it makes of an fsspec filesystem, answered for one client.

gcsfs would answer them too, with two requests for every question about a file and with reading ahead that outlives the
connection. Here an object is looked up once, and what a connection sees of it is one generation.
"""

from typing import TYPE_CHECKING, Any, BinaryIO

from fsspec import AbstractFileSystem

from plantclef_assets.lake.buckets import find_object, open_object
from plantclef_assets.lake.filesystems import BUCKETS

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client


class BucketFiles(AbstractFileSystem):
    """A read-only filesystem of gs:// addresses, in which every name is meant literally."""

    protocol = ("gs",)
    cachable = False

    def __init__(self, client: "Client") -> None:
        super().__init__()
        self._client = client
        self._found: dict[str, Blob] = {}

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> list[str]:
        """Give the name back: there are no patterns."""
        return [path]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Give name, size and kind of an object.

        Raises:
            FileNotFoundError: there is no such object.
        """
        return {"name": path, "size": self._find(path).size, "type": "file"}

    def modified(self, path: str) -> Any:
        """Give the time at which an object was created."""
        return self._find(path).updated

    def _open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        return open_object(self._find(path))

    def _find(self, path: str) -> "Blob":
        address = BUCKETS + path.removeprefix(BUCKETS)
        if address not in self._found:
            self._found[address] = find_object(self._client, address)
        return self._found[address]
