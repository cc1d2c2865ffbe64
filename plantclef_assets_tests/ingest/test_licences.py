"""Licences and authors: they stay with a photograph, and select photographs."""

from plantclef_assets.ingest.photographs import RawImages, ReadingConfig
from plantclef_assets.lake.store import Artifact
from plantclef_assets.lake.tables import Shard
from plantclef_assets_tests.ingest.small_lake import SmallLake
from plantclef_assets_tests.ingest.test_photographs import picture


def test_licence_and_author_stay_with_a_photograph(small: SmallLake) -> None:
    small.write_files({"7/a.jpg": picture(), "7/b.jpg": picture(), "7/c.jpg": picture()})
    header = "image_name;species_id;license;author\n"
    small.read_csv(header + "a.jpg;7;cc-by-sa;Ann\nb.jpg;7;cc-by-sa;Bob\nc.jpg;7;;Ann\n")
    small.list_photographs(shards=1)
    assert small.statistics("training_manifest")["licences"] == [
        {"license": "cc-by-sa", "images": 2, "authors": 2},
        {"license": None, "images": 1, "authors": 1},
    ]
    artifact = Artifact("raw_images", "00")
    RawImages(small.lake, str(small.images), str(small.cache), ReadingConfig(10**6))(Shard(artifact, {}))
    rows = small.lake.read(artifact).to_pylist()
    assert [(row["license"], row["author"]) for row in rows] == [
        ("cc-by-sa", "Ann"),
        ("cc-by-sa", "Bob"),
        (None, "Ann"),
    ]


def test_photographs_of_other_licences_are_set_aside(small: SmallLake) -> None:
    small.write_files({"7/a.jpg": b"x", "7/b.jpg": b"x", "7/c.jpg": b"x"})
    small.read_csv("image_name;species_id;license\na.jpg;7;CC-BY \nb.jpg;7;cc-by-nc\nc.jpg;7;\n")
    assert [row["image_name"] for row in small.list_photographs(licenses=("cc-by", "CC0"))] == ["a.jpg"]
    assert small.quarantined("training_manifest") == [("b.jpg", "license"), ("c.jpg", "license")]
    assert small.details("training_manifest") == [
        "its licence is cc-by-nc, and photographs of others are asked for",
        "it has no licence, and photographs of others are asked for",
    ]
