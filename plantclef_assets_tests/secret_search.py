"""A search for a planted secret in everything that a run leaves behind: files, footers, columns, databases."""

import base64
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SECRET = "hunter2-c0ffee"
USER = "surveyor"
_ENCODED = base64.b64encode(f"{USER}:{SECRET}".encode())
"""User and password as a request has them."""


def places_of_the_secret(*folders: Path) -> list[str]:
    """Return the files below folders that contain the secret, with the table or column where there is one."""
    return [place for folder in folders for path in sorted(folder.rglob("*")) for place in _places_in(path, folder)]


def _places_in(path: Path, folder: Path) -> Iterator[str]:
    name = str(path.relative_to(folder))
    if SECRET in name:
        yield f"the name {name}"
    if not path.is_file():
        return
    content = path.read_bytes()
    if has_secret(content):
        yield name
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        texts = [repr(table.schema.metadata), *(repr(column.to_pylist()) for column in table.columns)]
        if any(has_secret(text.encode()) for text in texts):
            yield f"{name} (rows)"
    if content.startswith(b"SQLite format 3\0"):
        yield from (f"{name}: {table}" for table, value in _values(path) if has_secret(value))


def has_secret(content: bytes) -> bool:
    """Whether bytes contain the secret, also compressed, or with the user as a header of a request has it."""
    unpacked = content
    with suppress(zlib.error):
        unpacked = zlib.decompress(content)
    return any(SECRET.encode() in one or _ENCODED in one for one in (content, unpacked))


def _values(database: Path) -> Iterable[tuple[str, bytes]]:
    """Yield every value of a database with its table; Dagster compresses some."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for row in connection.execute(f'select * from "{table}"'):
                yield from ((table, _as_bytes(value)) for value in row)


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
