"""The catalog: DuckDB views over the tables of a lake, without copies; and DuckDB tables from Arrow batches.

A view has the columns of its asset's parquet files, plus `partition` if there are several files. Paths are literal: no
part of a path is interpreted as a pattern or a column. A connection can read the files of its views and nothing else:
no other file, no network, no extension, and its configuration is locked. DuckDB verifies no checksums, so artifacts are
computed from batches that `Lake` has read (`create_table`). What does not belong here: queries of users (`queries.py`).
"""

import logging
import re
import tempfile
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from plantclef_assets.lake.filesystems import is_in_bucket, open_filesystem
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, Lake, artifact_named

if TYPE_CHECKING:
    import duckdb

_log = logging.getLogger(__name__)

# quarantine/<asset>/<partition>.parquet, or quarantine/<asset>.parquet
_QUARANTINED_ASSET = """
    if(parse_path(filename)[-2] = 'quarantine', parse_filename(filename, true), parse_path(filename)[-2]) as asset
"""


_RAISED = re.compile(r"^[\w.]+: (.*)$", re.MULTILINE)
"""The last line of a traceback."""


def open_catalog(lake: Lake, tables: Sequence[str] | None = None) -> "duckdb.DuckDBPyConnection":
    """Open the lake as DuckDB views: one for each asset that has files, and `quarantine`.

    A table with a damaged or unreadable file has no view; a warning is logged that names the file.

    Args:
        lake: the lake.
        tables: the tables to open, or all of them if None; every file of a view is opened for its columns, which is
            slow for many files in a bucket.

    Raises:
        UnreachableBucketError: the lake is in a bucket that cannot be used.
    """
    import duckdb

    by_table = _files_by_table(lake, tables)
    connection = _connect(lake, [_literal(lake, file) for files in by_table.values() for file in files])
    for name, files in sorted(by_table.items()):
        if name == "quarantine":
            column = _QUARANTINED_ASSET
        elif files == [f"{name}.parquet"]:
            column = None
        else:
            column = "parse_filename(filename, true) as partition"
        try:
            _create_view(connection, name, [_literal(lake, file) for file in files], column)
        except (duckdb.Error, OSError, UnicodeError) as error:
            _log.warning("There is no table %s: %s", name, _why_unreadable(lake, files) or plain_message(error))
    return connection


def plain_message(error: Exception) -> str:
    """Return the message of an error of DuckDB, with the paths of files as users know them.

    An error of a filesystem is a traceback within DuckDB's message.
    """
    from plantclef_assets.lake.literal_files import LITERAL

    text = str(error).replace(LITERAL, "")
    raised = _RAISED.search(text) if text.startswith("Traceback") else None
    return raised[1] if raised else text.strip()


def create_table(
    connection: "duckdb.DuckDBPyConnection", name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> None:
    """Create a table from Arrow batches; errors of the batches propagate unchanged.

    Args:
        connection: the DuckDB connection.
        name: the name of the table, in SQL.
        schema: the schema of the batches.
        batches: the rows, consumed one batch at a time.
    """
    connection.register("batch", schema.empty_table())
    connection.execute(f"create table {name} as select * from batch")
    for batch in batches:
        connection.register("batch", pa.Table.from_batches([batch]))
        connection.execute(f"insert into {name} select * from batch")
    connection.unregister("batch")


def _connect(lake: Lake, files: Sequence[str]) -> "duckdb.DuckDBPyConnection":
    """Open a connection that can read some files of the lake, and can write nothing but its own temporary files."""
    import duckdb

    from plantclef_assets.lake.literal_files import BucketFiles, LocalFiles

    spilled = Path(tempfile.gettempdir(), f"plantclef-sql-{uuid.uuid4().hex}")  # DuckDB creates and deletes it
    connection = duckdb.connect(config={"temp_directory": str(spilled)})
    connection.register_filesystem(BucketFiles(lake.storage, files) if is_in_bucket(lake.root) else LocalFiles(files))
    connection.execute(f"set allowed_paths = {_listed(files)}")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _literal(lake: Lake, name: str) -> str:
    """Return the path of a file, given by its name below the root, in a form that DuckDB does not interpret."""
    from plantclef_assets.lake.literal_files import LITERAL

    location = f"{lake.root}/{name}"
    return location if is_in_bucket(location) else LITERAL + location


def _files_by_table(lake: Lake, tables: Sequence[str] | None) -> dict[str, list[str]]:
    """List the published parquet files of each table by their names below the root, sorted."""
    lake.require()
    filesystem, root = open_filesystem(lake.root)
    places = [""] if tables is None else [name for table in tables for name in (f"/{table}.parquet", f"/{table}/")]
    found: dict[str, list[str]] = {}
    for path in sorted(path for place in places for path in filesystem.find(root + place)):
        name = path.removeprefix(root).lstrip("/")
        if name.endswith(".parquet") and not name.rpartition("/")[2].startswith("."):
            found.setdefault(name.split("/")[0].removesuffix(".parquet"), []).append(name)
    return found


def _create_view(
    connection: "duckdb.DuckDBPyConnection", name: str, files: list[str], column: str | None = None
) -> None:
    """Create a view that names its files one by one, so that leftovers of killed runs are not part of it."""
    source = f"read_parquet({_listed(files)}, filename = true, hive_partitioning = false, union_by_name = true)"
    extra = f", {column}" if column else ""
    quoted = name.replace('"', '""')
    connection.execute(f'create view "{quoted}" as select * exclude (filename){extra} from {source}')


def _listed(texts: Sequence[str]) -> str:
    """Return a list of texts in SQL."""
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"


def _why_unreadable(lake: Lake, files: Sequence[str]) -> str | None:
    """Return the error of the first damaged file, or None."""
    for file in files:
        try:
            lake.record(artifact_named(file))
        except (DamagedArtifactError, OSError) as error:
            return str(error)
    return None


def duplicate_keys(
    lake: Lake, artifacts: Sequence[Artifact], key: Sequence[str], *, most: int = 20
) -> list[tuple[Artifact, dict[str, Any]]]:
    """Return keys that occur more than once in all artifacts together, each with the last artifact that has it.

    Reads the key columns only.
    """
    if not artifacts:
        return []
    by_file = {_literal(lake, f"{artifact}.{artifact.suffix}"): artifact for artifact in artifacts}
    columns = ", ".join(f'"{name}"' for name in key)
    query = (
        f"select {columns}, count(*) as copies, max(filename) as filename "
        "from read_parquet(?, filename = true, hive_partitioning = false) "
        f"group by {columns} having copies > 1 order by {columns} limit {most}"
    )
    with _connect(lake, list(by_file)) as connection:
        rows = connection.sql(query, params=[list(by_file)]).to_arrow_table().to_pylist()
    return [(by_file[row.pop("filename")], row) for row in rows]
