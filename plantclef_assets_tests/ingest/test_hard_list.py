"""The hard list: every kind of bad input through the real chain; each ends as documented and none stops a shard."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import (
    failed_checks,
    materialize,
    materialized,
    metadata_row,
    save_picture,
    tiny_settings,
    write_metadata,
)

SPECIES = 1000001
GOOD = [f"good{number}.jpg" for number in range(6)]
CONVERTED = ["cmyk.jpg", "deep.png", "rotated.jpg"]
SHARDS = ("00", "01", "02")


def write_hard_survey(folder: Path, survey: Path) -> Settings:
    """Write good photographs and one of each bad kind; the rest of the settings are the tiny survey's."""
    random = np.random.default_rng(3)
    images = folder / "images" / "train" / str(SPECIES)
    for name in (*GOOD, "truncated.jpg", "unnamed.jpg", "twice.jpg"):
        save_picture(images / name, random, [(200, 60, 60), (60, 60, 200)], 80)
    whole = (images / "truncated.jpg").read_bytes()
    (images / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "empty.jpg").write_bytes(b"")
    (images / "text.jpg").write_text("<html>404</html>")
    Image.new("CMYK", (60, 50), (0, 255, 255, 0)).save(images / "cmyk.jpg", quality=95)
    levels = np.full((50, 60), 40_000, np.uint16)
    Image.fromarray(levels).save(images / "deep.png")
    _save_rotated(images / "rotated.jpg")
    save_picture(folder / "images" / "val" / str(SPECIES) / "twice.jpg", random, [(0, 0, 0)], 80)
    named = [*GOOD, *CONVERTED, "truncated.jpg", "empty.jpg", "text.jpg", "absent.jpg", "twice.jpg", GOOD[0]]
    rows = [metadata_row(name, SPECIES, "train", f"{SPECIES}{place}") for place, name in enumerate(named)]
    write_metadata(folder / "metadata.csv", rows)
    return tiny_settings(
        survey,
        folder / "lake",
        training_metadata=str(folder / "metadata.csv"),
        training_images=str(folder / "images"),
    )


def _save_rotated(path: Path) -> None:
    """Save a picture whose upper half is white, stored lying on its side as a camera does (EXIF orientation 6)."""
    upright = np.zeros((60, 60, 3), np.uint8)
    upright[:30] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90).save(path, quality=95, exif=exif)


@pytest.fixture(scope="module")
def hard(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a lake into which the hard list went, up to resized_images; no shard is stopped."""
    settings = write_hard_survey(tmp_path_factory.mktemp("hard"), tiny_survey)
    sources = materialize(settings, "training_metadata,class_map,training_manifest")
    assert sources.success
    assert ("training_manifest", "photographs_found") in failed_checks(sources)
    shards = materialize(settings, "raw_images,resized_images", first="00", last="02")
    assert shards.success
    assert materialized(shards) == {"raw_images", "resized_images"}
    return settings


def pixels(settings: Settings, name: str) -> np.ndarray:
    """Return the pixels of a resized photograph, after a look at its size."""
    with open_catalog(Lake(settings.lake)) as catalog:
        ((data,),) = catalog.execute("select data from resized_images where image_name = ?", [name]).fetchall()
    with Image.open(io.BytesIO(data)) as image:
        assert (image.mode, image.size, image.format) == ("RGB", (48, 48), "JPEG")
        return np.asarray(image).astype(int)


def test_every_photograph_ends_as_documented(hard: Settings) -> None:
    with open_catalog(Lake(hard.lake)) as catalog:
        resized = {name for (name,) in catalog.sql("select image_name from resized_images").fetchall()}
        set_aside = catalog.sql("select image_name, reason from quarantine order by all").fetchall()
    assert resized == {*GOOD, *CONVERTED, "twice.jpg"}
    assert set_aside == [
        ("absent.jpg", "no_image"),
        ("empty.jpg", "empty"),
        (GOOD[0], "duplicate_name"),  # of two metadata rows
        ("text.jpg", "not_an_image"),
        ("truncated.jpg", "truncated"),
        ("twice.jpg", "duplicate_name"),  # of two files
        ("unnamed.jpg", "not_in_metadata"),
    ]


def test_a_cmyk_photograph_keeps_its_colour(hard: Settings) -> None:
    red, green, blue = pixels(hard, "cmyk.jpg").mean(axis=(0, 1))
    assert red > 200
    assert green < 60
    assert blue < 60


def test_a_16_bit_photograph_keeps_its_level(hard: Settings) -> None:
    assert abs(pixels(hard, "deep.png").mean() - 40_000 / 257) < 3


def test_a_rotated_photograph_is_upright(hard: Settings) -> None:
    seen = pixels(hard, "rotated.jpg")
    assert seen[:20].mean() > 240
    assert seen[28:].mean() < 15


def test_of_two_files_of_one_name_the_first_is_used(hard: Settings) -> None:
    assert pixels(hard, "twice.jpg").mean() > 60, "the second one is black"


def test_rows_in_are_rows_out_and_rows_quarantined(hard: Settings) -> None:
    lake = Lake(hard.lake)
    single = [Artifact("training_metadata"), Artifact("training_manifest")]
    shards = [Artifact(asset, shard) for asset in ("raw_images", "resized_images") for shard in SHARDS]
    totals: dict[str, int] = {}
    for artifact in single + shards:
        record = lake.record(artifact)
        assert record and record.rows is not None
        assert record.statistics["rows_in"] == record.rows + record.statistics["quarantined"], artifact
        totals[artifact.asset] = totals.get(artifact.asset, 0) + record.rows
    assert totals == {"training_metadata": 14, "training_manifest": 13, "raw_images": 11, "resized_images": 10}


def test_every_shard_holds_what_its_part_of_the_manifest_lists(hard: Settings) -> None:
    lake = Lake(hard.lake)
    listed = lake.read(Artifact("training_manifest"), ["image_name", "shard"]).to_pylist()
    for shard in SHARDS:
        kept = lake.read(Artifact("raw_images", shard), ["image_name"]).column("image_name").to_pylist()
        found = lake.read(Artifact("quarantine/raw_images", shard)).column("image_name").to_pylist()
        assert sorted(kept + found) == sorted(row["image_name"] for row in listed if row["shard"] == shard)
