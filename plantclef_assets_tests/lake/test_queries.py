"""Queries can only read the tables of the lake, and their results can be written to files outside it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plantclef_assets.cli.lake import main
from plantclef_assets.errors import UserError
from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.queries import ask, write_result
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets_tests.lake.tables import write_numbers

ONE, OTHER = Artifact("sizes", "00"), Artifact("sizes", "01")


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    write_numbers(lake, ONE, [("a", 1), ("=1+1", -2)])
    monkeypatch.setenv("PLANTCLEF_LAKE", lake.root)
    return lake


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return every file and folder below a folder, with the bytes of the files."""
    found = folder.rglob("*")
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}


STATEMENTS = (
    "copy (select 1) to '{out}/new.csv'",
    "copy (select 1) to 'file://{out}/new.csv'",
    "copy (select 1) to 'literal://{out}/new.csv'",
    "copy (select 1 as name) to '{table}' (format parquet)",
    "copy (select 1 as name) to 'literal://{table}' (format parquet)",
    "copy (select 1 as name) to 'literal://{table}' (format parquet, use_tmp_file false)",
    "copy (select 1 as name) to 'literal://{table}' (format csv, use_tmp_file false)",
    "explain analyze copy (select 1) to '{out}/new.csv'",
    "explain analyze copy (select 1) to 'literal://{table}' (format csv, use_tmp_file false)",
    "create table copied (line varchar); copy copied from '{secret}'",
    "select * from read_csv('{secret}')",
    "select * from '{secret}'",
    "select * from read_text('{secret}')",
    "select * from read_text('file://{secret}')",
    "select * from read_text('literal://{secret}')",
    "select * from read_text('literal://{lake}/sizes/../../outside/secret.csv')",
    "select * from read_blob('{lake}/notes.txt')",
    "select * from sniff_csv('{secret}')",
    "select * from parquet_schema('{other}')",
    "select * from read_parquet('{other}')",
    "select * from glob('{out}/*')",
    "select * from glob('literal://{out}/*')",
    "select * from 'https://127.0.0.1:9/x.parquet'",
    "select * from 'gs://bucket/x.parquet'",
    "attach '{out}/new.db'",
    "attach 'literal://{table}' as attached (type duckdb)",
    "install httpfs",
    "load httpfs",
    "load '{out}/x.duckdb_extension'",
    "export database '{out}/exported'",
    "import database '{out}'",
    "create secret (type s3)",
    "select getenv('HOME')",
    "set threads = 1",
    "set enable_external_access = true",
    "set allowed_paths = ['{secret}']",
    "reset lock_configuration",
    "pragma database_list",
    "pragma threads = 1",
)


@pytest.fixture
def places(lake: Lake, tmp_path: Path) -> dict[str, str]:
    """Files that a query must neither read nor write."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_text("planted\n")
    Path(lake.root, "notes.txt").write_text("planted")
    other = write_numbers(Lake(str(tmp_path / "other")), ONE, [("planted", 1)])
    return {
        "out": str(outside),
        "secret": str(outside / "secret.csv"),
        "lake": lake.root,
        "table": str(lake.path(ONE)),
        "other": str(other),
    }


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_query_on_the_command_line_reads_tables_only(
    statement: str, places: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(tmp_path)
    assert main([statement.format(**places)]) == 1
    printed = capsys.readouterr()
    assert (printed.out, "planted" in printed.err, "Traceback" in printed.err) == ("", False, False)
    assert 20 < len(printed.err) < 500, "a sentence"
    assert contents(tmp_path) == before


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_connection_of_the_catalog_reads_tables_only(statement: str, places: dict[str, str], tmp_path: Path) -> None:
    before = contents(tmp_path)
    found = None
    with open_catalog(Lake(places["lake"])) as catalog:
        try:
            result = catalog.sql(statement.format(**places))
            found = result.fetchall() if result is not None else None
        except duckdb.Error:
            found = None
        assert catalog.sql("select count(*) from sizes").fetchall() == [(2,)]
        assert catalog.sql("select current_setting('lock_configuration')").fetchall() == [(True,)]
    assert "planted" not in str(found)
    assert str(places["out"]) not in str(found)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "query",
    ["from sizes", "with s as (from sizes) select * from s;", "describe sizes", "summarize sizes", "show tables"],
)
def test_every_statement_that_reads_is_answered(lake: Lake, query: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([query]) == 0
    assert "size" in capsys.readouterr().out


def test_pivot_and_explain_are_answered(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pivot sizes on name using sum(size)"]) == 0
    assert "=1+1" in capsys.readouterr().out
    assert main(["explain from sizes"]) == 0
    assert "physical_plan" in capsys.readouterr().out


@pytest.mark.parametrize("query", ["", "select 1; select 2"])
def test_a_query_is_one_statement(lake: Lake, query: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([query]) == 1
    assert capsys.readouterr().err.startswith(f"The query has {query.count('select')} statements")


def test_a_csv_holds_no_formula_and_numbers_stay_numbers(lake: Lake, tmp_path: Path) -> None:
    output = tmp_path / "result.csv"
    query = """select name as "=header", size, size / 4.0 as share, [name] as list, null as nothing,
               size > 0 as positive from sizes order by size desc"""
    assert main([query, "--output", str(output)]) == 0
    assert output.read_bytes().decode("utf-8-sig").splitlines() == [
        "'=header,size,share,list,nothing,positive",
        "a,1,0.25,[a],,true",
        "'=1+1,-2,-0.5,['=1+1'],,false",
    ]


def test_parquet_and_text_hold_the_exact_values(lake: Lake, tmp_path: Path) -> None:
    output = tmp_path / "result.parquet"
    assert main(["select name, size from sizes order by size", "--output", str(output)]) == 0
    assert pq.read_table(output).to_pylist() == [{"name": "=1+1", "size": -2}, {"name": "a", "size": 1}]
    listed = tmp_path / "result.txt"
    listed.write_text("an earlier result")
    assert main(["select name from sizes order by size", "--output", str(listed)]) == 0
    assert listed.read_text() == "=1+1\na\n"


@pytest.mark.parametrize(
    ("query", "name", "said"),
    [
        ("from sizes", "lake/sizes/00.parquet", "is in the lake"),
        ("from sizes", "lake/new.csv", "is in the lake"),
        ("from sizes", "linked/new.csv", "is in the lake"),
        ("from sizes", "result.xlsx", "must end with"),
        ("from sizes", "absent/result.csv", "its folder does not exist"),
        ("from sizes", "result.txt", "holds one column"),
        ("select interval 1 day as i", "result.parquet", "cast it to text"),
        ("select no_such_column from sizes", "result.csv", "no_such_column"),
        ("select error('in the middle') from sizes", "result.csv", "in the middle"),
    ],
)
def test_a_result_that_cannot_be_written_leaves_everything_as_it_was(
    lake: Lake, query: str, name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "linked").symlink_to(lake.root)
    before = contents(tmp_path)
    assert main([query, "--output", str(tmp_path / name)]) == 1
    printed = capsys.readouterr()
    assert (printed.out, said in printed.err) == ("", True)
    assert contents(tmp_path) == before


@pytest.fixture
def read_only() -> Iterator[Lake]:
    """A lake in which nothing can be written or created, readable by other users."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(f"{folder}/lake")
        write_numbers(lake, ONE, [("a", 17)])
        Path(folder).chmod(0o755)
        found = [Path(lake.root), *Path(lake.root).rglob("*")]
        for path in found:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield lake
        for path in found:
            path.chmod(0o755)


def test_a_read_only_lake_is_queried(read_only: Lake) -> None:
    """In a process that is not root, which may write everywhere."""
    program = f"""
import os
from pathlib import Path
from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.store import Lake
lake = Lake({read_only.root!r})
open_catalog(lake)  # imports everything
if os.geteuid() == 0:
    os.setuid(65534)
try:
    Path(lake.root, "sizes", "new").touch()
except PermissionError:
    print(open_catalog(lake).sql("select size from sizes").fetchall())
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    assert (ended.stdout, ended.stderr) == ("[(17,)]\n", "")


def test_a_damaged_page_is_one_sentence_and_other_tables_are_answered(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = Path(str(lake.path(OTHER)).replace("sizes", "damaged"))
    write_numbers(lake, Artifact("damaged", "01"), [(f"name {number * 7919}", number) for number in range(5000)])
    data = bytearray(damaged.read_bytes())
    data[40:2000] = bytes(1960)
    damaged.write_bytes(data)
    assert main(["select max(name), sum(size) from damaged"]) == 1
    said = capsys.readouterr().err
    assert str(damaged) in said
    assert ("Traceback" in said, "literal:" in said) == (False, False)
    assert main(["select count(*) from sizes"]) == 0


def test_threads_do_not_move_each_others_position_in_a_file(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB reads the row groups of one file in several threads, each with `seek` and then `read`."""
    rows, width = 8000, 256
    vectors = np.random.default_rng(0).standard_normal((rows, width), dtype=np.float32)
    table = pa.table({"cls": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)})
    path = Path(lake.root, "embedded", "00.parquet")
    path.parent.mkdir()
    pq.write_table(table, path, row_group_size=500)
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda config: connect(config=config | {"threads": 8}))
    for _ in range(10):
        with open_catalog(lake) as catalog:
            (sums,) = catalog.sql("select count(*), sum(list_sum(cls)) from embedded").fetchall()
            assert sums == (rows, pytest.approx(float(vectors.sum(dtype=np.float64)), rel=1e-4))


def test_a_query_reads_the_columns_and_row_groups_it_needs(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from plantclef_assets.lake import literal_files

    read: list[int] = []
    original = literal_files._SharedFile.read

    def counted(self: literal_files._SharedFile, size: int = -1) -> bytes:
        read.append(size)
        return original(self, size)

    monkeypatch.setattr(literal_files._SharedFile, "read", counted)
    path = write_numbers(lake, OTHER, [(os.urandom(50).hex(), number) for number in range(60_000)], cut=5000)
    with open_catalog(lake) as catalog:
        assert catalog.sql("select count(*) from sizes where size >= 0").fetchall() == [(60_001,)]
    assert 0 < sum(read) < path.stat().st_size / 4
    assert -1 not in read


def test_what_exceeds_the_memory_spills_to_disk_and_leaves_nothing(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import plantclef_assets.lake.catalog as module

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spilled"))
    (tmp_path / "spilled").mkdir()
    connect = duckdb.connect
    monkeypatch.setattr(
        duckdb, "connect", lambda config: connect(config=config | {"memory_limit": "60MB", "threads": 1})
    )
    with module.open_catalog(lake) as catalog:
        query = "select count(*) from (select md5(i::varchar) as m from range(1500000) t(i) order by m limit 1400000)"
        assert ask(catalog, query).fetchall() == [(1_400_000,)]
    assert not list((tmp_path / "spilled").iterdir())


def test_an_unwritable_output_is_one_sentence(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "result.csv").mkdir()
    with open_catalog(lake) as catalog, pytest.raises(UserError, match="is a folder"):
        write_result(ask(catalog, "from sizes"), tmp_path / "result.csv", lake)


@pytest.mark.gcs
@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1 as name) to '{table}' (format csv, use_tmp_file false)",
        "explain analyze copy (select 1 as name) to '{table}' (format csv, use_tmp_file false)",
        "copy (select 1 as name) to '{root}/new.csv'",
        "select * from read_parquet('{root}/../other/sizes/00.parquet')",
        "select * from read_parquet('{other}')",
        "select * from read_csv('/etc/passwd')",
        "select * from glob('{root}/*')",
        "attach '{table}' as attached (type duckdb)",
        "set enable_external_access = true",
    ],
)
def test_a_query_on_a_lake_in_a_bucket_reads_its_tables_only(
    statement: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lake, other = Lake(f"{bucket}/lake", str(tmp_path)), Lake(f"{bucket}/other", str(tmp_path))
    for one in (lake, other):
        write_numbers(one, ONE, [("planted", 1)])
    monkeypatch.setenv("PLANTCLEF_LAKE", lake.root)
    filesystem, place = open_filesystem(bucket)
    before = {path: filesystem.cat(path) for path in filesystem.find(place)}
    query = statement.format(root=lake.root, table=lake.path(ONE), other=other.path(ONE))
    with open_catalog(lake) as catalog, pytest.raises(duckdb.Error):
        catalog.sql(query).fetchall()
    assert main([query]) == 1
    printed = capsys.readouterr()
    assert (printed.out, "planted" in printed.err, "Traceback" in printed.err) == ("", False, False)
    assert {path: filesystem.cat(path) for path in filesystem.find(place)} == before
    assert main(["select name, size from sizes", "--output", str(tmp_path / "result.csv")]) == 0
    assert (tmp_path / "result.csv").read_text("utf-8-sig") == "name,size\nplanted,1\n"
