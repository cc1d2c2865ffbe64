"""The catalog: DuckDB over the whole lake, one view a table, nothing copied.

A view has the columns of its asset's parquet files, plus `partition` where there are several.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plantclef_assets.lake.filesystems import is_in_bucket, open_filesystem
from plantclef_assets.lake.store import Artifact, Lake

if TYPE_CHECKING:
    import duckdb


# quarantine/<asset>/<partition>.parquet, or quarantine/<asset>.parquet
_QUARANTINED_ASSET = """
    if(parse_path(filename)[-2] = 'quarantine', parse_filename(filename, true), parse_path(filename)[-2]) as asset
"""


def open_catalog(lake: Lake, tables: Sequence[str] | None = None) -> "duckdb.DuckDBPyConnection":
    """Open the lake as DuckDB views: one for each asset that has files, and `quarantine`.

    Args:
        lake: what to open.
        tables: those that are wanted, or all of them; every file of a view is opened for its columns, which takes
            its time where they are many and far away.

    Raises:
        UnreachableBucketError: the lake is in a bucket that cannot be used.
    """
    connection = _connect(lake)
    for name, files in sorted(_files_by_table(lake, tables).items()):
        if name == "quarantine":
            column = _QUARANTINED_ASSET
        elif files == [f"{name}.parquet"]:
            column = None
        else:
            column = "parse_filename(filename, true) as partition"
        _create_view(connection, name, [f"{lake.root}/{file}" for file in files], column)
    return connection


def _connect(lake: Lake) -> "duckdb.DuckDBPyConnection":
    import duckdb

    connection = duckdb.connect()
    if is_in_bucket(lake.root):
        from plantclef_assets.lake.bucket_files import BucketFiles

        connection.register_filesystem(BucketFiles(lake.storage))
    return connection


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
    """Make a view that names its files one by one: nothing that a killed run left behind can slip in."""
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    source = f"read_parquet([{listed}], filename = true, union_by_name = true)"
    extra = f", {column}" if column else ""
    connection.execute(f'create view "{name}" as select * exclude (filename){extra} from {source}')


def duplicate_keys(
    lake: Lake, artifacts: Sequence[Artifact], key: Sequence[str], *, most: int = 20
) -> list[tuple[Artifact, dict[str, Any]]]:
    """Find rows whose key occurs more than once over all the artifacts; gives each with the last one that has it.

    Reads the key columns only.
    """
    if not artifacts:
        return []
    by_file = {str(lake.path(artifact)): artifact for artifact in artifacts}
    columns = ", ".join(f'"{name}"' for name in key)
    query = (
        f"select {columns}, count(*) as copies, max(filename) as filename from read_parquet(?, filename = true) "
        f"group by {columns} having copies > 1 order by {columns} limit {most}"
    )
    with _connect(lake) as connection:
        rows = connection.sql(query, params=[list(by_file)]).to_arrow_table().to_pylist()
    return [(by_file[row.pop("filename")], row) for row in rows]
