"""A search for a planted secret in everything that a run leaves behind: files, footers, columns, databases."""

import base64
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SECRET = "hunter2-c0ffee"
USER = "surveyor"
SECRETS = (SECRET, base64.b64encode(f"{USER}:{SECRET}".encode()).decode())
"""The secret, and user and password as a request has them."""


def places_of_the_secret(*folders: Path, secrets: Sequence[str] = SECRETS) -> list[str]:
    """Return the files below folders that contain a secret, with the table where there is one."""
    paths = [(path, folder) for folder in folders for path in sorted(folder.rglob("*"))]
    return [place for path, folder in paths for place in _places_in(path, folder, secrets)]


def _places_in(path: Path, folder: Path, secrets: Sequence[str]) -> Iterator[str]:
    name = str(path.relative_to(folder))
    if any(secret in name for secret in secrets):
        yield f"the name {name}"
    if not path.is_file():
        return
    content = path.read_bytes()
    if has_secret(content, secrets):
        yield name
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        texts = [repr(table.schema.metadata), *(repr(column.to_pylist()) for column in table.columns)]
        if any(has_secret(text.encode(), secrets) for text in texts):
            yield f"{name} (rows)"
    if content.startswith(b"SQLite format 3\0"):
        yield from (f"{name}: {table}" for table, value in _values(path) if has_secret(value, secrets))


def has_secret(content: bytes, secrets: Sequence[str] = SECRETS) -> bool:
    """Whether bytes contain a secret, also compressed."""
    unpacked = content
    with suppress(zlib.error):
        unpacked = zlib.decompress(content)
    return any(secret.encode() in one for secret in secrets for one in (content, unpacked))


def _values(database: Path) -> Iterable[tuple[str, bytes]]:
    """Yield every value of a database with its table; Dagster compresses some."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for row in connection.execute(f'select * from "{table}"'):
                yield from ((table, _as_bytes(value)) for value in row)


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
