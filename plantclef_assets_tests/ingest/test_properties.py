"""Properties of what is read from outside: no row disappears, and what cannot be read ends in an error of its own."""

import csv
import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantclef_assets.images.file_names import is_photograph, plot_id_of
from plantclef_assets.ingest.archives import list_members
from plantclef_assets.ingest.checkpoints import CheckpointError, checkpoint_files, has_classifier
from plantclef_assets.ingest.fetching import SourceError
from plantclef_assets.ingest.metadata import MetadataError, write_training_metadata
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets_tests.examples import damaged, few, fewest, fields
from plantclef_assets_tests.ingest.tars import add_member

COLUMNS = ["image_name", "species_id", "author", "latitude", "learn_tag"]
NAMES = st.sampled_from(["a.jpg", "b.jpg", "c.jpg", "", " "])
IDS = st.sampled_from(["1", "1355868", "0", "-3", "1.5", "9" * 30, "x", "1e3", ""])
ROWS = st.lists(st.tuples(NAMES | fields, IDS | fields, fields, fields, fields), max_size=12)


def metadata_of(content: bytes, folder: Path) -> tuple[list[dict], list[dict], dict]:
    """Write the table of a CSV; return its rows, its quarantine and its statistics."""
    file, artifact = folder / "metadata.csv", Artifact("training_metadata")
    file.write_bytes(content)
    lake = Lake(str(folder / "lake"))
    write_training_metadata(lake, Shard(artifact, {"asset": "training_metadata"}), file)
    record = lake.record(artifact)
    assert record is not None
    quarantine = lake.read(Artifact("quarantine/training_metadata")).to_pylist()
    return lake.read(artifact).to_pylist(), quarantine, dict(record.statistics)


@fewest
@given(rows=ROWS, delimiter=st.sampled_from([";", ","]), ending=st.sampled_from(["\n", "\r\n"]))
def test_each_row_of_metadata_is_written_or_quarantined(
    tmp_path: Path, rows: list[tuple[str, ...]], delimiter: str, ending: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=ending)
    writer.writerows([COLUMNS, *rows, ("kept.jpg", "1", "", "", "train")])
    written, quarantined, statistics = metadata_of(text.getvalue().encode(), tmp_path)
    assert len(written) + len(quarantined) == len(rows) + 1 == statistics["rows_in"]
    assert len(quarantined) == statistics["quarantined"]
    names = Counter(row["image_name"] for row in written)
    assert max(names.values()) == 1
    assert all(row["species_id"] >= 1 for row in written)


METADATA = b'"image_name";"species_id";"author"\n' + b"".join(b'"%d.jpg";"7";"Ann; Lee"\n' % one for one in range(6))


@fewest
@given(content=damaged(METADATA))
def test_damaged_metadata_is_read_or_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    try:
        written, quarantined, statistics = metadata_of(content, tmp_path)
    except MetadataError as error:
        assert str(tmp_path) in str(error)
    else:
        assert len(written) + len(quarantined) == statistics["rows_in"]


def archive_of(names: list[str], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for number, name in enumerate(names):
            add_member(archive, name, bytes([number]) * (number + 1))
    return stream.getvalue()


@few
@given(
    names=st.lists(
        st.sampled_from(["a.jpg", "b/c.jpg", "../d.jpg", "/e.jpg", "f.txt", "é" * 90 + ".jpg", ".g.jpg"]), max_size=6
    ),
    form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_each_photograph_of_an_archive_is_listed_or_refused(names: list[str], form: int) -> None:
    content = archive_of(names, form)
    members = list(list_members(io.BytesIO(content), len(content), "a.tar"))
    listed = [member.source for member in members if member.reason is None]
    assert len(members) == sum(is_photograph(name) or ".." in name for name in names)
    for member in members:
        if member.reason is None and member.offset is not None:
            number = names.index(member.source) if names.count(member.source) == 1 else None
            if number is not None:
                assert content[member.offset : member.offset + member.bytes] == bytes([number]) * (number + 1)
    assert not any(name.startswith("/") or ".." in name for name in listed)


@few
@given(content=damaged(archive_of(["a.jpg", "b.jpg", "é" * 90 + ".jpg", "c.jpg"], tarfile.PAX_FORMAT)))
def test_a_damaged_archive_is_listed_or_is_a_sentence(content: bytes) -> None:
    try:
        members = list(list_members(io.BytesIO(content), len(content), "a.tar"))
    except SourceError as error:
        assert "a.tar" in str(error)
    else:
        assert all(0 <= (member.offset or 0) <= len(content) for member in members)


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    """A small file of weights in the safetensors format."""
    import numpy as np
    from safetensors.numpy import save

    return save({"head.weight": np.zeros((2, 3), np.float32), "head.bias": np.zeros(2, np.float32)})


@few
@given(data=st.data())
def test_a_damaged_checkpoint_is_read_or_is_a_sentence(tmp_path: Path, checkpoint: bytes, data: st.DataObject) -> None:
    path = tmp_path / data.draw(st.sampled_from(["w.safetensors", "w.pth", "w.pth.tar", "w.tar"]))
    whole = data.draw(
        st.sampled_from([checkpoint, archive_of(["class_mapping.txt", "model_best.pth.tar"], tarfile.GNU_FORMAT)])
    )
    path.write_bytes(data.draw(damaged(whole)))
    try:
        has_classifier(path, class_list_given=True)
        found = checkpoint_files(path, tmp_path / "cache")
    except CheckpointError as error:
        assert str(path) in str(error)
    else:
        assert found.weights.is_file()


@few
@given(name=st.text(max_size=30))
def test_the_name_of_a_plot_is_normal_and_stays_so(name: str) -> None:
    plot = plot_id_of(name)
    assert plot == plot.strip()
    assert "/" not in plot and "\\" not in plot
    assert plot_id_of(f"folder/{plot}.jpg") == plot
