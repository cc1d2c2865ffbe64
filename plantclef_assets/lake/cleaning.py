"""Cleaning a lake: which of its files no recipe names any more, and their removal.

A file is only ever judged where it is known to be the platform's own: an artifact that lies where its own provenance
says, what is made beside one, the state of a training, a temporary file of a process that has ended. All else in the
folder belongs to somebody else and is not looked at.
"""

import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from plantclef_assets.lake import buckets
from plantclef_assets.lake.atomic import why_abandoned
from plantclef_assets.lake.filesystems import is_in_bucket
from plantclef_assets.lake.provenance import Lineage, Recipe
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.store import RECORD_SUFFIXES, Artifact, Lake, Record

_BESIDE = (".csv", ".json", ".png")
"""What is made beside tables: submissions, covers, pictures of maps."""
_FOLDERS = ("demo_survey",)
"""Assets that keep a folder of plain files beside their table, each drawn anew from nothing."""
_QUARANTINE, _STATES = "quarantine", "training"


class ForeignSettingsError(ValueError):
    """Nothing that the settings name is in the lake, so they can hardly be the ones that it was made with."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a lake, by its name below the root."""

    name: str
    bytes: int
    changed: float
    """Seconds since 1970."""
    handle: Any = None
    """In a bucket the object, in the generation that was listed."""


@dataclass(frozen=True)
class Leftover:
    """A file, or a folder (its name ends with a slash), that nothing needs any more, and why."""

    file: StoredFile
    reason: str


def find_leftovers(lake: Lake, recipes: Mapping[str, Recipe], sources: Collection[str] = ()) -> list[Leftover]:
    """Find what the platform made and no recipe names any more, by name.

    What recipes name is never among it, whether it is up to date or not; neither is what lies at one of `sources`.

    Args:
        lake: a local folder or a bucket; in a bucket, what lies in the cache is not looked at.
        recipes: of the settings that the lake is kept for.
        sources: paths and addresses that the settings read from; those outside the lake do no harm.

    Raises:
        ForeignSettingsError: nothing that the recipes name is there, but other artifacts are.
        UnreachableBucketError: the bucket may not be used.
    """
    lake.require()
    named = _names_of(lake, recipes)
    kept = {name for source in sources if (name := _below(lake.root, source))}
    found, some_named = [], False
    for file in _list_files(lake, recipes):
        if file.name in named:
            some_named = True
        elif not any(_holds(name, file.name) or _holds(file.name, name) for name in kept):
            reason = _why_left(lake, recipes, file)
            if reason:
                found.append(Leftover(file, reason))
    if found and not some_named:
        raise ForeignSettingsError(
            f"{lake.root} holds {len(found)} files of other settings and none of these; set the variables and the "
            "profile that it was made with, or delete it yourself"
        )
    return sorted(found, key=lambda leftover: leftover.file.name)


def delete_leftover(lake: Lake, leftover: Leftover) -> None:
    """Delete what was found to be left over, and the folder that it leaves empty.

    Raises:
        OvertakenError: in a bucket, it has been replaced since it was found.
        UnreachableBucketError: the bucket may not be written.
    """
    if leftover.file.handle is not None:
        buckets.delete_object(leftover.file.handle)
        return
    path = Path(lake.root, leftover.file.name)
    if leftover.file.name.endswith("/"):
        shutil.rmtree(path)
        return
    path.unlink(missing_ok=True)
    with suppress(OSError):  # it is not empty
        if path.parent != Path(lake.root):
            path.parent.rmdir()


def _names_of(lake: Lake, recipes: Mapping[str, Recipe]) -> set[str]:
    """Name all files that recipes ask for, with those beside them and what was set aside."""
    names = set()
    for recipe in recipes.values():
        for artifact in recipe.artifacts:
            beside = (_below(lake.root, str(path)) for path in recipe.beside(lake, artifact))
            names |= {f"{artifact}.{artifact.suffix}", f"{_QUARANTINE}/{artifact}.parquet", *beside}
    return names


def _below(root: str, location: str) -> str:
    """Give a location's name below the root of a lake; empty where it lies elsewhere."""
    if is_in_bucket(root):
        return location.removeprefix(f"{root}/") if location.startswith(f"{root}/") else ""
    if is_in_bucket(location):
        return ""
    folder, path = (Path(os.path.realpath(one)) for one in (root, location))
    return path.relative_to(folder).as_posix() if folder in path.parents else ""


def _holds(folder: str, name: str) -> bool:
    """Whether a name is that of a folder, or of something in it."""
    return f"{name}/".startswith(folder if folder.endswith("/") else f"{folder}/")


def _list_files(lake: Lake, recipes: Mapping[str, Recipe]) -> Iterator[StoredFile]:
    """List a lake's files; a folder of many plain ones is listed as one, where no recipe names its asset."""
    if is_in_bucket(lake.root):
        for blob in buckets.list_objects(lake.storage, f"{lake.root}/"):
            name = f"{buckets.BUCKETS}{blob.bucket.name}/{blob.name}".removeprefix(f"{lake.root}/")
            yield StoredFile(name, blob.size or 0, blob.updated.timestamp(), blob)
        return
    for folder, folders, files in os.walk(lake.root):
        place = Path(folder).relative_to(lake.root)
        if place == Path():
            for name in set(_FOLDERS) & set(folders):
                folders.remove(name)
                if name not in recipes:
                    yield StoredFile(f"{name}/", _folder_bytes(Path(folder, name)), time.time())
        for name in files:
            status = os.lstat(Path(folder, name))
            yield StoredFile((place / name).as_posix(), status.st_size, status.st_mtime)


def _folder_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _why_left(lake: Lake, recipes: Mapping[str, Recipe], file: StoredFile) -> str | None:
    """Say why a file that no recipe names is left over; None where it is needed, or not the platform's."""
    name = PurePosixPath(file.name)
    if file.name.endswith("/"):
        return f"no source of these settings lies in {name}"
    if name.name.startswith("."):
        return why_abandoned(name.name, file.changed)
    asset = name.parts[0].partition(".")[0]
    if asset == _STATES and name.suffix == ".pt":
        return _why_state_is_left(lake, recipes, name.stem)
    if name.suffix in _BESIDE and asset in TABLES:
        return f"it lies beside an artifact of {asset} that these settings do not make"
    if name.suffix.removeprefix(".") not in RECORD_SUFFIXES or not _lies_where_it_says(lake, name):
        return None
    if asset == _QUARANTINE:
        return (
            f"it was set aside from {name.relative_to(_QUARANTINE).with_suffix('')}, which these settings do not make"
        )
    if asset in recipes:
        return f"these settings have no such partition of {asset}"
    return f"these settings have no {asset}"


def _lies_where_it_says(lake: Lake, name: PurePosixPath) -> bool:
    """Whether a file is an artifact, in the place that its own provenance gives."""
    record = _try_record(lake, Artifact(str(name.with_suffix("")), suffix=name.suffix.removeprefix(".")))
    if record is None or not record.provenance.get("asset"):
        return False
    return str(Artifact(record.provenance["asset"], record.provenance.get("partition"))) == str(name.with_suffix(""))


def _try_record(lake: Lake, artifact: Artifact) -> Record | None:
    try:
        return lake.record(artifact)
    except Exception:  # whatever it is, it is none of ours
        return None


def _why_state_is_left(lake: Lake, recipes: Mapping[str, Recipe], asset: str) -> str | None:
    """Say why the state of a training is of no more use; None while the training may go on from it."""
    if asset not in recipes:
        return f"these settings train no {asset}"
    if Lineage(lake, recipes).stale(recipes[asset].artifact()) is None:
        return f"{asset} is finished and up to date"
    return None
