"""Verification: fingerprints of all rows and tensors are computed anew, in old lakes too."""

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from plantclef_assets.cli.lake import main
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.lake.corruptions import flip_bytes, flip_page, write_as_before_checksums

OwnLake = Callable[..., Settings]
CLASSIFIER = Artifact("classifier", "base_cls", "safetensors")
BACKBONE = Artifact("base_backbone", suffix="safetensors")
EMBEDDINGS = Artifact("base_embeddings", "01")


@pytest.fixture
def verify(own_lake: OwnLake, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Verify a copy of the tiny lake; return the exit code and the lines printed."""
    monkeypatch.setenv("PLANTCLEF_LAKE", own_lake().lake)

    def run(*assets: str) -> tuple[int, list[str]]:
        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
            code = main(["verify", *assets])
        return code, said.getvalue().splitlines()

    return run


def path_of(settings: Settings, artifact: Artifact) -> Path:
    path = Lake(settings.lake).path(artifact)
    assert isinstance(path, Path)
    return path


def test_a_lake_as_it_was_written_passes(own_lake: OwnLake, verify: Callable) -> None:
    lake = Path(own_lake().lake)
    names = ("*.parquet", "*.safetensors", "plot_report/index.html")
    files = [path for name in names for path in lake.rglob(name)]
    assert verify() == (0, [f"{len(files)} artifacts verified in {lake}; none damaged."])


def test_named_assets_alone_are_verified(own_lake: OwnLake, verify: Callable) -> None:
    settings = own_lake()
    flip_page(path_of(settings, EMBEDDINGS), "cls")
    # Three shards with their quarantine tables, and two classifiers.
    assert verify("resized_images", "classifier") == (0, [f"8 artifacts verified in {settings.lake}; none damaged."])
    code, lines = verify("resized_images", "base_embeddings")
    assert code == 1
    assert lines[-1] == f"12 artifacts verified in {settings.lake}; 1 damaged."


def test_an_asset_without_artifacts_is_told(own_lake: OwnLake, verify: Callable) -> None:
    code, lines = verify("resized_image")
    assert (code, lines[0]) == (1, f"{own_lake().lake} has no artifact of resized_image.")


@pytest.mark.parametrize("checksums", [True, False])
def test_flipped_pages_are_found_with_checksums_and_without(
    own_lake: OwnLake, verify: Callable, checksums: bool
) -> None:
    path = path_of(own_lake(), EMBEDDINGS)
    if not checksums:
        write_as_before_checksums(path)
        assert verify("base_embeddings")[0] == 0
    flip_page(path, "cls")
    code, (problem, summary) = verify("base_embeddings")
    assert code == 1
    assert problem.startswith("base_embeddings/01 is damaged (")
    assert problem.endswith(f"; delete {path} and materialize base_embeddings again")
    assert summary.endswith("; 1 damaged.")


def test_edited_rows_below_the_old_footer_are_found(own_lake: OwnLake, verify: Callable) -> None:
    settings = own_lake()
    artifact = Artifact("class_map")
    table = Lake(settings.lake).read(artifact)
    index = table.schema.get_field_index("images")
    edited = table.set_column(index, table.schema.field(index), pc.add(table.column("images"), 1).cast(pa.int64()))
    record = Lake(settings.lake).record(artifact)
    write_as_before_checksums(path_of(settings, artifact), edited)
    after = Lake(settings.lake).record(artifact)
    assert record and after and (after.fingerprint, after.provenance) == (record.fingerprint, record.provenance)
    code, lines = verify("class_map")
    assert code == 1
    assert lines[0].startswith("class_map is damaged (its rows are not those that were written); delete ")


@pytest.mark.parametrize("artifact", [CLASSIFIER, BACKBONE], ids=str)
def test_flipped_tensors_are_found(own_lake: OwnLake, verify: Callable, artifact: Artifact) -> None:
    path = path_of(own_lake(), artifact)
    flip_bytes(path, path.stat().st_size - 8)
    code, lines = verify(artifact.asset)
    assert code == 1
    assert lines[0].startswith(f"{path} is damaged: its tensors are not those that were written; delete it")


def test_edited_tensors_below_the_old_header_are_found(own_lake: OwnLake, verify: Callable) -> None:
    path = path_of(own_lake(), CLASSIFIER)
    with safe_open(path, framework="np") as file:
        header = file.metadata()
    arrays = load_file(path)
    arrays["bias"] = arrays["bias"] + 1
    save_file(arrays, path, metadata=header)
    assert verify("classifier")[0] == 1


def test_truncated_empty_and_changed_files_are_all_named(own_lake: OwnLake, verify: Callable) -> None:
    settings = own_lake()
    path_of(settings, EMBEDDINGS).write_bytes(b"")
    truncated = path_of(settings, Artifact("class_map"))
    truncated.write_bytes(truncated.read_bytes()[:-3])
    cover = Path(settings.lake, "species_cover", "00.csv")
    cover.write_text(cover.read_text().replace("1", "2"))
    code, lines = verify()
    assert code == 1
    assert [line.split(" is damaged (")[0] for line in lines[:-1]] == [
        "base_embeddings/01",
        "class_map",
        "species_cover/00",
    ]
    assert "(its sidecar 00.csv is missing or changed)" in lines[2]


def test_files_of_others_in_the_lake_are_left_out(own_lake: OwnLake, verify: Callable) -> None:
    settings = own_lake()
    _, before = verify()
    lake = Path(settings.lake)
    save_file({"a": load_file(lake / "classifier" / "base_cls.safetensors")["bias"]}, lake / "weights.safetensors")
    (lake / "notes.parquet").write_bytes(b"none of ours")
    assert verify() == (0, before)


def test_a_file_in_the_place_of_another_is_found(own_lake: OwnLake, verify: Callable) -> None:
    settings = own_lake()
    shutil.copy(path_of(settings, Artifact("raw_images", "00")), path_of(settings, Artifact("raw_images", "01")))
    code, lines = verify("raw_images")
    assert code == 1
    assert lines[0].startswith("raw_images/01 is damaged (it is the file of raw_images/00); delete ")


def test_a_table_that_another_program_wrote_is_found(own_lake: OwnLake, verify: Callable) -> None:
    settings = own_lake()
    path = path_of(settings, Artifact("class_map"))
    pq.write_table(pq.read_table(path).replace_schema_metadata(), path)
    Path(settings.lake, "own.parquet").write_bytes(path.read_bytes())
    shutil.copy(path_of(settings, Artifact("leaderboard")), Path(settings.lake, "leaderboard of May.parquet"))
    code, lines = verify()
    assert code == 1
    assert lines[0].startswith("class_map is damaged (it has no fingerprint, so another program wrote it); delete ")
    assert lines[-1].endswith("; 1 damaged.")


@pytest.mark.parametrize("letter", [b"x", b"\xff"])
def test_a_footer_that_contradicts_itself_is_named(own_lake: OwnLake, verify: Callable, letter: bytes) -> None:
    path = path_of(own_lake(), Artifact("class_map"))
    content = path.read_bytes()
    place = content.index(b"species_id")
    path.write_bytes(content[:place] + letter + content[place + 1 :])
    code, lines = verify("class_map")
    assert code == 1
    assert lines[0].startswith("class_map is damaged (") and len(lines) == 2


@pytest.mark.parametrize(
    ("artifact", "name"),
    [
        *((CLASSIFIER, name) for name in (b'"bias"', b"metrics", b"metadata")),
        *((BACKBONE, name) for name in (b'"norm.bias"', b"info", b"metadata", b"mean")),
    ],
    ids=str,
)
def test_a_flipped_header_of_tensors_is_named(
    own_lake: OwnLake, verify: Callable, artifact: Artifact, name: bytes
) -> None:
    path = path_of(own_lake(), artifact)
    content = path.read_bytes()
    assert name in content
    path.write_bytes(content.replace(name, name[:1] + b"x" + name[2:], 1))
    code, lines = verify(artifact.asset)
    assert code == 1
    assert str(path) in lines[0] and " is damaged" in lines[0] and len(lines) == 2
