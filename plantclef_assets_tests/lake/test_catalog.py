"""The catalog: the whole lake as DuckDB views, and questions asked of it on the command line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.lake.catalog import duplicate_keys, open_catalog
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import write_quarantine, write_table
from plantclef_assets.settings import Settings
from plantclef_assets_tests.lake.tables import VECTORS, vectors, write_numbers


def rows(lake: Lake, question: str) -> list[tuple]:
    with open_catalog(lake) as catalog:
        return catalog.sql(question).fetchall()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_an_asset_with_partitions_is_one_view_that_names_them(lake: Lake) -> None:
    write_numbers(lake, Artifact("sizes", "00"), [("a", 1)])
    write_numbers(lake, Artifact("sizes", "01"), [("b", 2), ("c", None)])
    assert rows(lake, "select * from sizes order by name") == [("a", 1, "00"), ("b", 2, "01"), ("c", None, "01")]


def test_an_asset_without_partitions_is_a_view_of_its_own_columns(lake: Lake) -> None:
    write_numbers(lake, Artifact("sizes"), [("a", 1)])
    assert rows(lake, "select * from sizes") == [("a", 1)]


def test_the_quarantine_of_all_assets_is_one_view(lake: Lake) -> None:
    finding = {"source": "x.jpg", "image_name": "x", "reason": "empty", "detail": None}
    for artifact in (Artifact("raw_images", "00"), Artifact("raw_images", "01"), Artifact("training_metadata")):
        write_quarantine(lake, artifact, [finding])
    counted = rows(lake, "select asset, reason, count(*) from quarantine group by all order by all")
    assert counted == [("raw_images", "empty", 2), ("training_metadata", "empty", 1)]


def test_vectors_are_arrays_of_floats(lake: Lake) -> None:
    with write_table(lake, Artifact("embedded", "00"), VECTORS, {}, widths={"cls": 3}) as table:
        table.write_rows(**vectors([1.0, 2.0, 2.0], [0.0, 3.0, 4.0]))
    question = "select typeof(cls), sqrt(list_sum([x * x for x in cls])) from embedded order by name"
    found = rows(lake, question)
    assert [norm for _, norm in found] == pytest.approx([3.0, 5.0])
    assert {kind for kind, _ in found} <= {"FLOAT[]", "FLOAT[3]"}


def test_every_table_of_a_real_lake_can_be_asked(tiny_lake: Settings) -> None:
    lake = Lake(tiny_lake.lake)
    assert rows(lake, "select count(*) from raw_images join base_embeddings using (image_name)") == [(48,)]
    assert rows(lake, "select count(*) from tile_predictions join class_map using (species_id)")[0][0] > 0
    (widths,) = rows(lake, "select min(len(cls)), max(len(cls)), min(len(dct)), max(len(dct)) from base_embeddings")
    assert widths[0] == widths[1]
    assert widths[2:] == (64, 64)
    views = {name for (name,) in rows(lake, "select view_name from duckdb_views() where not internal")}
    assert views >= {"training_manifest", "quarantine", "submission", "leaderboard", "base_tile_embeddings"}


def test_what_is_not_published_is_not_seen(lake: Lake) -> None:
    path = write_numbers(lake, Artifact("sizes", "00"), [("a", 1)])
    path.with_name(".01.parquet.host-1-0123abcd.incomplete").write_bytes(b"half")
    path.with_name(".hidden.parquet").write_bytes(b"half")
    assert rows(lake, "select count(*) from sizes") == [(1,)]


def test_an_empty_or_absent_lake_has_no_views(lake: Lake) -> None:
    question = "select count(*) from duckdb_views() where not internal"
    assert rows(lake, question) == [(0,)]
    Path(lake.root).mkdir()
    assert rows(lake, question) == [(0,)]


def test_duplicate_keys_are_found_within_and_across_files(lake: Lake) -> None:
    one, other = Artifact("sizes", "00"), Artifact("sizes", "01")
    write_numbers(lake, one, [("a", 1), ("b", 2), ("b", 3)])
    write_numbers(lake, other, [("c", 1), ("a", 9)])
    assert duplicate_keys(lake, [one, other], ["name"]) == [
        (other, {"name": "a", "copies": 2}),
        (one, {"name": "b", "copies": 2}),
    ]
    assert duplicate_keys(lake, [one, other], ["name", "size"]) == []
    assert duplicate_keys(lake, [], ["name"]) == []


def ask(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLANTCLEF_")}
    return subprocess.run(
        [sys.executable, "-m", "plantclef_assets.lake", *arguments],
        env=outside | {"PLANTCLEF_LAKE": settings.lake, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_question_on_the_command_line_is_answered(tiny_lake: Settings) -> None:
    answer = ask(tiny_lake, "select species_id, images from class_map order by species_id")
    assert (answer.returncode, answer.stderr) == (0, "")
    for species_id in (1000001, 1000002, 1000003):
        assert str(species_id) in answer.stdout
    assert "images" in answer.stdout


def test_without_a_question_the_tables_are_listed(tiny_lake: Settings) -> None:
    answer = ask(tiny_lake)
    assert answer.returncode == 0
    for name in ("class_map", "tile_predictions", "quarantine", "gbif_species_id"):
        assert name in answer.stdout


@pytest.mark.parametrize(
    ("question", "said"), [("select * from no_such_table", "no_such_table"), ("selekt 1", "selekt")]
)
def test_a_wrong_question_is_one_message(tiny_lake: Settings, question: str, said: str) -> None:
    answer = ask(tiny_lake, question)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_question_about_other_tables_than_a_damaged_one_is_answered(own_lake: Callable[[], Settings]) -> None:
    settings = own_lake()
    damaged = Path(settings.lake, "raw_images", "01.parquet")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    answer = ask(settings, "select count(*) as species from class_map")
    assert (answer.returncode, "│       3 │" in answer.stdout) == (0, True)
    (said,) = answer.stderr.splitlines()
    assert said.startswith("There is no table raw_images: raw_images/01 is damaged (")
    assert said.endswith(f"; delete {damaged} and materialize raw_images again")
    assert ask(settings, "select * from raw_images").returncode == 1


@pytest.mark.parametrize("arguments", [("select", "1"), ("clean", "raw_images"), ("verify", "--delete")])
def test_words_that_do_not_go_together_are_refused(tiny_lake: Settings, arguments: tuple[str, ...]) -> None:
    answer = ask(tiny_lake, *arguments)
    assert answer.returncode == 2
    assert "error: " in answer.stderr


def test_wrong_settings_are_one_sentence_there_too(tiny_lake: Settings) -> None:
    answer = ask(tiny_lake.model_copy(update={"lake": "s3://bucket/lake"}), "select 1")
    assert answer.returncode == 1
    assert answer.stderr.startswith("PLANTCLEF_LAKE: ")
    assert len(answer.stderr.strip().splitlines()) == 1
