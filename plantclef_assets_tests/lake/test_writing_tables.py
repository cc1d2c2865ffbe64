"""Writing tables: row groups of a sensible size, figures that are counted, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from plantclef_assets.lake import tables
from plantclef_assets.lake.schemas import TILE_PREDICTIONS, TRAINING_METADATA
from plantclef_assets.lake.statistics import UnsoundTableError
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_quarantine, write_shard, write_table
from plantclef_assets_tests.lake.tables import NUMBERS, VECTORS, vectors, write_numbers

HERE = Artifact("table", "00")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def test_rows_are_gathered_into_groups_of_about_so_many_bytes(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_BYTES", 10_000)
    with write_table(lake, HERE, NUMBERS, {}) as table:
        for start in range(0, 1000, 10):
            table.write_rows(name=["x" * 92] * 10, size=list(range(start, start + 10)))
    footer = lake.open(HERE).metadata
    sizes = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    assert sum(sizes) == 1000
    assert 9 <= len(sizes) <= 12, "a row has about 105 bytes, so 10,000 bytes are some 100 rows"
    assert min(sizes[:-1]) == max(sizes[:-1])
    assert lake.read(HERE).column("size").to_pylist() == list(range(1000))


def test_a_table_without_rows_is_a_file_with_its_columns(lake: Lake) -> None:
    with write_table(lake, HERE, VECTORS, {"asset": "table"}, widths={"cls": 4}):
        pass
    record = lake.record(HERE)
    assert record and record.schema
    assert (record.rows, record.statistics["rows"], record.provenance) == (0, 0, {"asset": "table"})
    assert record.schema.field("cls").type == pa.list_(pa.float32(), 4)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ([float("nan"), 1.0, 2.0], "non-finite"),
        ([float("inf"), 1.0, 2.0], "non-finite"),
        ([0.0, 0.0, 0.0], "zero"),
        ([0.7, 0.7, 0.7], "constant"),
    ],
)
def test_a_vector_that_says_nothing_is_refused_and_nothing_published(lake: Lake, bad: list[float], kind: str) -> None:
    with (
        pytest.raises(UnsoundTableError, match=rf"table/00 is not published: 1 cls vectors are {kind} \(v1\)"),
        write_table(lake, HERE, VECTORS, {}, widths={"cls": 3}) as table,
    ):
        table.write_rows(**vectors([1.0, 2.0, 3.0], bad, [3.0, 2.0, 1.0]))
    assert not lake.exists(HERE)
    assert not list(Path(lake.root).rglob("*.incomplete"))


def test_a_refused_table_leaves_the_one_before(lake: Lake) -> None:
    for rows in ([[1.0, 2.0]], [[0.0, 0.0]]):
        try:
            with write_table(lake, HERE, VECTORS, {}, widths={"cls": 2}) as table:
                table.write_rows(**vectors(*rows))
        except UnsoundTableError:
            assert rows == [[0.0, 0.0]]
    assert lake.read(HERE).column("cls").to_pylist() == [[1.0, 2.0]]


def test_at_most_five_bad_rows_are_named(lake: Lake) -> None:
    with (
        pytest.raises(UnsoundTableError, match=r"9 cls vectors are zero \(v0, v1, v2, v3, v4\)"),
        write_table(lake, HERE, VECTORS, {}, widths={"cls": 2}) as table,
    ):
        for start in range(0, 9, 3):
            names = [f"v{row}" for row in range(start, start + 3)]
            table.write_rows(name=names, cls=np.zeros((3, 2), np.float32))


def test_a_required_value_that_is_missing_is_refused(lake: Lake) -> None:
    with pytest.raises(ValueError, match=r"name.*null|have no name"), write_table(lake, HERE, NUMBERS, {}) as table:
        table.write_rows(name=["a", None], size=[1, 2])
    assert not lake.exists(HERE)


def test_a_value_that_may_be_missing_may_be_missing(lake: Lake) -> None:
    write_numbers(lake, HERE, [("a", None), ("b", 2)])
    assert lake.read(HERE).column("size").to_pylist() == [None, 2]


@pytest.mark.parametrize(
    ("probabilities", "problem"),
    [([0.5, 0.6], "1 probabilities rising"), ([1.5, 0.2], "1 probabilities outside"), ([0.5, -0.1], "1 probabilities")],
)
def test_impossible_probabilities_are_refused(lake: Lake, probabilities: list[float], problem: str) -> None:
    with pytest.raises(UnsoundTableError, match=problem), write_table(lake, HERE, TILE_PREDICTIONS, {}) as table:
        table.write_rows(**tile(probabilities))
    assert not lake.exists(HERE)


def tile(probabilities: list[float], index: int = 0) -> dict[str, list]:
    """Return the predictions of one tile."""
    count = len(probabilities)
    numbers = {name: [0] * count for name in ("x", "y", "width", "height")}
    return numbers | {
        "plot_id": ["p"] * count,
        "feature_set": ["base_cls"] * count,
        "tiling": ["2x2"] * count,
        "tile_index": [index] * count,
        "species_id": list(range(count)),
        "probability": probabilities,
        "rank": list(range(1, count + 1)),
    }


def test_probabilities_may_rise_from_one_tile_to_the_next(lake: Lake) -> None:
    with write_table(lake, HERE, TILE_PREDICTIONS, {}) as table:
        table.write_rows(**tile([0.4, 0.3]))
        table.write_rows(**tile([0.9, 0.1], 1))
    record = lake.record(HERE)
    assert record and record.statistics["mean_first_probability"] == pytest.approx(0.65)


def test_species_and_tags_are_counted_over_all_batches(lake: Lake) -> None:
    rows = [("a", 3, "train"), ("b", 1, "val"), ("c", 3, None), ("d", 2, "train")]
    with write_table(lake, HERE, TRAINING_METADATA, {}) as table:
        for name, species, tag in rows:
            table.write_rows(image_name=[name], species_id=[species], learn_tag=[tag])
        table.statistics = {"rows_in": 6, "quarantined": 2}
    record = lake.record(HERE)
    assert record
    assert record.statistics == {
        "rows": 4,
        "species": [1, 2, 3],
        "learn_tags": {"none": 1, "train": 2, "val": 1},
        "rows_in": 6,
        "quarantined": 2,
    }


def test_the_norms_of_vectors_are_told(lake: Lake) -> None:
    with write_table(lake, HERE, VECTORS, {}, widths={"cls": 2}) as table:
        table.write_rows(**vectors([3.0, 4.0]))
        table.write_rows(**vectors([0.0, 1.0], [0.0, 3.0]))
    record = lake.record(HERE)
    assert record
    figures = record.statistics["vectors"]["cls"]
    assert figures["width"] == 2
    assert [figures[f"norm_{name}"] for name in ("least", "greatest", "mean")] == pytest.approx([1.0, 5.0, 3.0])


def test_a_shard_accounts_for_its_rows_and_publishes_its_quarantine(lake: Lake) -> None:
    with write_shard(lake, Shard(HERE, {"asset": "table"}), NUMBERS) as table:
        table.rows_in = 3
        table.add([{"name": "a", "size": 1}])
        table.quarantine("b.jpg", "b", "empty", "the file has no bytes")
        table.quarantine("c.jpg", None, "unreadable", None)
    record = lake.record(HERE)
    assert record and (record.rows, record.statistics["rows_in"], record.statistics["quarantined"]) == (1, 3, 2)
    set_aside = lake.read(Artifact("quarantine/table", "00")).to_pylist()
    assert [row["reason"] for row in set_aside] == ["empty", "unreadable"]
    assert set_aside[0] == {
        "source": "b.jpg", "image_name": "b", "reason": "empty", "detail": "the file has no bytes"
    }  # fmt: skip


def test_a_shard_that_fails_publishes_neither_rows_nor_quarantine(lake: Lake) -> None:
    with pytest.raises(OSError, match="disk"), write_shard(lake, Shard(HERE, {}), NUMBERS) as table:
        table.quarantine("b.jpg", "b", "empty", None)
        raise OSError("disk")
    assert not list(Path(lake.root).rglob("*.parquet"))


def test_a_quarantine_without_findings_replaces_one_with_some(lake: Lake) -> None:
    found = {"source": "a", "image_name": "a", "reason": "empty", "detail": None}
    for findings in ([found], []):
        write_quarantine(lake, HERE, findings)
    assert lake.read(Artifact("quarantine/table", "00")).num_rows == 0
