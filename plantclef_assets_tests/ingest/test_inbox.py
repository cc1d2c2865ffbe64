"""Inboxes: what is taken is complete and new, whatever way it arrives."""

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.ingest.inbox import (
    Delivery,
    Look,
    Sighting,
    Stamp,
    dump_sightings,
    judge_inbox,
    list_inbox,
    load_sightings,
)


def photograph(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


WHOLE = photograph(0)


class Inbox:
    """An inbox that is looked at every so often; its state goes through text, as a cursor does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cursor, self.now = folder, "", 1000.0
        self.taken: list[Delivery] = []
        self.read: list[str] = []

    def put(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(0, round(self.now * 1e9)))

    def look(self, after: float = 60.0) -> Look:
        self.now += after
        look = judge_inbox(
            list_inbox(self.folder),
            load_sightings(self.cursor),
            self.taken,
            self._open,
            now=self.now,
            settle_seconds=60,
        )
        self.cursor = dump_sightings(look.sightings)
        return look

    def ready(self, after: float = 60.0) -> list[str]:
        return [one.name for one in self.look(after).ready]

    def _open(self, name: str) -> BinaryIO:
        self.read.append(name)
        return (self.folder / name).open("rb")


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def test_a_file_is_ready_when_two_looks_have_found_it_the_same(inbox: Inbox) -> None:
    inbox.put("b/plot.jpg", WHOLE)
    inbox.put("list.csv", b"plot;date\n")
    assert inbox.ready() == []
    assert inbox.ready(after=30) == [], "too soon after the first look"
    assert inbox.ready(after=30) == ["b/plot.jpg", "list.csv"]
    assert inbox.ready() == ["b/plot.jpg", "list.csv"], "until it is taken"
    assert inbox.read == ["b/plot.jpg", "list.csv"], "once"


@pytest.mark.parametrize("content", [b"longer", b"on"], ids=["size", "time"])
def test_a_file_that_changes_in_size_or_time_has_to_settle_again(content: bytes, inbox: Inbox) -> None:
    inbox.put("a.csv", b"no")
    assert inbox.ready() == []
    inbox.put("a.csv", content)
    assert inbox.ready() == []
    assert inbox.ready() == ["a.csv"]


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.jpg",
        ".thumbs/plot.jpg",
        "plot.jpg.part",
        "plot.jpg.TMP",
        "plot.jpg.incomplete",
        "plot.tar.incomplete.journal",
        "plot.jpg.crdownload",
        "~plot.jpg",
        "plot.jpg~",
    ],
)
def test_temporary_and_hidden_names_are_left_out(name: str, inbox: Inbox) -> None:
    inbox.put(name, WHOLE)
    assert inbox.look().sightings == {}


@pytest.mark.parametrize("content", [WHOLE[:-200], WHOLE[: len(WHOLE) // 2], b""], ids=["end", "half", "empty"])
def test_a_photograph_that_stands_still_half_way_is_told_and_waited_for(content: bytes, inbox: Inbox) -> None:
    inbox.put("plot.jpg", content)
    inbox.look()
    for _ in range(3):
        look = inbox.look()
        assert look.ready == ()
        assert list(look.faulty) == ["plot.jpg"]
        assert look.faulty["plot.jpg"].startswith("truncated" if content else "empty")
    assert inbox.read == ["plot.jpg"], "it is not decoded again as long as it does not change"
    inbox.put("plot.jpg", WHOLE)
    assert (inbox.ready(), inbox.ready()) == ([], ["plot.jpg"])


def test_what_is_no_photograph_at_all_is_left_to_the_quarantine(inbox: Inbox) -> None:
    inbox.put("plot.jpg", b"<html>not found</html>")
    assert (inbox.ready(), inbox.ready()) == ([], ["plot.jpg"])


def test_what_was_taken_is_not_ready_again(inbox: Inbox) -> None:
    inbox.put("a.jpg", WHOLE)
    inbox.look()
    inbox.taken += inbox.look().ready
    assert inbox.look().repeated == {"a.jpg": "a.jpg"}
    inbox.put("again/copy.jpg", WHOLE)
    inbox.put("a.jpg", WHOLE)  # uploaded once more
    inbox.look()
    look = inbox.look()
    assert look.ready == ()
    assert look.repeated == {"a.jpg": "a.jpg", "again/copy.jpg": "a.jpg"}
    assert inbox.read == ["a.jpg", "again/copy.jpg"], "one with name and size of what was taken is not read"


def test_of_two_that_arrive_with_the_same_bytes_the_first_name_is_ready(inbox: Inbox) -> None:
    for name in ("b.jpg", "a.jpg"):
        inbox.put(name, WHOLE)
    inbox.put("c.jpg", photograph(1))
    inbox.look()
    look = inbox.look()
    assert [one.name for one in look.ready] == ["a.jpg", "c.jpg"]
    assert look.repeated == {"b.jpg": "a.jpg"}


def test_a_new_file_under_a_name_that_was_taken_is_ready(inbox: Inbox) -> None:
    inbox.taken.append(Delivery("a.csv", 3, "0" * 32))
    inbox.put("a.csv", b"another")
    assert (inbox.ready(), inbox.ready()) == ([], ["a.csv"])


def test_what_is_gone_is_forgotten(inbox: Inbox) -> None:
    inbox.put("a.csv", b"one")
    inbox.look()
    (inbox.folder / "a.csv").unlink()
    assert inbox.look().sightings == {}


def test_a_file_that_cannot_be_read_or_has_grown_meanwhile_waits_for_the_next_look() -> None:
    def refuse(name: str) -> BinaryIO:
        raise OSError(name)

    stamps = {"a.csv": Stamp(3, 0)}
    seen = {"a.csv": Sighting(Stamp(3, 0), since=0.0)}
    for opens in (refuse, lambda name: io.BytesIO(b"four")):
        look = judge_inbox(stamps, seen, (), opens, now=60.0, settle_seconds=60)
        assert (look.ready, look.sightings) == ((), seen)


def test_a_clock_that_was_put_back_begins_the_wait_anew(inbox: Inbox) -> None:
    inbox.put("a.csv", b"one")
    inbox.look()
    assert inbox.ready(after=-500) == []
    assert inbox.ready() == ["a.csv"]


def test_an_inbox_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list_inbox(tmp_path / "nowhere")
