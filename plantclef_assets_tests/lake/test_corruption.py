"""Corrupted artifacts: page checksums find them, one sentence names the file, and other tables are not affected."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.store import Artifact, DamagedArtifactError, Lake
from plantclef_assets.lake.tables import write_quarantine, write_table
from plantclef_assets_tests.lake.corruptions import flip_page, write_as_before_checksums
from plantclef_assets_tests.lake.tables import VECTORS, vectors, write_numbers

ONE, OTHER = Artifact("sizes", "00"), Artifact("sizes", "01")
MALFORMED = {
    "empty": b"",
    "text": b"name,size\na,1\n",
    "half": b"PAR1half",
    "zeros": bytes(5000),
    "end only": bytes(100) + b"PAR1",
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def write_vectors(lake: Lake) -> Artifact:
    artifact = Artifact("embedded", "00")
    with write_table(lake, artifact, VECTORS, {}, widths={"cls": 3}) as table:
        table.write_rows(**vectors([1.0, 2.0, 2.0], [0.0, 3.0, 4.0]))
    return artifact


def sentence_of(error: BaseException, lake: Lake, artifact: Artifact) -> str:
    """Return the message, which has to be one line that names the artifact and its file."""
    message = str(error)
    assert message.startswith(f"{artifact} is damaged (")
    assert message.endswith(f"; delete {lake.path(artifact)} and materialize {artifact.asset} again")
    assert "\n" not in message
    return message


def test_a_flipped_page_is_found_by_every_reader(lake: Lake) -> None:
    artifact = write_vectors(lake)
    path = lake.path(artifact)
    assert isinstance(path, Path)
    flip_page(path, "cls")
    flipped = pq.read_table(path).column("cls").to_pylist()
    assert flipped[0] == [1.0, 2.0, 2.0] and flipped[1] != [0.0, 3.0, 4.0], "another reader gives other rows"
    readers = (
        lambda: lake.read(artifact),
        lambda: lake.read(artifact, ["cls"], [("name", "=", "v1")]),
        lambda: lake.open(artifact).read(),
        lambda: lake.open(artifact).read_row_group(0, columns=["cls"]),
        lambda: list(lake.open(artifact).iter_batches(columns=["cls"])),
    )
    for read in readers:
        with pytest.raises(DamagedArtifactError) as raised:
            read()
        assert "CRC" in sentence_of(raised.value, lake, artifact)
    assert lake.read(artifact, ["name"]).num_rows == 2, "the other column is as it was"


def test_a_flipped_page_of_strings_is_found(lake: Lake) -> None:
    path = write_numbers(lake, ONE, [(f"row {row}", row) for row in range(100)])
    flip_page(path, "name")
    with pytest.raises(DamagedArtifactError):
        lake.read(ONE)


def test_files_without_checksums_are_read(lake: Lake) -> None:
    path = write_numbers(lake, ONE, [("a", 1)])
    write_as_before_checksums(path)
    assert lake.read(ONE).to_pylist() == [{"name": "a", "size": 1}]


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("suffix", ["parquet", "safetensors"])
def test_a_malformed_file_is_named(lake: Lake, content: bytes, suffix: str) -> None:
    artifact = Artifact("sizes", "00", suffix)
    path = lake.path(artifact)
    assert isinstance(path, Path)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(DamagedArtifactError) as raised:
        lake.record(artifact)
    sentence_of(raised.value, lake, artifact)


@pytest.mark.parametrize("kept", [0, 1, 8, 40, -1])
def test_a_truncated_file_of_rows_or_tensors_is_named(lake: Lake, kept: int) -> None:
    path = write_numbers(lake, ONE, [("a", 1)])
    tensors = Artifact("tensors", suffix="safetensors")
    target = lake.path(tensors)
    assert isinstance(target, Path)
    save_file({"a": np.arange(9, dtype=np.float32)}, target, metadata={"classifier": '{"metadata": {}}'})
    for file, artifact in ((path, ONE), (target, tensors)):
        assert lake.record(artifact)
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(DamagedArtifactError) as raised:
            lake.record(artifact)
        sentence_of(raised.value, lake, artifact)


@pytest.mark.parametrize("header", ["[]", "{}", '{"__metadata__": {"format": "pt"}}', '{"a": 1}', "{"])
def test_another_header_of_tensors_is_no_traceback(lake: Lake, header: str) -> None:
    artifact = Artifact("weights", suffix="safetensors")
    path = lake.path(artifact)
    assert isinstance(path, Path)
    path.parent.mkdir(parents=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    try:
        record = lake.record(artifact)
        assert record and not record.provenance
    except DamagedArtifactError as error:
        sentence_of(error, lake, artifact)


def test_what_the_system_refuses_is_no_damage(lake: Lake) -> None:
    folder = lake.path(ONE)
    assert isinstance(folder, Path)
    folder.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        lake.record(ONE)


def test_the_error_crosses_process_boundaries(lake: Lake) -> None:
    error = DamagedArtifactError(ONE, lake.path(ONE), "it is empty")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.artifact, again.reason) == (str(error), ONE, "it is empty")


def test_a_damaged_table_leaves_the_others(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    write_numbers(lake, ONE, [("a", 1)])
    write_numbers(lake, OTHER, [("b", 2)]).write_bytes(b"PAR1")
    write_numbers(lake, Artifact("alone"), [("c", 3)])
    finding = {"source": "x.jpg", "image_name": "x", "reason": "empty", "detail": None}
    write_quarantine(lake, ONE, [finding])
    with open_catalog(lake) as catalog:
        assert catalog.sql("select name from alone").fetchall() == [("c",)]
        assert catalog.sql("select reason from quarantine").fetchall() == [("empty",)]
        assert catalog.sql("select view_name from duckdb_views() where not internal order by 1").fetchall() == [
            ("alone",),
            ("quarantine",),
        ]
    (message,) = caplog.messages
    assert message.startswith(f"There is no table sizes: {OTHER} is damaged (")
    assert message.endswith(f"; delete {lake.path(OTHER)} and materialize sizes again")


def test_a_damaged_input_is_a_reason_and_no_traceback(lake: Lake) -> None:
    recipes = {
        "first": Recipe("first", "1"),
        "second": Recipe("second", "1", inputs=lambda partition: (Artifact("first"),)),
        "third": Recipe("third", "1", inputs=lambda partition: (Artifact("second"),)),
    }
    for name in recipes:
        artifact = Artifact(name)
        write_numbers(lake, artifact, [("a", 1)], **Lineage(lake, recipes).expected(artifact, with_sources=False))
    assert Lineage(lake, recipes).stale(Artifact("third")) is None
    path = lake.path(Artifact("first"))
    assert isinstance(path, Path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DamagedArtifactError):
        Lineage(lake, recipes).require_inputs(Artifact("second"))
    assert "second lost an input: first is damaged (" in (Lineage(lake, recipes).stale(Artifact("third")) or "")


def test_a_footer_that_names_other_columns_is_damaged(lake: Lake) -> None:
    path = write_numbers(lake, ONE, [("a", 1)])
    content = path.read_bytes()
    for letter in (b"S", b"\xff"):
        path.write_bytes(content.replace(b"size", letter + b"ize", 1))
        with pytest.raises(DamagedArtifactError):
            lake.record(ONE)
