"""Manifests: which photographs there are, in which order, and which shard each belongs to."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from plantclef_assets.ingest import manifests, sources
from plantclef_assets.ingest.fetching import SourceError
from plantclef_assets.ingest.sources import LISTING, ImageSource
from plantclef_assets.lake.store import Artifact
from plantclef_assets_tests.ingest.small_lake import SmallLake, csv_of

THUMBNAILS = [
    "@eaDir/UPPER.JPG/SYNOPHOTO_THUMB_XL.jpg",
    "7/.thumbnails/t.jpg",
    "__MACOSX/7/a.jpg",
    "Thumbnails/a.jpg",
    "$RECYCLE.BIN/b.jpg",
    "win\\__MACOSX\\a.jpg",
]


def fill(small: SmallLake, sizes: dict[str, int], species: int = 7) -> None:
    """Write files of the given sizes in bytes, with a metadata row for each."""
    small.write_files({name: bytes(size) for name, size in sizes.items()})
    small.read_csv(csv_of([(Path(name).name, species) for name in sizes]))


def test_photographs_are_ordered_by_path(small: SmallLake) -> None:
    fill(small, {"val/7/c.jpg": 10, "train/7/z.jpg": 10, "train/7/a.jpg": 10, "b.jpg": 10, "train/7/B.jpg": 10})
    rows = small.list_photographs()
    assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)
    assert [row["image_name"] for row in rows] == ["b.jpg", "B.jpg", "a.jpg", "z.jpg", "c.jpg"]


def test_shards_are_runs_of_the_order(small: SmallLake) -> None:
    fill(small, {f"7/{number:02}.jpg": 100 for number in range(12)})
    rows = small.list_photographs(shards=3)
    assert [row["shard"] for row in rows] == ["00"] * 4 + ["01"] * 4 + ["02"] * 4


@pytest.mark.parametrize("seed", range(5))
def test_shards_have_equal_bytes_to_within_one_photograph(small: SmallLake, seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = {f"7/{number:03}.jpg": int(size) for number, size in enumerate(random.integers(1, 3000, 200))}
    fill(small, sizes)
    rows = small.list_photographs(shards=7)
    shards = [row["shard"] for row in rows]
    assert shards == sorted(shards), "a shard is a run of neighbours"
    for shard in range(7):
        held = sum(row["bytes"] for row in rows if row["shard"] == f"{shard:02}")
        assert abs(held - sum(sizes.values()) / 7) <= max(sizes.values())


@pytest.mark.parametrize("rows_at_once", [1, 7, 64])
def test_shards_do_not_depend_on_how_many_rows_come_at_once(
    small: SmallLake, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    sizes = {f"7/{number:03}.jpg": number * number % 997 for number in range(150)}
    fill(small, sizes)
    small.write_files({f"8/{number:03}-unknown.jpg": b"x" for number in range(20)})
    whole, findings = small.list_photographs(shards=5), small.quarantined("training_manifest")
    monkeypatch.setattr(manifests, "_ROWS_AT_ONCE", rows_at_once)
    monkeypatch.setattr(sources, "_ROWS_AT_ONCE", rows_at_once)
    assert small.list_photographs(shards=5) == whole
    assert small.quarantined("training_manifest") == findings
    assert len(findings) == 20


def test_sorting_and_joining_go_on_beyond_the_memory_that_is_allowed(
    small: SmallLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"{number:050}.jpg", 7) for number in range(60_000)]
    small.read_csv(csv_of(rows))
    monkeypatch.setattr(manifests, "MEMORY_LIMIT", "40MB")
    monkeypatch.setattr(
        ImageSource,
        "listing",
        lambda self: (
            pa.RecordBatch.from_pylist(
                [{"source": f"7/{name}", "bytes": 100} for name, _ in reversed(rows[start : start + 10_000])], LISTING
            )
            for start in range(0, len(rows), 10_000)
        ),
    )
    small.images.mkdir()
    listed = small.list_photographs(shards=3)
    assert [row["image_name"] for row in listed] == [name for name, _ in rows]
    assert [row["shard"] for row in listed].count("01") == 20_000


def test_the_same_files_give_the_same_shards_wherever_they_lie(small: SmallLake, tmp_path: Path) -> None:
    sizes = {f"7/{number}.jpg": 100 + number * 7 for number in range(30)}
    fill(small, sizes)
    other = SmallLake(tmp_path / "elsewhere")
    other.root.mkdir()
    fill(other, dict(reversed(sizes.items())))
    assert small.list_photographs(shards=4) == other.list_photographs(shards=4)
    assert small.source.digest() == other.source.digest()


def test_with_more_shards_than_photographs_some_are_empty(small: SmallLake) -> None:
    fill(small, {"7/a.jpg": 10, "7/b.jpg": 10, "7/c.jpg": 10})
    rows = small.list_photographs(shards=150)
    keys = [row["shard"] for row in rows]
    assert len(set(keys)) == 3
    assert keys == sorted(keys)
    assert all(len(key) == 3 and 0 <= int(key) < 150 for key in keys)


def test_one_photograph_in_one_shard(small: SmallLake) -> None:
    fill(small, {"7/a.jpg": 10})
    assert [row["shard"] for row in small.list_photographs(shards=1)] == ["00"]


def test_files_without_bytes_are_cut_too(small: SmallLake) -> None:
    fill(small, {"7/a.jpg": 0, "7/b.jpg": 0})
    assert len(small.list_photographs(shards=3)) == 2


def test_hidden_and_foreign_files_are_left_alone(small: SmallLake) -> None:
    fill(small, {"7/a.jpg": 10, "7/b.JPEG": 10, "7/c.png": 10})
    small.write_files(
        {"7/.a.jpg": b"x", ".cache/7/d.jpg": b"x", "7/notes.txt": b"x", "7/Thumbs.db": b"x", "__MACOSX/._a.jpg": b"x"}
    )
    small.write_files(dict.fromkeys(THUMBNAILS, b"x"))
    digest = small.source.digest()
    for name in THUMBNAILS:
        (small.images / name).unlink()
    assert small.source.digest() == digest
    small.write_files(dict.fromkeys(THUMBNAILS, b"x"))
    assert [row["image_name"] for row in small.list_photographs()] == ["a.jpg", "b.JPEG", "c.png"]
    assert small.quarantined("training_manifest") == []
    assert small.statistics("training_manifest")["rows_in"] == 3


def test_a_name_in_two_folders_is_used_once(small: SmallLake) -> None:
    fill(small, {"train/7/a.jpg": 10})
    small.write_files({"val/7/a.jpg": bytes(20)})
    (row,) = small.list_photographs()
    assert (row["source"], row["bytes"]) == ("train/7/a.jpg", 10)
    assert small.quarantined("training_manifest") == [("a.jpg", "duplicate_name")]
    figures = small.statistics("training_manifest")
    assert (figures["rows_in"], figures["rows"], figures["quarantined"]) == (2, 1, 1)


def test_a_photograph_that_no_row_names_is_set_aside(small: SmallLake) -> None:
    fill(small, {"7/a.jpg": 10})
    small.write_files({"7/unknown.jpg": bytes(10)})
    assert [row["image_name"] for row in small.list_photographs()] == ["a.jpg"]
    assert small.quarantined("training_manifest") == [("unknown.jpg", "not_in_metadata")]


def test_a_row_without_photograph_is_told_but_is_no_photograph_that_was_lost(small: SmallLake) -> None:
    fill(small, {"7/a.jpg": 10})
    small.read_csv(csv_of([("a.jpg", 7), ("absent.jpg", 7)]))
    assert len(small.list_photographs()) == 1
    assert small.quarantined("training_manifest") == [("absent.jpg", "no_image")]
    figures = small.statistics("training_manifest")
    assert (figures["rows_in"], figures["quarantined"], figures["without_image"]) == (1, 0, 1)


def test_a_photograph_in_the_folder_of_another_species_is_set_aside(small: SmallLake) -> None:
    small.write_files({"train/7/a.jpg": bytes(10), "train/8/b.jpg": bytes(10)})
    small.read_csv(csv_of([("a.jpg", 7), ("b.jpg", 7), ("c.jpg", 8)]))
    assert [row["image_name"] for row in small.list_photographs()] == ["a.jpg"]
    assert ("b.jpg", "label_mismatch") in small.quarantined("training_manifest")
    assert "lies in folder 8, but is of species 7" in small.details("training_manifest")


def test_folders_that_are_not_named_by_species_say_nothing_of_labels(small: SmallLake) -> None:
    fill(small, {"a.jpg": 10, "alps/b.jpg": 10, "2023/c.jpg": 10, "2023/12/d.jpg": 10})
    assert len(small.list_photographs()) == 4, "2023 and 12 are no species of the metadata, but a year and a month"
    assert small.quarantined("training_manifest") == []


def test_labels_and_tags_come_from_the_metadata(small: SmallLake) -> None:
    small.write_files({"train/7/a.jpg": bytes(10)})
    small.read_csv("image_name;species_id;obs_id;organ;learn_tag\na.jpg;7;o1;leaf;val\n")
    (row,) = small.list_photographs(shards=1)
    assert {name: row[name] for name in ("species_id", "obs_id", "organ", "learn_tag")} == {
        "species_id": 7, "obs_id": "o1", "organ": "leaf", "learn_tag": "val"
    }  # fmt: skip


def test_plots_are_named_by_their_files(small: SmallLake) -> None:
    small.write_files({"2024/CBN-PdlC-A1-20130807.jpg": bytes(10), "RNNB-1.2-3.png": bytes(10), "it's one.jpg": b"1"})
    rows = small.list_plots()
    assert [row["plot_id"] for row in rows] == ["CBN-PdlC-A1-20130807", "RNNB-1.2-3", "it's one"]
    assert rows[0]["source"] == "2024/CBN-PdlC-A1-20130807.jpg"


def test_a_plot_name_in_two_files_is_used_once(small: SmallLake) -> None:
    small.write_files({"a/P-1.jpg": bytes(10), "b/P-1.png": bytes(10), "b/P-2.jpg": bytes(10)})
    assert [row["source"] for row in small.list_plots()] == ["a/P-1.jpg", "b/P-2.jpg"]
    assert small.quarantined("plot_manifest") == [("P-1", "duplicate_name")]
    figures = small.statistics("plot_manifest")
    assert (figures["rows_in"], figures["rows"], figures["quarantined"]) == (3, 2, 1)


PLOT_NAMES = {
    "north; wet-20240501.jpg": "north; wet-20240501",
    "two\nlines.jpg": "two\nlines",
    " B1-20240501.jpg": "B1-20240501",
    "B2 .jpg": "B2",
    "win\\dir\\A1.jpg": "A1",
    "scan.tif.jpg": "scan.tif",
    "IMG_1.JPG.jpg": "IMG_1.JPG",
    "IMG_1.jpg": "IMG_1",
    "cafe\u0301.jpg": "caf\u00e9",
    "site=1.png": "site=1",
    "x.jfif": "x",
    "y.JPE": "y",
}


def test_plots_are_named_in_one_normal_form(small: SmallLake) -> None:
    small.write_files(dict.fromkeys(PLOT_NAMES, b"x"))
    assert {row["source"]: row["plot_id"] for row in small.list_plots()} == PLOT_NAMES
    assert small.quarantined("plot_manifest") == []
    assert small.statistics("plot_manifest")["unused"] == []


def test_names_that_only_look_different_are_one_plot(small: SmallLake) -> None:
    small.write_files(dict.fromkeys(["caf\u00e9.jpg", "cafe\u0301.png", " A.jpg", "A.jpg", " .jpg"], b"x"))
    assert [row["plot_id"] for row in small.list_plots()] == ["A", "caf\u00e9"]
    assert sorted(reason for _, reason in small.quarantined("plot_manifest")) == ["duplicate_name"] * 2 + ["no_name"]


@pytest.mark.parametrize("name", ["photographs\\a.jpg", "train\\7\\a.jpg"])
def test_photographs_with_backslashes_in_their_names_are_found_by_the_last_part(small: SmallLake, name: str) -> None:
    small.write_files({name: b"x"})
    small.read_csv(csv_of([("a.jpg", 7)]))
    (row,) = small.list_photographs()
    assert (row["image_name"], row["source"]) == ("a.jpg", name)


def test_the_folder_of_a_species_is_found_behind_backslashes(small: SmallLake) -> None:
    small.write_files({"train\\7\\a.jpg": b"x", "train\\7\\b.jpg": b"x"})
    small.read_csv(csv_of([("a.jpg", 8), ("b.jpg", 7)]))
    assert [row["image_name"] for row in small.list_photographs()] == ["b.jpg"]
    assert ("a.jpg", "label_mismatch") in small.quarantined("training_manifest")


UNREAD = ["ph.heic", "IMG.HEIF", "av.avif", "ra.CR2", "r.dng", "plots2.zip", "a.mov", "p.7z", "sub/q.jxl"]


def test_files_that_may_hold_photographs_but_are_not_read_are_told(small: SmallLake) -> None:
    small.write_files(dict.fromkeys([*UNREAD, "a.jpg", "notes.txt", "list.csv"], b"x"))
    assert [row["plot_id"] for row in small.list_plots()] == ["a"]
    rows = small.lake.read(Artifact("quarantine/plot_manifest")).to_pylist()
    assert sorted(row["source"] for row in rows) == sorted(UNREAD)
    assert {row["reason"] for row in rows} == {"unsupported"}
    details = {row["source"]: row["detail"] for row in rows}
    assert "convert it to JPEG, for example with `heif-convert" in details["ph.heic"]
    assert "unpack it" in details["plots2.zip"]
    unused = small.statistics("plot_manifest")["unused"]
    assert {"ending": ".cr2", "reason": "unsupported", "files": 1} in unused
    assert sum(one["files"] for one in unused) == len(UNREAD)
    small.read_csv(csv_of([("a.jpg", 7)]))
    small.list_photographs()
    assert small.statistics("training_manifest")["unused"] == unused


def test_a_file_that_is_not_read_belongs_to_what_the_source_is_known_by(small: SmallLake) -> None:
    small.write_files({"a.jpg": b"x"})
    before = small.source.digest()
    small.write_files({"b.heic": b"x"})
    assert small.source.digest() != before


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "Files there: none."),
        ({"photos.zip": b"x", "notes.txt": b"x", "b.txt": b"x"}, "Files there: 2 .txt, 1 .zip. photos.zip: a packed"),
        ({"a.HEIC": b"x"}, "Files there: 1 .heic. a.HEIC: a HEIC picture, which is not read; convert it to JPEG"),
        ({"@eaDir/a.jpg": b"x", ".b.jpg": b"x"}, "Files there: none."),
        ({"README": b"x"}, "Files there: 1 without ending."),
    ],
)
def test_a_folder_without_photographs_is_refused_with_what_lies_there(
    small: SmallLake, files: dict[str, bytes], said: str
) -> None:
    small.images.mkdir()
    small.write_files(files)
    small.read_csv(csv_of([("a.jpg", 7)]))
    for listed, setting in ((small.list_plots, "PLOT"), (small.list_photographs, "TRAINING")):
        with pytest.raises(SourceError) as refusal:
            listed()
        assert str(refusal.value).startswith(f"PLANTCLEF_{setting}_IMAGES: '{small.images}' has no photograph")
        assert "set a folder or an archive with photographs" in str(refusal.value)
        assert said in str(refusal.value)


def test_the_digest_of_a_folder_knows_names_and_sizes(small: SmallLake) -> None:
    small.write_files({"7/a.jpg": b"one", "7/b.jpg": b"two"})
    digests = [small.source.digest()]
    for change in ({"7/notes.txt": b"x"}, {"7/a.jpg": b"other"}, {"7/c.jpg": b""}):
        small.write_files(change)
        digests.append(small.source.digest())
    (small.images / "7" / "c.jpg").rename(small.images / "7" / "d.jpg")
    digests.append(small.source.digest())
    assert digests[0] == digests[1], "a foreign file is none of the photographs"
    assert all(one != other for one, other in pairwise(digests[1:]))


def test_a_link_that_leads_nowhere_stops_nothing(small: SmallLake) -> None:
    fill(small, {"7/a.jpg": 10})
    (small.images / "7" / "lost.jpg").symlink_to(small.root / "nowhere.jpg")
    assert [row["image_name"] for row in small.list_photographs() if row["bytes"]] == ["a.jpg"]
    assert len(small.source.digest()) == 32


def test_a_name_that_is_no_unicode_stops_nothing(small: SmallLake) -> None:
    fill(small, {"7/a.jpg": 10})
    try:
        (small.images / "7" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert [row["image_name"] for row in small.list_photographs()] == ["a.jpg"]
    assert [reason for _, reason in small.quarantined("training_manifest")] == ["unreadable_name"]
    assert [row["plot_id"] for row in small.list_plots()] == ["a"]
    assert [reason for _, reason in small.quarantined("plot_manifest")] == ["unreadable_name"]
    assert len(small.source.digest()) == 32


def test_folders_behind_links_are_looked_into(small: SmallLake) -> None:
    fill(small, {"7/a.jpg": 10})
    real = small.root / "disk2"
    (small.images / "7").rename(real)
    (small.images / "7").symlink_to(real, target_is_directory=True)
    assert [row["source"] for batch in small.source.listing() for row in batch.to_pylist()] == ["7/a.jpg"]
