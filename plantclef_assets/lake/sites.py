"""Sites: assets that are a folder of pages with a start page.

The pages lie in `<asset>/<fingerprint>/`, where readers of an earlier site find theirs until it is cleaned up. The
start page `<asset>/index.html` carries the record and is published last, in one step.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from plantclef_assets.lake.atomic import temporary_path
from plantclef_assets.lake.filesystems import is_in_bucket, open_filesystem
from plantclef_assets.lake.inputs import require_unchanged
from plantclef_assets.lake.store import PAGE_RECORD, Artifact, Lake, record_metadata
from plantclef_assets.lake.tables import Shard

SITES = ("plot_report",)
"""The assets that are sites."""
_UPLOADS_AT_ONCE = 16
_FINGERPRINT_BYTES = 16


def write_site(lake: Lake, shard: Shard, write: Callable[[Path], tuple[str, Mapping[str, Any]]]) -> None:
    """Write a site and publish it.

    Args:
        lake: the lake.
        shard: artifact and provenance.
        write: writes the pages below a folder, and returns the start page and the statistics for its record. In the
            start page, `PAGES` stands for the name of the pages' folder.

    Raises:
        ChangedInputError: an input was replaced since the provenance was determined.
    """
    artifact = shard.artifact
    with temporary_path(lake.folder / artifact.asset / "pages") as folder:
        folder.mkdir()
        start_page, statistics = write(folder)
        fingerprint = _digest((name, (folder / name).read_bytes()) for name in _names(folder))
        require_unchanged(lake, shard.provenance)
        _publish_pages(lake, artifact, folder, fingerprint)
    record = record_metadata(shard.provenance, fingerprint, statistics)
    with lake.publish(lake.path(artifact)) as temporary:
        text = json.dumps(record, sort_keys=True).replace("<", "\\u003c")
        page = start_page.replace("</head>", f"{PAGE_RECORD}{text}</script>\n</head>", 1)
        temporary.write_text(page.replace(PAGES, fingerprint), encoding="utf-8", newline="\n")


PAGES = "{{pages}}"
"""Stands for the name of the folder of the pages, which is known when they are written."""


def site_digest(lake: Lake, artifact: Artifact, fingerprint: str) -> str:
    """Compute the fingerprint of the pages of a site from their bytes; that of a missing folder is another one."""
    filesystem, root = open_filesystem(lake.root)
    folder = f"{root.rstrip('/')}/{artifact.asset}/{fingerprint}"
    names = sorted(path.removeprefix(folder).lstrip("/") for path in filesystem.find(folder))
    return _digest((name, filesystem.cat_file(f"{folder}/{name}")) for name in names)


def current_pages(lake: Lake, asset: str) -> str | None:
    """Return the name of the folder with the pages of a site; None if there is no site."""
    try:
        record = lake.record(Artifact(asset, suffix="html"))
    except ValueError:
        return None
    return record.fingerprint if record else None


def _publish_pages(lake: Lake, artifact: Artifact, folder: Path, fingerprint: str) -> None:
    """Publish the pages; those of the same fingerprint are the same."""
    if not is_in_bucket(lake.root):
        target = folder.with_name(fingerprint)
        if hasattr(os, "sync"):
            os.sync()  # one call for thousands of files
        if target.exists():  # perhaps damaged
            shutil.rmtree(target)
        folder.rename(target)
        return

    def upload(name: str) -> None:
        with lake.publish(lake.path_named(f"{artifact.asset}/{fingerprint}/{name}")) as temporary:
            shutil.copyfile(folder / name, temporary)

    with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
        for _ in pool.map(upload, _names(folder)):
            pass


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _digest(files: Iterator[tuple[str, bytes]]) -> str:
    digest = hashlib.blake2b(digest_size=_FINGERPRINT_BYTES)
    for name, content in files:
        digest.update(f"{PurePosixPath(name)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
