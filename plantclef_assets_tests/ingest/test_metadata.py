"""The training metadata: every dialect that is read, and each row that cannot be used in quarantine with its reason."""

import csv
import os
from pathlib import Path

import pytest

from plantclef_assets.ingest import csv_tables, metadata
from plantclef_assets.ingest.metadata import MetadataError, write_training_metadata
from plantclef_assets.lake.store import Artifact
from plantclef_assets.lake.tables import Shard
from plantclef_assets_tests.ingest.small_lake import SmallLake
from plantclef_assets_tests.tiny import COLUMNS

HEADER = ";".join(COLUMNS)


def published_row(**values: str) -> str:
    """Return a line as the organisers write it: `;`, all quoted, quotes doubled."""
    whole = {"image_name": "a.jpg", "species_id": "1355868"} | values
    return ";".join('"' + whole.get(name, "").replace('"', '""') + '"' for name in COLUMNS) + "\n"


def published(*lines: str) -> str:
    return HEADER + "\n" + "".join(lines)


def test_the_organisers_dialect_is_read_with_its_types(small: SmallLake) -> None:
    line = published_row(
        organ="leaf", obs_id="1008726402", altitude="205.9261", latitude="-47.6", gbif_species_id="5328663.0",
        species="Taxus baccata L.", learn_tag="train",
    )  # fmt: skip
    (row,) = small.read_csv(published(line))
    assert {name: value for name, value in row.items() if value is not None} == {
        "image_name": "a.jpg",
        "organ": "leaf",
        "species_id": 1355868,
        "obs_id": "1008726402",
        "altitude": 205.9261,
        "latitude": -47.6,
        "gbif_species_id": 5328663,
        "species": "Taxus baccata L.",
        "learn_tag": "train",
    }
    assert list(row) == list(metadata.TRAINING_METADATA.columns.names)


def test_quotes_delimiters_and_line_breaks_within_a_field_belong_to_it(small: SmallLake) -> None:
    author = 'Ann "the eye" Lee; Bob\nsecond line\r\nthird, "quoted"'
    rows = small.read_csv(published(published_row(author=author), published_row(image_name="b.jpg")))
    assert [row["image_name"] for row in rows] == ["a.jpg", "b.jpg"]
    assert rows[0]["author"] == author
    assert small.quarantined("training_metadata") == []


def test_a_field_longer_than_pythons_limit_is_read(small: SmallLake) -> None:
    publisher = "x;y " * 50_000
    assert len(publisher) > csv.field_size_limit()
    rows = small.read_csv(published(published_row(publisher=publisher), published_row(image_name="b.jpg")))
    assert [len(row["publisher"] or "") for row in rows] == [200_000, 0]


def test_half_empty_columns_are_null_where_they_are_empty(small: SmallLake) -> None:
    lines = [published_row(image_name=f"{n}.jpg", partner="tela" if n % 2 else "", latitude="4.5" if n % 2 else "")
             for n in range(4)]  # fmt: skip
    rows = small.read_csv(published(*lines))
    assert [row["partner"] for row in rows] == [None, "tela", None, "tela"]
    assert [row["latitude"] for row in rows] == [None, 4.5, None, 4.5]
    assert small.statistics("training_metadata")["unreadable"] == {}


def test_a_column_of_text_that_looks_like_numbers_stays_text(small: SmallLake) -> None:
    (row,) = small.read_csv(published(published_row(obs_id="007", partner="1.0")))
    assert (row["obs_id"], row["partner"]) == ("007", "1.0")


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_two_columns_in_any_usual_dialect_are_enough(
    small: SmallLake, delimiter: str, line_end: str, mark: bytes
) -> None:
    lines = [("image_name", "species_id"), ("é.jpg", "2"), ("b.jpg", "1")]
    text = line_end.join(delimiter.join(fields) for fields in lines) + line_end
    rows = small.read_csv(mark + text.encode())
    assert [(row["image_name"], row["species_id"]) for row in rows] == [("é.jpg", 2), ("b.jpg", 1)]
    assert rows[0]["obs_id"] is rows[0]["learn_tag"] is rows[0]["altitude"] is None


def test_columns_may_stand_in_any_order_and_foreign_ones_are_left_out(small: SmallLake) -> None:
    (row,) = small.read_csv("colour,species_id,image_name\nred,5,a.jpg\n")
    assert (row["image_name"], row["species_id"]) == ("a.jpg", 5)
    assert "colour" not in row


def test_the_rows_do_not_depend_on_the_size_of_blocks(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    text = published(*(published_row(image_name=f"{n}.jpg", author="x" * n, altitude="high") for n in range(200)))
    whole = small.read_csv(text)
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 4096)
    assert small.read_csv(text) == whole
    assert small.statistics("training_metadata")["unreadable"] == {"altitude": 200}


def test_a_name_is_known_again_in_a_later_block(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 4096)
    lines = [published_row(image_name=f"{number % 70}.jpg", author=str(number)) for number in range(140)]
    unusable = published_row(image_name="first-unusable.jpg", species_id="x")
    lines = [unusable, *lines, published_row(image_name="first-unusable.jpg"), lines[3]]
    rows = small.read_csv(published(*lines))
    assert [row["author"] for row in rows] == [*map(str, range(70)), None]
    findings = small.quarantined("training_metadata")
    assert findings[0] == ("first-unusable.jpg", "bad_species_id")
    assert findings[1:] == [(f"{number}.jpg", "duplicate_name") for number in [*range(70), 3]]


@pytest.mark.parametrize(
    ("values", "reason", "said"),
    [
        ({"species_id": ""}, "bad_species_id", "species_id is ''"),
        ({"species_id": "Taxus"}, "bad_species_id", "species_id is 'Taxus'"),
        ({"species_id": "12.5"}, "bad_species_id", "species_id is '12.5'"),
        ({"species_id": "123456789012345678901"}, "bad_species_id", "123456789012345678901"),
        ({"species_id": "1e999"}, "bad_species_id", "1e999"),
        ({"species_id": "0"}, "bad_species_id", "species_id is '0'"),
        ({"species_id": "-1"}, "bad_species_id", "species_id is '-1'"),
        ({"species_id": "-12.0"}, "bad_species_id", "species_id is '-12.0'"),
        ({"species_id": "9223372036854775808"}, "bad_species_id", "9223372036854775808"),
        ({"species_id": "NA"}, "bad_species_id", "species_id is ''"),
        ({"image_name": "NA", "author": "x"}, "no_image_name", "species_id 1355868"),
        ({"image_name": "  "}, "no_image_name", "species_id 1355868"),
        ({"image_name": ""}, "no_image_name", "species_id 1355868"),
        ({"image_name": "first.jpg"}, "duplicate_name", "an earlier row has this image name"),
    ],
)
def test_a_row_that_cannot_be_used_is_set_aside_with_its_reason(
    small: SmallLake, values: dict[str, str], reason: str, said: str
) -> None:
    lines = [published_row(image_name="first.jpg"), published_row(**values), published_row(image_name="last.jpg")]
    rows = small.read_csv(published(*lines))
    assert [row["image_name"] for row in rows] == ["first.jpg", "last.jpg"]
    name = None if values.get("image_name") == "NA" else values.get("image_name", "a.jpg") or None
    assert small.quarantined("training_metadata") == [(name, reason)]
    assert said in small.details("training_metadata")[0]
    figures = small.statistics("training_metadata")
    assert (figures["rows_in"], figures["rows"], figures["quarantined"]) == (3, 2, 1)


def test_a_row_with_the_wrong_number_of_fields_is_set_aside(small: SmallLake) -> None:
    rows = small.read_csv("image_name,species_id\na.jpg,1\nb.jpg\nc.jpg,2,3\nd.jpg,4\n")
    assert [row["image_name"] for row in rows] == ["a.jpg", "d.jpg"]
    assert small.quarantined("training_metadata") == [(None, "malformed_row"), (None, "malformed_row")]
    assert small.details("training_metadata") == ["1 fields instead of 2: b.jpg", "3 fields instead of 2: c.jpg,2,3"]
    figures = small.statistics("training_metadata")
    assert (figures["rows_in"], figures["rows"], figures["quarantined"]) == (4, 2, 2)


def test_a_number_that_cannot_be_read_becomes_null_and_is_counted(small: SmallLake) -> None:
    lines = [
        published_row(image_name="a.jpg", altitude="about 300", latitude="45,2", gbif_species_id="x1"),
        published_row(image_name="b.jpg", altitude="300", latitude=" 45.2 ", gbif_species_id="12"),
        published_row(image_name="c.jpg", altitude="+3e2", latitude="-.5", gbif_species_id="12.5"),
    ]
    rows = small.read_csv(published(*lines))
    assert [row["altitude"] for row in rows] == [None, 300.0, 300.0]
    assert [row["latitude"] for row in rows][:2] == [None, 45.2]
    assert [row["gbif_species_id"] for row in rows] == [None, 12, None]
    unreadable = small.statistics("training_metadata")["unreadable"]
    assert unreadable["altitude"] == 1
    assert unreadable["gbif_species_id"] == 2, "12.5 is there, but is no id"


def test_a_number_beyond_all_ids_becomes_null_and_stops_nothing(small: SmallLake) -> None:
    (row,) = small.read_csv(published(published_row(gbif_species_id="1e30")))
    assert row["gbif_species_id"] is None
    assert small.statistics("training_metadata")["unreadable"] == {"gbif_species_id": 1}


@pytest.mark.parametrize("missing", ["NA", " NA ", "NULL", "<NA>", "nan", " "])
def test_missing_observations_and_tags_are_none_as_empty_ones_are(small: SmallLake, missing: str) -> None:
    lines = [f"{number}.jpg;7;{missing};{missing};{missing.strip()};{missing.strip()}" for number in range(3)]
    lines.append("3.jpg;7; o1 ; val ;cc0;1.5")
    rows = small.read_csv("\n".join(["image_name;species_id;obs_id;learn_tag;license;altitude", *lines]) + "\n")
    columns = ("obs_id", "learn_tag", "license", "altitude")
    assert [[row[name] for name in columns] for row in rows] == [[None] * 4] * 3 + [["o1", "val", "cc0", 1.5]]
    assert small.statistics("training_metadata")["unreadable"] == {}


def test_a_species_id_as_published_is_read(small: SmallLake) -> None:
    rows = small.read_csv("image_name;species_id\na.jpg;12.0\nb.jpg; 13 \nc.jpg;1\n")
    assert [row["species_id"] for row in rows] == [12, 13, 1]


def test_what_was_read_in_another_way_than_written_is_said(small: SmallLake) -> None:
    file = small.root / "r.tsv"
    said: list[str] = []
    for text in ("image_name\tspecies_id\n1\ta.jpg\t7\n", 'image_name\tspecies_id\tauthor\na.jpg\t7\t"Ann\n'):
        file.write_text(text)
        write_training_metadata(small.lake, Shard(Artifact("training_metadata"), {}), file, said.append)
    assert "one field more than the header" in said[0]
    assert "quotation marks that do not enclose a field (RFC 4180), in 1 of its rows" in said[1]
    assert len(said) == 2
    said.clear()
    file.write_text("image_name\tspecies_id\na.jpg\t7\n")
    write_training_metadata(small.lake, Shard(Artifact("training_metadata"), {}), file, said.append)
    assert said == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a.jpg;1,356,215\nb.jpg;1,356,215\n", "2 have no whole number from 1 on as species_id, for example: species_id"
         " is '1,356,215'"),
        ("a.jpg;-1\nb.jpg;-1\nc.jpg\n", "none of the 3 rows"),
        ("a.jpg\nb.jpg\n;7\n", "2 do not have one field for each column of the header, for example: 1 fields instead"),
        (";1\n;2\n", "2 have no image_name"),
    ],
)  # fmt: skip
def test_a_file_without_a_usable_row_is_one_clear_error(small: SmallLake, rows: str, said: str) -> None:
    with pytest.raises(MetadataError) as caught:
        small.read_csv("image_name;species_id\n" + rows)
    assert said in str(caught.value)
    assert "PLANTCLEF_TRAINING_METADATA" in str(caught.value)
    assert not (small.root / "lake" / "training_metadata.parquet").exists()


def test_a_header_without_rows_is_refused(small: SmallLake) -> None:
    with pytest.raises(MetadataError, match="has a header, but no row"):
        small.read_csv("image_name,species_id\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty; a header line with image_name and species_id is needed"),
        ("image_name;organ\na;b\n", "has no column species_id; it has image_name, organ"),
        ("name,label\na,1\n", "has no column image_name and no column species_id"),
        ("image_name\na.jpg\n", "has no column species_id"),
        (b"image_name,species_id\ncaf\xe9.jpg,1\n", "cannot be read as a CSV"),
        ("image_name,species_id\na.jpg,1\n".encode("utf-16"), "metadata.csv"),
        ("image_name,species_id,species_id\na.jpg,1,2\n", "species_id"),
    ],
)
def test_a_file_that_is_no_metadata_is_one_clear_error(small: SmallLake, content: str | bytes, said: str) -> None:
    with pytest.raises(MetadataError) as caught:
        small.read_csv(content)
    assert said in str(caught.value)
    assert "metadata.csv" in str(caught.value)
    assert not list(Path(small.lake.root).rglob("*.parquet")), "nothing is published"


def test_the_twelve_real_rows_are_read(small: SmallLake) -> None:
    data = os.environ.get("PLANTCLEF_TEST_DATA")
    file = Path(data or "", "reference", "training_metadata_excerpt.csv")
    if not data or not file.is_file():
        pytest.skip("the twelve real rows are missing: set PLANTCLEF_TEST_DATA to the folder that holds reference/")
    rows = small.read_csv(file.read_bytes())
    assert small.quarantined("training_metadata") == []
    assert small.statistics("training_metadata")["unreadable"] == {}
    with file.open(encoding="utf-8", newline="") as stream:
        expected = list(csv.DictReader(stream, delimiter=";"))
    assert len(rows) == len(expected) == 12
    for row, published_one in zip(rows, expected, strict=True):
        for name, text in published_one.items():
            value = row[name]
            if not text:
                assert value is None
            elif isinstance(value, str):
                assert value == text
            else:
                assert value == float(text)
    assert all(isinstance(row["gbif_species_id"], int) for row in rows if row["gbif_species_id"] is not None)
