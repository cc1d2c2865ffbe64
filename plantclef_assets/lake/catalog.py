"""The catalog: DuckDB views over the tables of a lake, without copies; and DuckDB tables from Arrow batches.

A view has the columns of its asset's parquet files, plus `partition` if there are several files. Paths are literal: no
part of a path is interpreted as a pattern or a column. DuckDB verifies no checksums, so artifacts are computed from
batches that `Lake` has read (`create_table`).
"""

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from plantclef_assets.lake.filesystems import is_in_bucket, open_filesystem
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, Lake, artifact_named

if TYPE_CHECKING:
    import duckdb

_log = logging.getLogger(__name__)

_PATTERN = frozenset("*?[\\")
"""Characters that DuckDB interprets in a path."""

# quarantine/<asset>/<partition>.parquet, or quarantine/<asset>.parquet
_QUARANTINED_ASSET = """
    if(parse_path(filename)[-2] = 'quarantine', parse_filename(filename, true), parse_path(filename)[-2]) as asset
"""


def open_catalog(lake: Lake, tables: Sequence[str] | None = None) -> "duckdb.DuckDBPyConnection":
    """Open the lake as DuckDB views: one for each asset that has files, and `quarantine`.

    A table with a damaged file has no view; a warning is logged that names the file.

    Args:
        lake: the lake.
        tables: the tables to open, or all of them if None; every file of a view is opened for its columns, which is
            slow for many files in a bucket.

    Raises:
        UnreachableBucketError: the lake is in a bucket that cannot be used.
    """
    import duckdb

    connection = _connect(lake)
    for name, files in sorted(_files_by_table(lake, tables).items()):
        if name == "quarantine":
            column = _QUARANTINED_ASSET
        elif files == [f"{name}.parquet"]:
            column = None
        else:
            column = "parse_filename(filename, true) as partition"
        try:
            _create_view(connection, name, [_literal(f"{lake.root}/{file}") for file in files], column)
        except (duckdb.Error, UnicodeError) as error:
            _log.warning("There is no table %s: %s", name, _why_unreadable(lake, files) or " ".join(str(error).split()))
    return connection


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


def _connect(lake: Lake) -> "duckdb.DuckDBPyConnection":
    import duckdb

    from plantclef_assets.lake.literal_files import BucketFiles, LocalFiles

    connection = duckdb.connect()
    connection.register_filesystem(BucketFiles(lake.storage) if is_in_bucket(lake.root) else LocalFiles())
    return connection


def _literal(location: str) -> str:
    """Return the path of a file of the lake in a form that DuckDB does not interpret."""
    from plantclef_assets.lake.literal_files import LITERAL

    return location if is_in_bucket(location) or _PATTERN.isdisjoint(location) else LITERAL + location


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
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    source = f"read_parquet([{listed}], filename = true, hive_partitioning = false, union_by_name = true)"
    extra = f", {column}" if column else ""
    quoted = name.replace('"', '""')
    connection.execute(f'create view "{quoted}" as select * exclude (filename){extra} from {source}')


def _why_unreadable(lake: Lake, files: Sequence[str]) -> str | None:
    """Return the error of the first damaged file, or None."""
    for file in files:
        try:
            lake.record(artifact_named(file))
        except DamagedArtifactError as error:
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
    by_file = {_literal(str(lake.path(artifact))): artifact for artifact in artifacts}
    columns = ", ".join(f'"{name}"' for name in key)
    query = (
        f"select {columns}, count(*) as copies, max(filename) as filename "
        "from read_parquet(?, filename = true, hive_partitioning = false) "
        f"group by {columns} having copies > 1 order by {columns} limit {most}"
    )
    with _connect(lake) as connection:
        rows = connection.sql(query, params=[list(by_file)]).to_arrow_table().to_pylist()
    return [(by_file[row.pop("filename")], row) for row in rows]
