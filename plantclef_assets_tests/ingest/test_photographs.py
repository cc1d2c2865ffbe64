"""Raw shards: the bytes of photographs and plots as published, and what of them is no picture."""

import io
from pathlib import Path

import pytest
from PIL import Image

from plantclef_assets.ingest.photographs import PlotImages, RawImages, ReadingConfig
from plantclef_assets.lake.store import Artifact
from plantclef_assets.lake.tables import Shard
from plantclef_assets_tests.ingest.small_lake import SmallLake, csv_of

MAX_PIXELS = 10_000


def picture(width: int = 20, height: int = 10, form: str = "JPEG", orientation: int = 1) -> bytes:
    """Return the bytes of a grey picture."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "gray").save(buffer, form, exif=exif)
    return buffer.getvalue()


def read_raw(small: SmallLake, shard: str = "00") -> list[dict]:
    artifact = Artifact("raw_images", shard)
    RawImages(small.lake, str(small.images), str(small.cache), ReadingConfig(MAX_PIXELS))(Shard(artifact, {}))
    return small.lake.read(artifact).to_pylist()


def list_and_read(small: SmallLake, files: dict[str, bytes], shards: int = 1) -> list[dict]:
    small.write_files(files)
    small.read_csv(csv_of([(Path(name).name, 7) for name in files]))
    small.list_photographs(shards=shards)
    return read_raw(small)


def test_the_bytes_are_kept_as_published(small: SmallLake) -> None:
    files = {"7/a.jpg": picture(), "7/b.png": picture(form="PNG"), "7/c.jpg": picture() + b"trailing"}
    rows = list_and_read(small, files)
    assert {row["image_name"]: row["data"] for row in rows} == {Path(name).name: data for name, data in files.items()}
    assert [row["species_id"] for row in rows] == [7, 7, 7]


def test_a_shard_holds_its_part_of_the_manifest_only(small: SmallLake) -> None:
    files = {f"7/{number}.jpg": picture() for number in range(6)}
    first = list_and_read(small, files, shards=2)
    second = read_raw(small, "01")
    assert [row["image_name"] for row in first + second] == [f"{number}.jpg" for number in range(6)]
    assert len(first) == 3


def test_a_shard_without_photographs_is_an_empty_table(small: SmallLake) -> None:
    list_and_read(small, {"7/a.jpg": picture()}, shards=5)
    sizes = {shard: len(read_raw(small, shard)) for shard in ("00", "01", "02", "03", "04")}
    assert sum(sizes.values()) == 1
    assert sizes["00"] == 0
    assert small.quarantined("raw_images", "00") == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html>503 Service Unavailable</html>", "not_an_image"),
        (picture()[:40], "truncated"),
        (picture(200, 100), "oversized"),
    ],
)
def test_what_is_no_picture_is_set_aside_with_its_reason(small: SmallLake, content: bytes, reason: str) -> None:
    rows = list_and_read(small, {"7/a.jpg": picture(), "7/b.jpg": content, "7/c.jpg": picture()})
    assert [row["image_name"] for row in rows] == ["a.jpg", "c.jpg"]
    assert small.quarantined("raw_images", "00") == [("b.jpg", reason)]


def test_a_file_that_went_away_since_it_was_listed_is_set_aside(small: SmallLake) -> None:
    list_and_read(small, {"7/a.jpg": picture(), "7/b.jpg": picture()})
    (small.images / "7" / "a.jpg").unlink()
    assert [row["image_name"] for row in read_raw(small)] == ["b.jpg"]
    assert small.quarantined("raw_images", "00") == [("a.jpg", "unreadable")]
    assert small.details("raw_images", "00") == ["No such file or directory"]


def test_equal_files_give_equal_bytes(small: SmallLake) -> None:
    files = {"7/a.jpg": picture(), "7/b.jpg": b"no picture"}
    list_and_read(small, files)
    path = small.lake.path(Artifact("raw_images", "00"))
    before = path.read_bytes()
    path.unlink()
    read_raw(small)
    assert path.read_bytes() == before


def test_plots_have_their_upright_size(small: SmallLake) -> None:
    small.write_files({"P-1.jpg": picture(30, 20), "P-2.jpg": picture(30, 20, orientation=6), "P-3.jpg": b"text"})
    small.list_plots(shards=1)
    artifact = Artifact("plot_images", "00")
    PlotImages(small.lake, str(small.images), str(small.cache), ReadingConfig(MAX_PIXELS))(Shard(artifact, {}))
    rows = small.lake.read(artifact).to_pylist()
    assert [(row["plot_id"], row["width"], row["height"]) for row in rows] == [("P-1", 30, 20), ("P-2", 20, 30)]
    assert rows[1]["data"] == (small.images / "P-2.jpg").read_bytes()
    assert small.quarantined("plot_images", "00") == [("P-3", "not_an_image")]
