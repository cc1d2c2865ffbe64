"""Transfers from servers that fail."""

import random
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from plantclef_assets.ingest.downloads import DownloadError, Limits
from plantclef_assets.ingest.downloads.limits import Retries
from plantclef_assets_tests.ingest.failing_server import (
    CHUNK,
    CONTENT,
    ONE_BY_ONE,
    PARALLEL,
    QUICK,
    RANGES,
    SHA256,
    FailingServer,
    FakeClock,
    Fetch,
    download_file,
    left_in,
)


def test_a_broken_connection_is_continued_where_it_broke(server: FailingServer, fetch: Fetch) -> None:
    server.break_after = [100_000, 5]
    assert fetch(Limits(connections=1), sha256=SHA256) == CONTENT
    last = len(CONTENT) - 1
    assert server.requests == [f"bytes=0-{2**24 - 1}", f"bytes=100000-{last}", f"bytes=100005-{last}"]
    assert server.sent == len(CONTENT), "no byte was fetched twice"


def test_many_broken_connections_cost_no_byte(server: FailingServer, fetch: Fetch) -> None:
    server.break_after = [random.Random(n).randrange(1, CHUNK) for n in range(40)]
    assert fetch(PARALLEL) == CONTENT
    assert server.sent == len(CONTENT)


def test_a_later_call_continues_what_an_earlier_one_gave_up(
    server: FailingServer, fetch: Fetch, tmp_path: Path
) -> None:
    def refuse_from_here(done: int, total: int | None) -> None:
        server.refuse = [503] * 100 if done > CHUNK else []

    server.break_after = [CHUNK, 70_000]
    with pytest.raises(DownloadError, match=f"{CHUNK + 70_000:,} bytes are kept in w.bin.incomplete"):
        fetch(progress=refuse_from_here)
    assert "w.bin" not in left_in(tmp_path)
    server.refuse = []
    server.forget()
    seen: list[int] = []
    assert fetch(progress=lambda done, total: seen.append(done)) == CONTENT
    assert seen[0] == CHUNK + 70_000, "progress starts with the bytes that are already there"
    assert server.requests[0] == f"bytes={CHUNK + 70_000}-{2 * CHUNK - 1}"
    assert server.sent == len(CONTENT) - CHUNK - 70_000
    assert left_in(tmp_path) == ["w.bin"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: FailingServer, fetch: Fetch, status: int) -> None:
    server.refuse = [status, status]
    assert fetch() == CONTENT


def test_the_wait_that_a_server_asks_for_is_kept(server: FailingServer, fetch: Fetch) -> None:
    clock = FakeClock()
    server.refuse, server.retry_after = [429], "7"
    fetch(clock=clock.clock)
    assert clock.waits == [7.0]


def test_the_wait_may_be_given_as_a_date(server: FailingServer, fetch: Fetch) -> None:
    clock = FakeClock()
    server.refuse, server.retry_after = [503], formatdate(time.time() + 600, usegmt=True)
    fetch(clock=clock.clock)
    assert 500 < clock.waits[0] <= 600


def test_a_server_that_asks_for_more_patience_than_there_is_is_given_up(server: FailingServer, fetch: Fetch) -> None:
    server.refuse, server.retry_after = [503], "86400"
    with pytest.raises(DownloadError, match="the server answers 503 and asks to wait 86,400 s"):
        fetch()


def test_waits_double_and_end_at_the_longest(server: FailingServer, fetch: Fetch) -> None:
    clock = FakeClock()
    server.refuse = [503] * 5
    retries = Retries(attempts=6, first_wait=1.0, longest_wait=6.0, chance=lambda: 0.5)
    assert fetch(retries=retries, clock=clock.clock) == CONTENT
    assert clock.waits == [1.25, 2.5, 5.0, 6.0, 6.0]


def test_a_server_that_stays_busy_is_given_up_clearly(server: FailingServer, fetch: Fetch, tmp_path: Path) -> None:
    server.refuse = [503] * 10
    with pytest.raises(DownloadError, match=r"the server answers 503 \(3 tries in a row without a new byte\)"):
        fetch(PARALLEL)
    assert len(server.requests) == 3
    assert left_in(tmp_path) in ([], ["w.bin.incomplete.lock"])


def test_a_server_that_allows_few_connections_gets_few(server: FailingServer, fetch: Fetch) -> None:
    server.most = 1
    said: list[str] = []
    assert fetch(Limits(connections=3, chunk_bytes=2**16), log=said.append) == CONTENT
    assert server.sent == len(CONTENT)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_missing_file_is_not_asked_for_again(server: FailingServer, fetch: Fetch, status: int) -> None:
    server.refuse = [status]
    with pytest.raises(DownloadError, match=f"the server answers {status}"):
        fetch()
    assert len(server.requests) == 1


CHANGED = CONTENT[::-1]


def change_content(server: FailingServer) -> None:
    server.files["/w.bin"], server.etag = CHANGED, '"two"'


def shorten_content(server: FailingServer) -> None:
    server.files["/w.bin"] = CONTENT[: CHUNK // 2]


@pytest.mark.parametrize(
    ("change", "expected", "said"),
    [
        (change_content, CHANGED, "the file on the server has changed"),
        (shorten_content, CONTENT[: CHUNK // 2], "has no such bytes"),
        (lambda server: setattr(server, "ranges", False), CONTENT, "no longer sends ranges"),
        (lambda server: setattr(server, "said_total", len(CONTENT) + 5), CONTENT, "has changed its length"),
        (lambda server: setattr(server, "etag", None), CONTENT, "no longer sends ranges"),
    ],
    ids=[
        "the file has changed",
        "the file is shorter",
        "the server ignores ranges",
        "the length differs",
        "the file lost its version",
    ],
)
@pytest.mark.parametrize("limits", [ONE_BY_ONE, PARALLEL], ids=["one by one", "parallel"])
def test_what_cannot_be_continued_is_begun_anew(
    limits: Limits,
    change: Callable[[FailingServer], None],
    expected: bytes,
    said: str,
    server: FailingServer,
    fetch: Fetch,
    tmp_path: Path,
) -> None:
    changed = threading.Event()
    lines: list[str] = []

    def once(done: int, total: int | None) -> None:
        if done > 2 * CHUNK and not changed.is_set():
            changed.set()
            change(server)

    assert fetch(limits, progress=once, log=lines.append) == expected
    assert any(said in line for line in lines)
    assert left_in(tmp_path) == ["w.bin"]


def test_a_file_that_has_changed_between_two_calls_is_begun_anew(server: FailingServer, fetch: Fetch) -> None:
    server.break_after, server.refuse = [], []
    with pytest.raises(DownloadError):
        fetch(progress=lambda done, total: server.refuse.extend([503] * 10 if done > CHUNK else []))
    server.refuse.clear()
    change_content(server)
    assert fetch() == CHANGED


def test_servers_that_take_turns_with_versions_are_taken_in_one_go(server: FailingServer, fetch: Fetch) -> None:
    server.etags = ['"here"', '"there"']
    assert fetch() == CONTENT
    assert server.requests[-1] is None


@pytest.mark.parametrize("etag", ['W/"one"', None])
def test_without_a_strong_version_nothing_is_put_together(
    etag: str | None, server: FailingServer, fetch: Fetch
) -> None:
    server.etag, server.break_after = etag, [10, 16 * CHUNK]
    assert fetch() == CONTENT
    assert server.requests == [RANGES[0], None] + [None] * (len(server.requests) - 2)


def test_without_a_version_pieces_are_judged_by_the_checksum(server: FailingServer, fetch: Fetch) -> None:
    server.etag = None
    assert fetch(PARALLEL, sha256=SHA256) == CONTENT
    assert sorted(map(str, server.requests)) == sorted(RANGES)


@pytest.mark.parametrize("length", [True, False])
def test_a_server_without_ranges_is_read_in_one_go(length: bool, server: FailingServer, fetch: Fetch) -> None:
    server.ranges, server.length = False, length
    assert fetch(PARALLEL, sha256=SHA256) == CONTENT
    assert len(server.requests) == 1


def test_a_server_without_ranges_that_breaks_off_is_tried_and_given_up(
    server: FailingServer, fetch: Fetch, tmp_path: Path
) -> None:
    server.ranges, server.break_after = False, [100_000] * 100
    with pytest.raises(DownloadError, match=r"ended|failed \(.*3 tries in a row without a new byte\); nothing is kept"):
        fetch()
    assert len(server.requests) == 3, "bytes that come again are no progress"
    assert "w.bin.incomplete" not in left_in(tmp_path)


def test_a_server_that_sends_more_than_the_range_is_not_heard_out(server: FailingServer, fetch: Fetch) -> None:
    server.open_ended = True
    assert fetch(sha256=SHA256) == CONTENT
    assert len(server.requests) == len(RANGES)


@pytest.mark.parametrize("unsaid", [1000, -1000], ids=["more", "fewer"])
def test_a_server_that_lies_about_a_range_is_refused_clearly(unsaid: int, server: FailingServer, fetch: Fetch) -> None:
    server.unsaid_bytes = unsaid
    with pytest.raises(DownloadError, match=f"reports {CHUNK - unsaid:,} bytes for the bytes 0 to {CHUNK - 1}"):
        fetch()


def test_a_server_that_says_more_than_it_sends_is_refused_clearly(server: FailingServer, fetch: Fetch) -> None:
    server.ranges, server.unsaid_bytes = False, -1000
    with pytest.raises(DownloadError, match="could not be downloaded"):
        fetch()


def test_a_server_that_lies_about_the_whole_length_is_survived(server: FailingServer, fetch: Fetch) -> None:
    server.said_total = len(CONTENT) + 3 * CHUNK
    assert fetch(PARALLEL) == CONTENT


def test_a_file_that_is_packed_on_the_way_is_refused(server: FailingServer, fetch: Fetch) -> None:
    server.encoding = "gzip"
    with pytest.raises(DownloadError, match="sends it encoded as gzip, which was not requested"):
        fetch()


def test_no_server_at_all_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="could not be downloaded: the connection failed"):
        download_file("http://127.0.0.1:9/nothing", tmp_path / "w.bin", retries=QUICK)
