"""Publishing: a file that exists is whole, and what killed processes left is cleared away."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from plantclef_assets.lake.store import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def place(lake: Lake) -> Path:
    return Path(lake.root) / "asset" / "00.txt"


def names_beside(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def leftover(path: Path, owner: int, host: str = "") -> Path:
    """Leave a file as a process would that died while it wrote."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = path.with_name(f".{path.name}.{host or socket.gethostname()}-{owner}-0123abcd.incomplete")
    left.write_text("half")
    return left


def dead_process() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_nothing_is_there_before_the_end(lake: Lake) -> None:
    path = place(lake)
    with lake.publish(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent, "a rename must not cross file systems"
        assert temporary.name.startswith(".")
        assert not list(path.parent.glob("*.txt"))
    assert path.read_text() == "whole"
    assert names_beside(path) == [path.name]


def test_the_old_file_stands_until_the_new_one_is_whole(lake: Lake) -> None:
    path = place(lake)
    for text in ("old", "new"):
        with lake.publish(path) as temporary:
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "old"
    assert path.read_text() == "new"


def test_an_exception_leaves_the_old_file_and_nothing_else(lake: Lake) -> None:
    path = place(lake)
    with lake.publish(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(KeyboardInterrupt), lake.publish(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names_beside(path) == [path.name]


def test_a_killed_process_leaves_no_file_under_the_final_name(lake: Lake) -> None:
    path = place(lake)
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, signal, sys; from pathlib import Path; from plantclef_assets.lake.store import Lake\n"
            "path = Path(sys.argv[1])\n"
            "with Lake(sys.argv[2]).publish(path) as temporary:\n"
            "    temporary.write_text('half')\n"
            "    os.kill(os.getpid(), signal.SIGKILL)",
            str(path),
            lake.root,
        ],
        check=False,
    )
    assert killed.returncode < 0
    (left,) = names_beside(path)
    assert left.endswith(".incomplete")
    with lake.publish(path) as temporary:
        temporary.write_text("whole")
    assert names_beside(path) == [path.name]


def test_leftovers_of_dead_processes_are_removed_and_others_kept(lake: Lake) -> None:
    path = place(lake)
    dead = leftover(path, dead_process())
    living = leftover(path, os.getppid())
    elsewhere = leftover(path, dead_process(), host="another-host")
    neighbour = leftover(path.with_name("01.txt"), dead_process())
    with lake.publish(path) as temporary:
        assert not dead.exists()
        temporary.write_text("whole")
    assert living.exists(), "its process may still be writing"
    assert elsewhere.exists(), "nobody here knows whether that process lives"
    assert neighbour.exists(), "it is of another artifact"


@pytest.mark.parametrize(("name", "other"), [("p[1].txt", "p1.txt"), ("p*.txt", "pq.txt"), ("p?.txt", "pq.txt")])
def test_leftovers_of_a_name_with_a_pattern_are_its_own(lake: Lake, name: str, other: str) -> None:
    path = place(lake).with_name(name)
    own, neighbour = (leftover(path.with_name(one), dead_process()) for one in (name, other))
    with lake.publish(path) as temporary:
        temporary.write_text("whole")
    assert (own.exists(), neighbour.exists()) == (False, True)


def test_a_block_that_writes_nothing_is_an_error_and_publishes_nothing(lake: Lake) -> None:
    with pytest.raises(FileNotFoundError), lake.publish(place(lake)):
        pass
    assert not place(lake).exists()


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o750])
def test_who_may_read_the_folder_may_read_the_file(lake: Lake, mode: int) -> None:
    path = place(lake)
    path.parent.mkdir(parents=True)
    path.parent.chmod(mode)
    with lake.publish(path) as temporary:
        temporary.write_text("written for its owner alone")
        temporary.chmod(0o600)
    assert path.stat().st_mode & 0o777 == mode & 0o666


def test_what_may_not_be_replaced_stays(lake: Lake) -> None:
    path = place(lake)
    with lake.publish(path, replace=False) as temporary:
        temporary.write_text("first")
    with pytest.raises(FileExistsError), lake.publish(path, replace=False) as temporary:
        temporary.write_text("second")
    assert path.read_text() == "first"
    assert names_beside(path) == [path.name]
