"""The fingerprint of a table depends on its rows and types, and on nothing else."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from plantclef_assets.lake import tables
from plantclef_assets.lake.fingerprints import Fingerprint
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets_tests.lake.tables import write_numbers

COLUMNS: dict[str, pa.Array] = {
    "strings": pa.array(["a", "", None, "äöü", "bc", "d", "", "e" * 50]),
    "binary": pa.array([b"\0\1", b"", None, b"\xff", b"x", b"yz", b"", b"w"], pa.binary()),
    "integers": pa.array([1, -2, None, 0, 5, 6, 7, 2**60], pa.int64()),
    "small": pa.array([1, -2, None, 0, 5, 6, 7, 8], pa.int32()),
    "floats": pa.array([1.5, None, 0.0, float("nan"), 2.5, -1.0, 3.0, 9.0], pa.float64()),
    "truths": pa.array([True, False, None, True, True, False, False, False]),
    "lists": pa.array([[1, 2], [], None, [3], [4, 5, 6], [], [7], [8]], pa.list_(pa.int64())),
    "texts": pa.array([["a"], [], None, ["b", "c"], [""], [None], ["d"], ["e"]], pa.list_(pa.string())),
    "structs": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": ""}, *({"a": row, "b": "y"} for row in range(5))]),
    "objects": pa.array([[{"a": 1}, {"a": 2}], [], None, [{"a": 3}], [None], [], [{"a": 4}], [{"a": None}]]),
    "vectors": pa.array([[float(row), row + 0.5] for row in range(8)], pa.list_(pa.float32(), 2)),
}


def fingerprint(*batches: pa.RecordBatch) -> str:
    whole = Fingerprint()
    for batch in batches:
        whole.update(batch)
    return whole.digest()


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


@pytest.mark.parametrize("cuts", [[8], [1] * 8, [3, 5], [0, 4, 0, 4], [7, 1]])
@pytest.mark.parametrize("name", COLUMNS)
def test_it_does_not_know_how_rows_were_cut_into_batches(name: str, cuts: list[int]) -> None:
    whole = batch(column=COLUMNS[name])
    parts, start = [], 0
    for rows in cuts:
        parts.append(whole.slice(start, rows))
        start += rows
    assert fingerprint(*parts) == fingerprint(whole)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_slice_is_worth_the_rows_it_shows(name: str) -> None:
    column = COLUMNS[name]
    copied = pa.array(column.slice(2, 5).to_pylist(), column.type)
    assert fingerprint(batch(column=column.slice(2, 5))) == fingerprint(batch(column=copied))


@pytest.mark.parametrize("name", COLUMNS)
def test_the_order_of_rows_matters(name: str) -> None:
    column = COLUMNS[name]
    turned = column.take(pa.array(range(len(column) - 1, -1, -1)))
    assert fingerprint(batch(column=turned)) != fingerprint(batch(column=column))


@pytest.mark.parametrize("name", COLUMNS)
def test_one_missing_row_matters(name: str) -> None:
    column = COLUMNS[name]
    assert fingerprint(batch(column=column.slice(0, 7))) != fingerprint(batch(column=column))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array(["ab", "c"]), pa.array(["a", "bc"])),
        (pa.array(["a", None]), pa.array(["a", ""])),
        (pa.array([1, None], pa.int64()), pa.array([1, 0], pa.int64())),
        (pa.array([1, 2], pa.int64()), pa.array([1, 3], pa.int64())),
        (pa.array([1, 2], pa.int64()), pa.array([1, 2], pa.int32())),
        (pa.array([1.0], pa.float32()), pa.array([1.0], pa.float64())),
        (pa.array(["a"]), pa.array([b"a"], pa.binary())),
        (pa.array([[1, 2], [3]]), pa.array([[1], [2, 3]])),
        (pa.array([[1], None]), pa.array([[1], []])),
        (pa.array([{"a": 1, "b": 2}]), pa.array([{"a": 2, "b": 1}])),
        (pa.array([{"a": 1}]), pa.array([{"b": 1}])),
        (
            pa.array([{"a": None}, None], pa.struct({"a": pa.int64()})),
            pa.array([None, {"a": None}], pa.struct({"a": pa.int64()})),
        ),
        (pa.array([[{"x": 1}], [{"x": 2}]]), pa.array([[{"x": 1}, {"x": 2}], []])),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), pa.array([[1.0, 3.0]], pa.list_(pa.float32(), 2))),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), pa.array([[1.0, 2.0]], pa.list_(pa.float32()))),
    ],
)
def test_values_nulls_lengths_and_types_matter(one: pa.Array, other: pa.Array) -> None:
    assert fingerprint(batch(column=one)) != fingerprint(batch(column=other))


def test_the_names_of_columns_matter_but_not_their_order() -> None:
    a, b = pa.array([1, 2]), pa.array([3, 4])
    assert fingerprint(batch(a=a, b=b)) == fingerprint(batch(b=b, a=a))
    assert fingerprint(batch(a=a, b=b)) != fingerprint(batch(a=b, b=a))


def test_a_table_without_rows_is_the_same_with_and_without_an_empty_batch() -> None:
    assert fingerprint() == fingerprint(batch(column=pa.array([], pa.int64())))


def test_files_of_the_same_rows_have_the_same_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, rows = Lake(str(tmp_path)), [(f"row {index}", index) for index in range(500)]
    write_numbers(lake, Artifact("one"), rows)
    monkeypatch.setattr(tables, "ROW_GROUP_BYTES", 1000)
    write_numbers(lake, Artifact("other"), rows, cut=30)
    one, other = lake.record(Artifact("one")), lake.record(Artifact("other"))
    assert one and other
    assert lake.open(Artifact("one")).num_row_groups < lake.open(Artifact("other")).num_row_groups
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 32
