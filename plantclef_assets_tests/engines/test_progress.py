"""Progress: lines with rate and remaining time, now and then."""

import io
import sys

import pytest

from plantclef_assets.engines import progress
from plantclef_assets.engines.progress import Progress


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def test_a_line_says_how_far_how_fast_and_how_long_still() -> None:
    work = Progress("resized_images", 1200, "images", print)
    work.advance(300)
    assert work.line(60) == "resized_images: 300 of 1,200 images, 5 images/s, 3 min 00 s left"


@pytest.mark.parametrize(
    ("done", "seconds", "left"),
    [
        (50, 10, "10 s left"),
        (10, 20, "3 min 00 s left"),
        (1, 100, "2 h 45 min left"),
        (100, 10, "0 s left"),
        (0, 10, "time left unknown"),
    ],
)
def test_the_time_left_is_told_in_fitting_units(done: int, seconds: float, left: str) -> None:
    work = Progress("x", 100, "shards", print)
    work.advance(done)
    assert work.line(seconds).endswith(left)


def test_lines_come_at_most_every_so_often(clock: Clock) -> None:
    lines: list[str] = []
    with Progress("base_embeddings", 1000, "images", lines.append) as work:
        for _ in range(100):
            clock.now += 0.5
            work.advance(10)
    assert len(lines) == 50 // progress.LOG_EVERY_SECONDS
    assert lines[0] == "base_embeddings: 300 of 1,000 images, 20 images/s, 35 s left"
    assert lines[-1] == "base_embeddings: 900 of 1,000 images, 20 images/s, 5 s left"


def test_a_total_may_come_to_be_known_on_the_way(clock: Clock) -> None:
    lines: list[str] = []
    with Progress("weights", 0, "tensors", lines.append) as work:
        work.reach(0, None)
        for done, total in ((100, None), (200, 400)):
            clock.now += progress.LOG_EVERY_SECONDS
            work.reach(done, total)
    assert lines == ["weights: 100 tensors, 6.67 tensors/s", "weights: 200 of 400 tensors, 6.67 tensors/s, 30 s left"]


def test_what_is_there_before_work_begins_tells_nothing_of_its_rate(clock: Clock) -> None:
    lines: list[str] = []
    with Progress("a.tar", 0, progress.BYTES, lines.append) as work:
        clock.now += 1000
        work.reach(80_000_000, 100_000_000)
        for done in (83_000_000, 0, 1_500_000):  # the second: begun anew
            clock.now += progress.LOG_EVERY_SECONDS
            work.reach(done, 100_000_000)
    assert lines[1:] == [
        "a.tar: 83.0 MB of 100.0 MB, 200.0 kB/s, 1 min 25 s left",
        "a.tar: 0 bytes of 100.0 MB, 0 bytes/s, time left unknown",
        "a.tar: 1.5 MB of 100.0 MB, 100.0 kB/s, 16 min 25 s left",
    ]


def test_short_work_needs_no_line(clock: Clock) -> None:
    lines: list[str] = []
    with Progress("x", 3, "shards", lines.append) as work:
        for _ in range(3):
            clock.now += 1
            work.advance(1)
    assert lines == []


def test_slow_steps_are_told_one_by_one(clock: Clock) -> None:
    lines: list[str] = []
    work = Progress("x", 3, "shards", lines.append)
    for _ in range(3):
        clock.now += 60
        work.advance(1)
    assert [line.split(",")[0] for line in lines] == ["x: 1 of 3 shards", "x: 2 of 3 shards", "x: 3 of 3 shards"]
    assert lines[0].endswith("0.0167 shards/s, 2 min 00 s left")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_shown_on_a_terminal_only(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress("resized_images", 4, "shards", print) as work:
        work.advance(2)
    assert ("resized_images" in screen.getvalue()) is terminal
