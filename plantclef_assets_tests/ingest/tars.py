"""Tar archives that a test writes member by member, good and hostile ones."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_tar(path: Path, contents: Mapping[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> Path:
    """Write files of an archive in the order that they are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in contents.items():
            add_member(archive, name, content)
    return path


def add_member(archive: tarfile.TarFile, name: str, content: bytes = b"", **attributes: Any) -> None:
    """Add a member with any name and of any kind."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    archive.addfile(member, io.BytesIO(content))
