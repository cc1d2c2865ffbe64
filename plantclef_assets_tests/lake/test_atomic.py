"""Atomic writing of local files and folders."""

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
