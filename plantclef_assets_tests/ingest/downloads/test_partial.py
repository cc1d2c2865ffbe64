"""Partial files: the bytes of an unfinished download, and the journal that survives a crash."""

from pathlib import Path

import pytest

from plantclef_assets.ingest.downloads.errors import Stopped
from plantclef_assets.ingest.downloads.partial import PartialFile, Plan

ADDRESS = "https://host/w.bin"
PLAN = Plan(ADDRESS, '"one"', total=25, chunk_bytes=10)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "w.bin"


def write(partial: PartialFile, content: bytes) -> None:
    """Write bytes of the next missing piece, and finish it where they are all."""
    with partial.taken() as piece:
        assert piece is not None
        partial.write(piece, content, lambda done: None)
        if piece.at == piece.end:
            partial.finish(piece)


def test_pieces_are_cut_and_published_whole(target: Path) -> None:
    partial = PartialFile(target)
    partial.begin(PLAN)
    for content in (b"0123456789", b"abcdefghij", b"ABCDE"):
        write(partial, content)
    with partial.taken() as piece:
        assert piece is None
    partial.publish()
    assert target.read_bytes() == b"0123456789abcdefghijABCDE"
    assert [path.name for path in target.parent.iterdir()] == ["w.bin"]


def test_a_process_that_is_gone_leaves_what_it_has_marked(target: Path) -> None:
    gone = PartialFile(target)
    gone.begin(PLAN)
    write(gone, b"0123456789")
    write(gone, b"abc")  # never marked: nothing says that these have reached the disk
    partial = PartialFile(target)
    assert partial.resume(ADDRESS)
    assert (partial.plan, partial.done, partial.unfinished) == (PLAN, 10, 2)
    with partial.taken() as piece:
        assert piece is not None
        assert (piece.at, piece.end) == (10, 20)


def test_one_that_ends_well_marks_unfinished_pieces_too(target: Path) -> None:
    ended = PartialFile(target)
    ended.begin(PLAN)
    write(ended, b"012")
    write(ended, b"345")  # given back pieces are taken first, where they stand
    ended.close()
    partial = PartialFile(target)
    assert partial.resume(ADDRESS)
    assert partial.done == 6
    write(partial, b"6789")
    write(partial, b"abcdefghij")
    write(partial, b"ABCDE")
    partial.publish()
    assert target.read_bytes() == b"0123456789abcdefghijABCDE"


def test_after_the_end_nothing_is_written(target: Path) -> None:
    partial = PartialFile(target)
    partial.begin(PLAN)
    with partial.taken() as piece:
        assert piece is not None
        partial.close()
        with pytest.raises(Stopped):
            partial.write(piece, b"0123456789", lambda done: None)
        with pytest.raises(Stopped):
            partial.finish(piece)
    with pytest.raises(Stopped), partial.taken():
        pass


def test_a_torn_last_line_is_no_mark(target: Path) -> None:
    gone = PartialFile(target)
    gone.begin(PLAN)
    write(gone, b"0123456789")
    journal = target.with_name("w.bin.incomplete.journal")
    with journal.open("a") as stream:
        stream.write("1 2")  # of "1 20\n"
    partial = PartialFile(target)
    assert partial.resume(ADDRESS)
    write(partial, b"abcdefghij")
    assert journal.read_text().splitlines()[1:] == ["0 10", "1 20"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.bin.incomplete.journal", ""),
        ("w.bin.incomplete.journal", "not JSON\n"),
        ("w.bin.incomplete.journal", '{"total": 25}\n'),
        ("w.bin.incomplete.journal", None),
        ("w.bin.incomplete", None),
        ("w.bin.incomplete", "short"),
    ],
)
def test_what_does_not_fit_together_is_not_continued(name: str, content: str | None, target: Path) -> None:
    gone = PartialFile(target)
    gone.begin(PLAN)
    path = target.with_name(name)
    path.unlink() if content is None else path.write_text(content)
    assert not PartialFile(target).resume(ADDRESS)


@pytest.mark.parametrize("mark", ["9 90", "1 5", "1 21", "1", "a b"])
def test_a_mark_that_cannot_be_makes_the_journal_useless(mark: str, target: Path) -> None:
    gone = PartialFile(target)
    gone.begin(PLAN)
    with target.with_name("w.bin.incomplete.journal").open("a") as stream:
        stream.write(f"{mark}\n")
    assert not PartialFile(target).resume(ADDRESS)


def test_what_comes_from_elsewhere_is_not_continued(target: Path) -> None:
    PartialFile(target).begin(PLAN)
    assert not PartialFile(target).resume("https://mirror/w.bin")
