"""Atomic writing of local files and folders."""

import errno
import os
import stat
from pathlib import Path

import pytest

from plantclef_assets.lake.atomic import atomic_folder, atomic_write, publish_file


def test_a_folder_appears_complete(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "below" / "folder") as folder:
        (folder / "a").write_text("one")
        assert not (tmp_path / "below" / "folder").exists()
    assert (tmp_path / "below" / "folder" / "a").read_text() == "one"
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["folder"]


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="midway"), atomic_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("one")
        raise ValueError("midway")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_another_process_published_first_stays(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("second")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "a").write_text("first")
    assert (tmp_path / "folder" / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_folder_of_a_dead_process_is_removed(tmp_path: Path) -> None:
    import socket

    left = tmp_path / f".folder.{socket.gethostname()}-999999999-0123abcd.incomplete"
    left.mkdir()
    (left / "a").write_text("half")
    with atomic_folder(tmp_path / "folder"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_failed_file_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ValueError, match="midway"), atomic_write(path) as temporary:
        temporary.write_text("new")
        raise ValueError("midway")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_file_is_published_with_the_permissions_of_its_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    temporary, path = tmp_path / "temporary", tmp_path / "file"
    temporary.write_text("new")
    temporary.chmod(0o600)
    publish_file(temporary, path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert not temporary.exists()


def flushed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record what is flushed to the disk, in order; a path under its name at that time."""
    order: list[Path] = []
    flush = os.fsync

    def recorded(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    return order


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("replace", [True, False])
def test_a_published_file_and_its_folders_are_flushed_to_the_disk(
    replace: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = flushed(monkeypatch)
    with atomic_write(tmp_path / "asset" / "shard" / "file", replace=replace) as temporary:
        temporary.write_text("whole")
        assert order == [tmp_path / "asset", tmp_path], "the entries of new folders"
    assert order[2:] == [temporary, tmp_path / "asset" / "shard"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_published_folder_its_files_and_its_parent_are_flushed_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = flushed(monkeypatch)
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "below").mkdir()
        (temporary / "below" / "file").write_text("whole")
    assert set(order[:-1]) == {temporary, temporary / "below", temporary / "below" / "file"}
    assert order[-1] == tmp_path


def test_a_file_system_that_cannot_flush_folders_publishes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"


def test_a_failing_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"), atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert not list(tmp_path.iterdir())
