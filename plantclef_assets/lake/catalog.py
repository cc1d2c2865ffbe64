"""The catalog: DuckDB over the whole lake, one view a table, nothing copied.

A view has the columns of its asset's parquet files, plus `partition` where there are several.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plantclef_assets.lake.store import Artifact, Lake

if TYPE_CHECKING:
    import duckdb


# quarantine/<asset>/<partition>.parquet, or quarantine/<asset>.parquet
_QUARANTINED_ASSET = """
    if(parse_path(filename)[-2] = 'quarantine', parse_filename(filename, true), parse_path(filename)[-2]) as asset
"""


def open_catalog(lake: Lake) -> "duckdb.DuckDBPyConnection":
    """Open the lake as DuckDB views: one for each asset that has files, and `quarantine`."""
    import duckdb

    connection = duckdb.connect()
    root = Path(lake.root)
    if not root.is_dir():
        return connection
    for file in sorted(root.glob("*.parquet")):
        _create_view(connection, file.stem, [file])
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(file for file in folder.rglob("*.parquet") if not file.name.startswith("."))
        if files and folder.name == "quarantine":
            _create_view(connection, "quarantine", files, _QUARANTINED_ASSET)
        elif files:
            _create_view(connection, folder.name, files, "parse_filename(filename, true) as partition")
    return connection


def _create_view(
    connection: "duckdb.DuckDBPyConnection", name: str, files: list[Path], column: str | None = None
) -> None:
    """Make a view that names its files one by one: nothing that a killed run left behind can slip in."""
    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    source = f"read_parquet([{listed}], filename = true, union_by_name = true)"
    extra = f", {column}" if column else ""
    connection.execute(f'create view "{name}" as select * exclude (filename){extra} from {source}')


def duplicate_keys(
    lake: Lake, artifacts: Sequence[Artifact], key: Sequence[str], *, most: int = 20
) -> list[tuple[Artifact, dict[str, Any]]]:
    """Find rows whose key occurs more than once over all the artifacts; gives each with the last one that has it.

    Reads the key columns only.
    """
    import duckdb

    if not artifacts:
        return []
    by_file = {str(lake.path(artifact)): artifact for artifact in artifacts}
    columns = ", ".join(f'"{name}"' for name in key)
    query = (
        f"select {columns}, count(*) as copies, max(filename) as filename from read_parquet(?, filename = true) "
        f"group by {columns} having copies > 1 order by {columns} limit {most}"
    )
    with duckdb.connect() as connection:
        rows = connection.sql(query, params=[list(by_file)]).to_arrow_table().to_pylist()
    return [(by_file[row.pop("filename")], row) for row in rows]
