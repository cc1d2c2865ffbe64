"""Paths are literal: the folder of a lake and of temporary files may have any name, and says nothing about the rows."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from plantclef_assets.ingest.sources import open_source
from plantclef_assets.lake.catalog import create_table, duplicate_keys, open_catalog
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets_tests.ingest.small_lake import SmallLake, csv_of
from plantclef_assets_tests.ingest.tars import write_tar
from plantclef_assets_tests.ingest.test_sources import read_all
from plantclef_assets_tests.lake.tables import write_numbers

NAMES = (
    "name=zzz/size=9",
    "partition=zzz",
    "filename=zzz",
    "survey[1]",
    "[!a-z]",
    "a*b",
    "**",
    "what?",
    "it's",
    'with "quotes"',
    "back\\slash",
    "\\[x]",
    "{a,b}",
    "50%20#1",
    "~",
    "$HOME; select 1 --",
    "line\nbreak",
    ".hidden[1]",
    "x:y, z",
    "Ünïcödé",
)
ONE, OTHER = Artifact("sizes", "00"), Artifact("sizes", "01")


def decoys(folder: Path) -> list[Path]:
    """Create sibling lakes with other rows whose names match the name when it is read as a pattern."""
    made = [folder / name for name in ("survey1", "b", "axb", "whatx", "a", "backslash", "x", "\\x")]
    for place in made:
        write_numbers(Lake(str(place)), ONE, [("of another lake", 0)])
    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_lake_holds_its_own_rows_in_any_folder(name: str, tmp_path: Path) -> None:
    decoys(tmp_path)
    lake = Lake(str(tmp_path / name))
    write_numbers(lake, ONE, [("a", 1), ("b", 2)])
    write_numbers(lake, OTHER, [("b", 3)])
    with open_catalog(lake) as catalog:
        rows = catalog.sql("select * from sizes order by all").fetchall()
    assert rows == [("a", 1, "00"), ("b", 2, "00"), ("b", 3, "01")]
    assert duplicate_keys(lake, [ONE, OTHER], ["name"]) == [(OTHER, {"name": "b", "copies": 2})]
    assert lake.read(ONE, filters=[("name", "=", "b")]).to_pylist() == [{"name": "b", "size": 2}]
    assert lake.open(ONE).read().column_names == ["name", "size"]
    record = lake.record(ONE)
    assert record and record.rows == 2


@pytest.mark.parametrize("name", ['quotes"', "it's", "a[b]", "x=y", "Sizes"])
def test_a_table_of_any_name_can_be_asked(name: str, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    write_numbers(lake, Artifact(name, "00"), [("a", 1)])
    quoted = name.replace('"', '""')
    with open_catalog(lake) as catalog:
        assert catalog.sql(f'select * from "{quoted}"').fetchall() == [("a", 1, "00")]


@pytest.mark.parametrize("name", NAMES)
def test_manifests_are_the_same_wherever_lake_sources_and_temporary_files_lie(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    for folder in (tmp_path / "plain", tmp_path / "other" / name):
        temporary = folder / "temporary"
        temporary.mkdir(parents=True)
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        small = SmallLake(folder)
        small.write_files({"7/a.jpg": bytes(10), "8/b.jpg": bytes(20)})
        small.read_csv(csv_of([("a.jpg", 7), ("b.jpg", 8), ("c.jpg", 8)]))
        listed.append((small.list_photographs(), small.quarantined("training_manifest"), small.read_classes()))
        listed[-1] += (small.list_plots(),)
        assert not list(temporary.iterdir())
    assert listed[0] == listed[1]
    assert len(listed[0][0]) == 2


@pytest.mark.parametrize("folder", ["license=cc0", "license=CC0 and others", "LICENSE=cc0"])
def test_the_folder_of_a_lake_grants_no_licence(folder: str, tmp_path: Path) -> None:
    small = SmallLake(tmp_path / folder)
    small.write_files({"a.jpg": bytes(10), "b.jpg": bytes(10)})
    small.read_csv("image_name,species_id,license\na.jpg,7,cc0\nb.jpg,7,cc-by-nc\n")
    assert [row["image_name"] for row in small.list_photographs(licenses=["cc0"])] == ["a.jpg"]
    assert small.quarantined("training_manifest") == [("b.jpg", "license")]


@pytest.mark.parametrize("folder", ["genus=Rosa", "family=Rosaceae", "species_id=7", "obs_id=1", "learn_tag=val"])
def test_the_folder_of_a_lake_names_no_species(folder: str, tmp_path: Path) -> None:
    small = SmallLake(tmp_path / folder)
    small.write_files({"a.jpg": bytes(10), "b.jpg": bytes(10)})
    small.read_csv(
        "image_name,species_id,genus,family,obs_id,learn_tag\na.jpg,1,Bellis,Asteraceae,x,train\nb.jpg,2,Poa,,y,\n"
    )
    classes = [(row["species_id"], row["genus"], row["family"]) for row in small.read_classes()]
    assert classes == [(1, "Bellis", "Asteraceae"), (2, "Poa", None)]
    rows = [(row["species_id"], row["obs_id"], row["learn_tag"]) for row in small.list_photographs()]
    assert rows == [(1, "x", "train"), (2, "y", None)]


@pytest.mark.parametrize("name", NAMES)
def test_archives_and_folders_are_read_wherever_they_and_the_cache_lie(name: str, tmp_path: Path) -> None:
    place, cache = tmp_path / name / "source", tmp_path / name / "cache"
    contents = {"7/a [1].jpg": b"one", "7/50%.jpg": b"two", "8/x#?*.jpg": b"three"}
    for path, content in contents.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
    assert read_all(open_source(str(place), cache)) == contents
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        tar = write_tar(tmp_path / name / f"a.{suffix}", contents, mode)
        assert read_all(open_source(str(tar), cache)) == contents


def test_errors_of_batches_stay_what_they_are() -> None:
    import duckdb

    def batches():
        yield pa.RecordBatch.from_pydict({"a": [1]})
        raise KeyError("of the reader")

    with duckdb.connect() as connection, pytest.raises(KeyError, match="of the reader"):
        create_table(connection, "numbers", pa.schema([("a", pa.int64())]), batches())
