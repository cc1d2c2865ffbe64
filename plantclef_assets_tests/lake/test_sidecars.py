"""Files beside a table: it knows those that were made with it, in a folder and in a bucket."""

from pathlib import Path

import pytest

from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.sidecars import mismatched_sidecar, publish_sidecars
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.lake.tables import write_table
from plantclef_assets_tests.lake.tables import NUMBERS

ONE = Artifact("sizes", "00")
RECIPE = Recipe(
    "sizes",
    "1",
    partitions=("00",),
    beside=lambda lake, artifact: tuple(lake.path(artifact).with_suffix(suffix) for suffix in (".csv", ".json")),
)


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.gcs)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    root = tmp_path / "lake" if request.param == "folder" else request.getfixturevalue("bucket")
    return Lake(str(root), str(tmp_path / "cache"))


def make(lake: Lake, csv: bytes) -> dict:
    """Make the artifact with two files beside it, and return its provenance."""
    provenance = Lineage(lake, {"sizes": RECIPE}).expected(ONE, with_sources=True)
    table, json = RECIPE.beside(lake, ONE)
    beside = publish_sidecars(lake, {table: csv, json: b"{}"})
    with write_table(lake, ONE, NUMBERS, provenance) as writer:
        writer.write_rows(name=["a"], size=[1])
        writer.statistics = beside
    return provenance


def record_of(lake: Lake) -> Record:
    record = lake.record(ONE)
    assert record is not None
    return record


def test_its_own_files_are_known(lake: Lake) -> None:
    provenance = make(lake, b"of this run\n")
    lineage = Lineage(lake, {"sizes": RECIPE})
    assert mismatched_sidecar(lake, ONE, record_of(lake)) is None
    assert lineage.is_current(ONE, provenance)
    assert lineage.stale(ONE, with_sources=True) is None


def test_a_file_of_another_run_is_told_and_made_again(lake: Lake) -> None:
    provenance = make(lake, b"of this run\n")
    publish_sidecars(lake, {RECIPE.beside(lake, ONE)[0]: b"of another\n"})
    lineage = Lineage(lake, {"sizes": RECIPE})
    assert mismatched_sidecar(lake, ONE, record_of(lake)) == "00.csv"
    assert not lineage.is_current(ONE, provenance)
    assert lineage.stale(ONE) is None, "what is made from the table has not read it"
    assert lineage.stale(ONE, with_sources=True) == "sizes/00 was made with a different version of its sidecar 00.csv"
    make(lake, b"of this run\n")
    assert Lineage(lake, {"sizes": RECIPE}).is_current(ONE, provenance)


def test_a_file_that_is_missing_is_told(lake: Lake) -> None:
    provenance = make(lake, b"of this run\n")
    RECIPE.beside(lake, ONE)[1].unlink()
    assert mismatched_sidecar(lake, ONE, record_of(lake)) == "00.json"
    assert not Lineage(lake, {"sizes": RECIPE}).is_current(ONE, provenance)


def test_a_table_that_knows_no_checksums_is_as_good_as_before(lake: Lake) -> None:
    """Lakes that were made before tables knew them stay as they are."""
    make(lake, b"of this run\n")
    with write_table(lake, ONE, NUMBERS, record_of(lake).provenance) as writer:
        writer.write_rows(name=["a"], size=[1])
    assert Lineage(lake, {"sizes": RECIPE}).is_current(ONE, record_of(lake).provenance)
