"""Whole files: a local file that exists is whole, and what killed processes left is cleared away."""

import glob
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY_SUFFIX = ".incomplete"
_TEMPORARY_NAME = re.compile(r"^\..+-(?P<process>\d+)-[0-9a-f]{8}\.incomplete$")
_ABANDONED_AFTER_DAYS = 1
"""Whether a process of another host still runs cannot be asked; none writes one file for so long."""


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Give a temporary file in the folder of `path`; it is gone when the block ends, unless it was moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    owner = f"{socket.gethostname()}-{os.getpid()}"
    temporary = path.with_name(f".{path.name}.{owner}-{uuid.uuid4().hex[:8]}{_TEMPORARY_SUFFIX}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary file to write; when the block ends well it takes the place of `path` in one step.

    Raises:
        FileExistsError: it may not replace a file, and there is one.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        # Some libraries write files for their owner alone; who may read the folder may read what is in it.
        temporary.chmod(path.parent.stat().st_mode & 0o666)
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)  # a rename would replace


def why_abandoned(name: str, changed: float) -> str | None:
    """Say how a temporary file came to be left behind; None where it is none, or may still be written.

    Args:
        name: of the file, without its folder.
        changed: when it was last written, seconds since 1970.
    """
    match = _TEMPORARY_NAME.match(name)
    if not match:
        return None
    process = int(match["process"])
    if f".{socket.gethostname()}-{process}-" in name:
        return None if _is_running(process) else f"process {process} ended before it was whole"
    days = (time.time() - changed) / 86400
    return f"a process of another host has not written it for {days:.0f} days" if days > _ABANDONED_AFTER_DAYS else None


def _remove_leftovers(path: Path) -> None:
    """Delete what killed processes of this host left of a file under temporary names."""
    own = glob.escape(f".{path.name}.{socket.gethostname()}-")
    for leftover in path.parent.glob(f"{own}*{_TEMPORARY_SUFFIX}"):
        owner = int(leftover.name.removesuffix(_TEMPORARY_SUFFIX).split("-")[-2])
        if not _is_running(owner):
            leftover.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
