"""The local engine: the same bytes with any number of workers, and one bad shard harms no other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.engines.local import run_shards
from plantclef_assets.images.resizing import ResizedImages, ResizingConfig
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.engines.makers import FailingAt, TellNumber, TellProcess, shards_of

KEYS = ("00", "01", "02")


def test_one_worker_and_two_give_the_same_files_byte_for_byte(own_lake: Callable[..., Settings]) -> None:
    lake = Lake(own_lake().lake)
    shards = shards_of(*KEYS, asset="resized_images")
    places = [
        lake.path(Artifact(asset, key)) for asset in ("resized_images", "quarantine/resized_images") for key in KEYS
    ]
    made: dict[int, list[bytes]] = {}
    for workers in (1, 2):
        for place in places:
            place.unlink(missing_ok=True)
        outcomes = list(run_shards(ResizedImages(lake, ResizingConfig(32, 1_000_000)), shards, workers=workers))
        assert {outcome.shard.artifact.partition for outcome in outcomes} == set(KEYS)
        assert [outcome.error for outcome in outcomes] == [None] * 3
        assert all(outcome.seconds > 0 for outcome in outcomes)
        made[workers] = [place.read_bytes() for place in places]
    assert made[1] == made[2]


def test_two_workers_are_processes_of_their_own_and_one_is_not(tmp_path: Path) -> None:
    def processes() -> set[int]:
        return {int(file.read_text()) for file in tmp_path.glob("*.pid")}

    list(run_shards(TellProcess(tmp_path), shards_of(*KEYS), workers=1))
    assert processes() == {os.getpid()}
    list(run_shards(TellProcess(tmp_path), shards_of("00"), workers=2))
    assert processes() == {os.getpid()}, "a single shard needs no process of its own"
    list(run_shards(TellProcess(tmp_path), shards_of(*KEYS), workers=2))
    assert os.getpid() not in processes()
    assert 1 <= len(processes()) <= 2


def test_each_worker_has_a_number_and_takes_the_next_shard(tmp_path: Path) -> None:
    keys = [f"{number:02}" for number in range(7)]
    for _ in range(2):
        assert [one.error for one in run_shards(TellNumber(tmp_path, 3), shards_of(*keys), workers=3)] == [None] * 7
        told = [file.name.split(".") for file in tmp_path.iterdir()]
        assert sorted(key for key, _ in told) == keys
        assert {number for _, number in told} == {"0", "1", "2"}
        for file in tmp_path.iterdir():
            file.unlink()
    list(run_shards(TellNumber(tmp_path, 1), shards_of("00", "01"), workers=1))
    assert {file.name for file in tmp_path.iterdir()} == {"00.0", "01.0"}, "outside a pool the number is 0"


def test_nothing_to_do_is_no_work(tmp_path: Path) -> None:
    assert list(run_shards(TellProcess(tmp_path), [], workers=2)) == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("wrong value", "no shard 01"),
        ("missing input", "raw_images/01 is not in the lake"),
        ("unspeakable", "nothing at"),
    ],
)
def test_a_shard_that_fails_does_not_stop_the_others_and_its_error_comes_back(
    workers: int, how: str, said: str, tmp_path: Path
) -> None:
    outcomes = list(run_shards(FailingAt(tmp_path, "01", how), shards_of("00", "01", "02", "03"), workers=workers))
    errors = {outcome.shard.artifact.partition: outcome.error for outcome in outcomes}
    assert set(errors) == {"00", "01", "02", "03"}
    assert said in str(errors.pop("01"))
    assert set(errors.values()) == {None}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["00.txt", "02.txt", "03.txt"]


def test_a_worker_that_is_killed_leaves_no_shard_without_an_outcome(tmp_path: Path) -> None:
    outcomes = list(run_shards(FailingAt(tmp_path, "01", "killed"), shards_of("00", "01", "02"), workers=2))
    errors = {outcome.shard.artifact.partition: outcome.error for outcome in outcomes}
    assert set(errors) == set(KEYS)
    assert errors["01"] is not None
    made = {file.stem for file in tmp_path.iterdir()}
    assert {key for key, error in errors.items() if error is None} <= made


def is_running(process: int) -> bool:
    """Whether a process is there and is more than an entry that nobody has asked for yet."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path("/proc", str(process), "stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Poll until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.02)


def test_workers_leave_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from plantclef_assets.engines.local import run_shards\n"
        "from plantclef_assets_tests.engines.makers import TellProcess, shards_of\n"
        "list(run_shards(TellProcess(Path(sys.argv[1]), 600), shards_of('00', '01'), workers=2))"
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, env={**os.environ, "PYTHONPATH": root}
    )
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2 or parent.poll() is not None)
        workers = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
        assert len(set(workers)) == 2
        assert all(map(is_running, workers))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not any(map(is_running, workers)), seconds=20)
