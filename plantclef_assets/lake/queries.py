"""Queries of users on the catalog: one statement that reads, its errors in one sentence, and its result as a file.

A connection of the catalog cannot write or read anything but its tables; here, statements that do not read are refused
by name. What does not belong here: the views (`catalog.py`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from plantclef_assets.errors import UserError, shorten
from plantclef_assets.lake.atomic import atomic_write
from plantclef_assets.lake.catalog import plain_message
from plantclef_assets.lake.spreadsheets import csv_lines
from plantclef_assets.lake.store import Lake

if TYPE_CHECKING:
    import duckdb

_READING = {"SELECT", "EXPLAIN", "MULTI"}
"""Statements that read; FROM, WITH, DESCRIBE, SHOW and SUMMARIZE are SELECT, PIVOT is MULTI."""
_NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL"}
_ADVICE = "A query only reads the tables of the lake; --output FILE writes its result to a file"
_ROWS_AT_ONCE = 10_000


@contextmanager
def query_errors() -> Iterator[None]:
    """Translate errors of a query.

    Raises:
        UserError: the query is wrong, or reads something else than the tables of the lake.
    """
    import duckdb

    try:
        yield
    except duckdb.PermissionException as error:
        raise UserError(f"{plain_message(error)}. {_ADVICE}.") from error
    except duckdb.Error as error:
        raise UserError(plain_message(error)) from error


def ask(connection: "duckdb.DuckDBPyConnection", query: str) -> "duckdb.DuckDBPyRelation":
    """Return the result of one statement that reads; it runs when it is fetched or shown.

    Raises:
        UserError: it is not one statement, or one that does not read.
    """
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise UserError(f"The query has {len(statements)} statements, but must have one.")
    if statements[0].type.name not in _READING:
        raise UserError(f"'{shorten(query, lines=1, characters=60)}' is not a query. {_ADVICE}.")
    return connection.sql(query)


def write_result(relation: "duckdb.DuckDBPyRelation", output: Path, lake: Lake) -> int:
    """Write the result of a query to a file, which is complete or absent; return the number of rows.

    Args:
        relation: the result.
        output: `.parquet`; `.csv`, with a header, as text for spreadsheets; or `.txt`, one value a line, of one column.
        lake: the lake, which holds only what its assets write.

    Raises:
        UserError: the file is in the lake, cannot be written, or has another suffix.
    """
    write = _WRITERS.get(output.suffix.lower())
    place = output.expanduser().resolve()
    if write is None:
        raise UserError(f"--output: '{output}' must end with {', '.join(_WRITERS)}.")
    if place.is_relative_to(lake.folder.resolve()):
        raise UserError(f"--output: '{output}' is in the lake, which holds only what its assets write.")
    if not place.parent.is_dir() or place.is_dir():
        raise UserError(f"--output: '{output}' is a folder, or its folder does not exist.")
    try:
        with atomic_write(place) as temporary:
            return write(relation, temporary)
    except OSError as error:
        raise UserError(f"--output: '{output}' cannot be written: {error.strerror or error}.") from error


def _write_parquet(relation: "duckdb.DuckDBPyRelation", file: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    try:
        with relation.to_arrow_reader(_ROWS_AT_ONCE) as reader, pq.ParquetWriter(file, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
                rows += batch.num_rows
    except pa.ArrowNotImplementedError as error:
        raise UserError(f"--output: parquet cannot hold a column of the result: {error}; cast it to text.") from error
    return rows


def _write_csv(relation: "duckdb.DuckDBPyRelation", file: Path) -> int:
    kinds = [str(kind).partition("(")[0].removeprefix("U") for kind in relation.types]
    numbers = {place for place, kind in enumerate(kinds) if kind in _NUMBERS}
    rows = 0
    with file.open("w", encoding="utf-8-sig", newline="") as stream:  # spreadsheets recognise UTF-8 by the mark
        stream.writelines(csv_lines([relation.columns]))
        for batch in _batches_of_text(relation):
            stream.writelines(csv_lines(batch, numbers))
            rows += len(batch)
    return rows


def _write_text(relation: "duckdb.DuckDBPyRelation", file: Path) -> int:
    if len(relation.columns) != 1:
        raise UserError(f"--output: a .txt holds one column, but the result has {len(relation.columns)}.")
    rows = 0
    with file.open("w", encoding="utf-8", newline="") as stream:
        for batch in _batches_of_text(relation):
            stream.writelines(f"{value or ''}\n" for (value,) in batch)
            rows += len(batch)
    return rows


def _batches_of_text(relation: "duckdb.DuckDBPyRelation") -> Iterator[list[tuple[str | None, ...]]]:
    """Yield the rows of a result in batches; every value as DuckDB prints it."""
    with relation.project("columns(*)::varchar").to_arrow_reader(_ROWS_AT_ONCE) as reader:
        for batch in reader:
            yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


_WRITERS: dict[str, Callable[["duckdb.DuckDBPyRelation", Path], int]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".txt": _write_text,
}
"""Functions that write a result, by suffix."""
