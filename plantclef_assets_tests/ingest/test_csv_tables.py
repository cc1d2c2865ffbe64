"""CSV files of other tools: what RFC 4180 says, files that were never quoted, and rows that cannot be read."""

import csv
import io
import random
from pathlib import Path
from typing import Any

import pytest

from plantclef_assets.ingest import csv_tables
from plantclef_assets.ingest.csv_tables import CsvError, CsvTable, read_species_id

COLUMNS = ["image_name", "species_id", "author"]


def read(file: Path, content: str | bytes, columns: list[str] = COLUMNS) -> tuple[list[tuple[Any, ...]], CsvTable]:
    """Write a file, and return its rows and what read them."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    table = CsvTable(file, columns, columns)
    rows: list[tuple[Any, ...]] = []
    for batch in table.batches():
        rows += zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
    return rows, table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that a test writes."""
    return tmp_path / "table.csv"


@pytest.mark.parametrize("seed", range(40))
def test_what_python_writes_is_read_unchanged_whatever_the_size_of_blocks(
    file: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    delimiter, quoting = chance.choice(";,\t"), csv.QUOTE_ALL if seed % 2 else csv.QUOTE_MINIMAL
    letters = ["a", delimiter, '"', "\n", "\r\n", "é", " ", '"x"', ";", ","]
    rows = [
        (f"p{number}.jpg", str(number + 1), "".join(chance.choices(letters, k=chance.randrange(12))) or None)
        for number in range(40)
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=chance.choice(["\n", "\r\n"]))
    writer.writerows([COLUMNS, *rows])
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", chance.choice([100, 500, 2**20]))
    found, table = read(file, text.getvalue())
    assert found == rows
    assert (table.rejected, table.literal_quotes) == ([], 0)


@pytest.mark.parametrize("seed", range(40))
def test_every_line_of_a_broken_file_is_a_row_or_is_rejected(
    file: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    delimiter = chance.choice(";\t")
    fields = ["a", '"', '"b"', 'b"', '"c', 'x"y', "", "1", '""']
    lines = [delimiter.join(["p", *chance.choices(fields, k=chance.choice([2, 2, 2, 1, 3]))]) for _ in range(40)]
    text = "\n".join([delimiter.join(COLUMNS), *lines])
    whole, table = read(file, text)
    within = sum(value.count("\n") for row in whole for value in row if value)
    assert len(whole) + len(table.rejected) + within == len(lines)
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 2 * len(text) // 3)
    in_blocks, other = read(file, text)
    assert (in_blocks, sorted(other.rejected)) == (whole, sorted(table.rejected))


@pytest.mark.parametrize("last", ["z", '"z', 'z"', "z\ty", '"'])
def test_a_file_that_was_never_quoted_keeps_all_its_rows(file: Path, last: str) -> None:
    fields = ["x", '"Herbarium', "y", '"Flora" of Z', '5" pot', "w", last.split("\t")[0]]
    lines = [f"p{number}.jpg\t{number + 1}\t{field}" for number, field in enumerate(fields)]
    rows, table = read(file, "\n".join(["image_name\tspecies_id\tauthor", *lines]) + "\n")
    assert [row[0] for row in rows] == [f"p{number}.jpg" for number in range(len(fields))]
    assert [row[2] for row in rows][1:3] == ['"Herbarium', "y"]
    assert table.rejected == []
    assert table.literal_quotes >= 2


def test_quotation_marks_that_enclose_whole_lines_by_chance_enclose_nothing(file: Path) -> None:
    text = 'image_name\tspecies_id\tauthor\na\t1\t"x\nb\t2\ty\nc\t3\tz"\n"d\t4\tw"\n'
    rows, table = read(file, text)
    assert rows == [("a", "1", '"x'), ("b", "2", "y"), ("c", "3", 'z"'), ('"d', "4", 'w"')]
    assert table.rejected == []


@pytest.mark.parametrize("delimiter", ["\t", ";", ","])
@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_malformed_row_does_not_make_text_of_the_rows_around_it(file: Path, delimiter: str, place: int) -> None:
    lines = [["a", "1", '"x'], ["b", "2", "y"], ["c", "3", "z"], ["d", "4", 'w"'], ["e", "5", "v"]]
    lines[place].insert(1, "more")
    rows, table = read(file, "\n".join(delimiter.join(line) for line in [COLUMNS, *lines]) + "\n")
    assert rows == [tuple(line) for line in lines if len(line) == 3]
    assert len(table.rejected) == 1


def test_a_quotation_mark_that_encloses_no_field_takes_no_other_row_along(file: Path) -> None:
    text = 'image_name;species_id;author\n"a";"1";"Ann\n"b";"2";"Bo; x"\nc;3;Cy "the eye" L\nd;4;"D";e\nf;5;g\n'
    rows, table = read(file, text)
    assert rows == [("a", "1", '"Ann'), ("b", "2", "Bo; x"), ("c", "3", 'Cy "the eye" L'), ("f", "5", "g")]
    assert table.rejected == ['4 fields instead of 3: d;4;"D";e']
    assert table.literal_quotes == 2


def test_text_of_several_lines_belongs_to_its_field(file: Path) -> None:
    rows, _ = read(file, 'image_name;species_id;author\na;1;"x\nb;c;d\ny"\ne;2;f\n')
    assert rows == [("a", "1", "x\nb;c;d\ny"), ("e", "2", "f")]


@pytest.mark.parametrize(
    "header",
    [
        '"image_name","species_id","author, with initials","author"',
        '"image_name","species_id","remarks\n(free)","author"',
        '"image_name","species_id","a ""quoted"" word","author"',
        'image_name,species_id,"a;b;c;d;e",author',
        " image_name , species_id ,x, author ",
        "\ufeffimage_name,species_id,x,author",
        "\n\nimage_name,species_id,x,author",
    ],
)
def test_a_header_may_hold_what_a_field_may(file: Path, header: str) -> None:
    rows, table = read(file, header + "\na,1,x,b\n")
    assert rows == [("a", "1", "b")]
    assert len(table.names) == 4


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_end_of_line_ends_a_line(file: Path, line_end: str) -> None:
    text = 'image_name;species_id;author\na;1;"x"\n\nb;2;y\n'.replace("\n", line_end)
    assert read(file, text)[0] == [("a", "1", "x"), ("b", "2", "y")]


@pytest.mark.parametrize("missing", ["", "NA", '"NA"', "<NA>", "#N/A", "NaN", "NULL", "\\N"])
def test_what_tools_write_for_no_value_is_none(file: Path, missing: str) -> None:
    assert read(file, f"image_name,species_id,author\na,1,{missing}\n")[0] == [("a", "1", None)]


@pytest.mark.parametrize(
    ("text", "has_row_names"),
    [
        ('"image_name","species_id","author"\n"1","a.jpg",7,"x"\n"2","b.jpg",8,"y"\n', True),
        ('"species_id","image_name","author"\n"1",7,"a.jpg","x"\n"2",8,"b.jpg","y"\n', True),
        ('"image_name","species_id","author"\n"first","a.jpg",7,"x"\n"2nd","b.jpg",8,"y"\n', True),
        ('"","image_name","species_id","author"\n"1","a.jpg",7,"x"\n"2","b.jpg",8,"y"\n', False),
        ("image_name,species_id,author\na.jpg,7,x,\nb.jpg,8,y,\n", False),
        ("image_name,species_id,author,\na.jpg,7,x,\nb.jpg,8,y,\n", False),
    ],
)
def test_row_names_of_r_and_a_last_delimiter_shift_nothing(file: Path, text: str, has_row_names: bool) -> None:
    rows, table = read(file, text)
    assert rows == [("a.jpg", "7", "x"), ("b.jpg", "8", "y")]
    assert table.has_row_names is has_row_names
    assert table.rejected == []


def test_rows_with_a_field_too_many_are_no_rows_with_names(file: Path) -> None:
    rows, table = read(file, "image_name,species_id,author\na,1,Lee, A\nb,2,Lee, B\nc,3,Lee\n")
    assert rows == [("c", "3", "Lee")]
    assert [one.split(":")[0] for one in table.rejected] == ["4 fields instead of 3"] * 2


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("end", ["b;2;y\n", ""])
def test_a_row_longer_than_two_blocks_is_rejected_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch, quote: str, end: str
) -> None:
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 1000)
    text = f"image_name;species_id;author\na;1;x\nlong;1;{quote}{'y' * 3000}{quote}\n" + end
    rows, table = read(file, text)
    assert rows == [("a", "1", "x"), ("b", "2", "y")][: 1 + bool(end)]
    assert [one.split(":")[0] for one in table.rejected] == ["longer than 1,000 bytes"]


def test_blocks_of_rejected_rows_only_are_passed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 1000)
    for bad in ("x;y", '"x";"y'):
        rows, table = read(file, "image_name;species_id;author\na;1;x\n" + f"{bad}\n" * 1000 + "b;2;y\n")
        assert rows == [("a", "1", "x"), ("b", "2", "y")]
        assert len(table.rejected) == 1000


def test_a_header_of_50_000_columns_is_read(file: Path) -> None:
    more = "".join(f',"taxon, number {number}"' for number in range(50_000))
    rows, _ = read(file, "image_name,species_id,author" + more + "\na,1,x" + ",0" * 50_000 + "\n")
    assert rows == [("a", "1", "x")]
    with pytest.raises(CsvError, match=r"no column author; it has image_name, species_id, .* and 49,990 more"):
        read(file, "image_name,species_id" + more + "\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty; a header line with image_name and species_id and author is needed"),
        ("image_name,species_id,author\na,1,x\n".encode("utf-16"), "UTF-16"),
        ("image_name,species_id,author\na,1,x\n".encode("utf-16-le"), "UTF-16"),
        (b"image_name,species_id,author\na,1,caf\xe9\n", "not UTF-8 at 'a,1,caf\ufffd"),
        (b"image_name,species_id,author\n\xe9,1\na,1,x\n", "not UTF-8"),
        ("image_name,species_id,author,author\na,1,x,y\n", "has several columns author"),
        ("x" * (csv_tables._HEADER_BYTES + 1), "its first line is longer than 8 MiB"),
    ],
)
def test_a_file_that_is_no_such_table_is_one_clear_error(file: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(CsvError) as caught:
        read(file, content)
    assert str(caught.value).startswith(str(file))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "species_id"),
    [("7", 7), (" 1355868 ", 1355868), ("0", None), ("-1", None), ("1.5", None), ("²", None), ("", None), (None, None),
     ("9" * 18, int("9" * 18)), ("9" * 19, None), ("9223372036854775808", None)],
)  # fmt: skip
def test_a_species_id_is_a_whole_number_from_1_on(text: str | None, species_id: int | None) -> None:
    assert read_species_id(text) == species_id
