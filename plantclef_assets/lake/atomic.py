"""Atomic writing: local files and folders appear complete or not at all, and leftovers of dead processes are removed.

What belongs here: temporary names, and publication by one rename. What does not: objects in buckets (`buckets.py`), and
downloads that outlive their process (`ingest/downloads/partial.py`), which are published by `publish_file` too.
"""

import errno
import glob
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY_SUFFIX = ".incomplete"
_TEMPORARY_NAME = re.compile(r"^\..+-(?P<process>\d+)-[0-9a-f]{8}\.incomplete$")
_ABANDONED_AFTER_DAYS = 1
"""Age after which a temporary file of another host counts as abandoned; no process writes one file for that long."""

_FLUSHED_AT_ONCE = 16
"""Files of a folder that are flushed at the same time; journals of file systems take waiting writers together."""
_CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP}


@contextmanager
def atomic_write(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary file to write; if the block succeeds, it is published as `path` in one step.

    Raises:
        FileExistsError: `replace` is false and `path` exists.
    """
    with temporary_path(path) as temporary:
        yield temporary
        publish_file(temporary, path, replace=replace)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; if the block succeeds, it is published as `path` in one step.

    If another process has published `path` in the meantime, that folder stays and this one is discarded.
    """
    with temporary_path(path) as temporary:
        temporary.mkdir()
        yield temporary
        with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as threads:
            list(threads.map(_flush, (temporary, *temporary.rglob("*"))))
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        _flush(path.parent)


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """Yield an unused name in the folder of `path`; what is there at the end of the block is deleted."""
    _create_folder(path.parent)
    _remove_leftovers(path)
    owner = f"{socket.gethostname()}-{os.getpid()}"
    temporary = path.with_name(f".{path.name}.{owner}-{uuid.uuid4().hex[:8]}{_TEMPORARY_SUFFIX}")
    try:
        yield temporary
    finally:
        _delete(temporary)


def publish_file(temporary: Path, path: Path, *, replace: bool = True) -> None:
    """Flush a finished file to the disk and publish it as `path`, in the same folder, in one step.

    After a power failure the file is complete or absent, and there once this function has returned.

    Raises:
        FileExistsError: `replace` is false and `path` exists.
    """
    _flush(temporary)
    # Some libraries create files readable by their owner only; readers of the folder may read its files.
    temporary.chmod(path.parent.stat().st_mode & 0o666)
    if replace:
        temporary.replace(path)
    else:
        path.hardlink_to(temporary)  # a rename would replace
    _flush(path.parent)


def why_abandoned(name: str, changed: float) -> str | None:
    """Return why a temporary file is abandoned; None if it is not a temporary file, or may still be written.

    Args:
        name: name of the file, without its folder.
        changed: time of its last change, seconds since 1970.
    """
    match = _TEMPORARY_NAME.match(name)
    if not match:
        return None
    process = int(match["process"])
    if f".{socket.gethostname()}-{process}-" in name:
        return None if _is_running(process) else f"process {process} ended before it was complete"
    days = (time.time() - changed) / 86400
    return f"a process of another host has not written it for {days:.0f} days" if days > _ABANDONED_AFTER_DAYS else None


def _create_folder(folder: Path) -> None:
    """Create a folder and its parents, and flush the entries of the new ones to the disk."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in new:
        _flush(one.parent)


def _flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk; file systems without folders to flush are left alone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """Delete the temporary files of a path whose processes, on this host, have ended."""
    own = glob.escape(f".{path.name}.{socket.gethostname()}-")
    for leftover in path.parent.glob(f"{own}*{_TEMPORARY_SUFFIX}"):
        owner = int(leftover.name.removesuffix(_TEMPORARY_SUFFIX).split("-")[-2])
        if not _is_running(owner):
            _delete(leftover)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
