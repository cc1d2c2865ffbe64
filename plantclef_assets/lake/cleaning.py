"""Cleaning of a lake: finding and deleting files that no recipe needs any more.

Only files known to be the platform's own are considered: artifacts at the path that their own provenance gives,
sidecars, training states, and temporary files of processes that have ended. All other files are never touched.
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
from plantclef_assets.lake.sites import SITES, current_pages
from plantclef_assets.lake.store import RECORD_SUFFIXES, Artifact, Lake, Record, artifact_named, recorded_name

_SIDECAR_SUFFIXES = (".csv", ".json", ".png", ".jpg")
"""The suffixes of sidecars: submissions, covers, pictures of maps and figures."""
_FOLDERS = ("demo_survey",)
"""Assets that keep a folder of plain files beside their table; the files can be generated again."""
_QUARANTINE, _STATES = "quarantine", "training"


class ForeignSettingsError(ValueError):
    """The lake has no file that the settings name, so it was probably made with other settings."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a lake, with its name below the root."""

    name: str
    bytes: int
    changed: float
    """Seconds since 1970."""
    handle: Any = None
    """In a bucket: the object, in the generation that was listed."""


@dataclass(frozen=True)
class Leftover:
    """A file, or a folder (its name ends with a slash), that is no longer needed, and the reason."""

    file: StoredFile
    reason: str


def find_leftovers(lake: Lake, recipes: Mapping[str, Recipe], sources: Collection[str] = ()) -> list[Leftover]:
    """Return the platform's files that no recipe names any more, sorted by name; sidecars precede their table.

    Files that recipes name are never included, up to date or not; neither are files at one of `sources`.

    Args:
        lake: a local folder or a bucket; the cache of a bucket is not searched.
        recipes: the recipes of the lake's settings.
        sources: paths and addresses that the settings read from; those outside the lake have no effect.

    Raises:
        ForeignSettingsError: the lake has artifacts, but none that the recipes name.
        UnreachableBucketError: there is no permission to use the bucket.
    """
    lake.require()
    named = _names_of(lake, recipes)
    kept = {name for source in sources if (name := _below(lake.root, source))}
    files = [*_list_files(lake, recipes)]
    sites = _current_sites(lake, files)
    found, some_named = [], False
    for file in files:
        if file.name in named:
            some_named = True
        elif not any(_holds(name, file.name) or _holds(file.name, name) for name in kept):
            reason = _why_left(lake, recipes, sites, file)
            if reason:
                found.append(Leftover(file, reason))
    if found and not some_named:
        raise ForeignSettingsError(
            f"{lake.root} has {len(found)} files of other settings and none of these; set the variables and the "
            "profile that it was made with, or delete it yourself"
        )
    return sorted(found, key=_order_of_deletion)


def delete_leftover(lake: Lake, leftover: Leftover) -> None:
    """Delete a leftover, and its folder if that is empty then.

    Raises:
        OvertakenError: in a bucket, the object has been replaced since it was found.
        UnreachableBucketError: there is no permission to write to the bucket.
    """
    if leftover.file.handle is not None:
        buckets.delete_object(leftover.file.handle)
        return
    path = Path(lake.root, leftover.file.name)
    if leftover.file.name.endswith("/"):
        shutil.rmtree(path)
        return
    path.unlink(missing_ok=True)
    with suppress(OSError):  # the folder is not empty
        if path.parent != Path(lake.root):
            path.parent.rmdir()


def _order_of_deletion(leftover: Leftover) -> tuple[str, bool, str]:
    """Return the sort key of a leftover: a table identifies its sidecars, so it is deleted after them."""
    path = PurePosixPath(leftover.file.name)
    stem = path.with_name(path.name.partition(".")[0] or path.name)
    return str(stem), path.suffix.removeprefix(".") in RECORD_SUFFIXES, leftover.file.name


def _names_of(lake: Lake, recipes: Mapping[str, Recipe]) -> set[str]:
    """Return the names of all files of the recipes, with their sidecars and quarantine tables."""
    names = set()
    for recipe in recipes.values():
        for artifact in recipe.artifacts:
            sidecars = (_below(lake.root, str(path)) for path in recipe.beside(lake, artifact))
            names |= {artifact.file, f"{_QUARANTINE}/{artifact}.parquet", *sidecars}
    return names


def _below(root: str, location: str) -> str:
    """Return the name of a location below the root of a lake; empty if it is elsewhere."""
    if is_in_bucket(root):
        return location.removeprefix(f"{root}/") if location.startswith(f"{root}/") else ""
    if is_in_bucket(location):
        return ""
    folder, path = (Path(os.path.realpath(one)) for one in (root, location))
    return path.relative_to(folder).as_posix() if folder in path.parents else ""


def _holds(folder: str, name: str) -> bool:
    """Whether a name is the folder's own, or below it."""
    return f"{name}/".startswith(folder if folder.endswith("/") else f"{folder}/")


def _list_files(lake: Lake, recipes: Mapping[str, Recipe]) -> Iterator[StoredFile]:
    """Yield the files of a lake; a folder of plain files is one entry, and is skipped if a recipe names its asset."""
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
            for name in [name for name in folders if name.startswith(".")]:  # unfinished folders
                folders.remove(name)
                path = Path(folder, name)
                yield StoredFile(f"{name}/", _folder_bytes(path), path.stat().st_mtime)
        if str(place) in SITES:
            for pages in folders:
                changed = os.lstat(Path(folder, pages)).st_mtime
                yield StoredFile(f"{place}/{pages}/", _folder_bytes(Path(folder, pages)), changed)
            folders.clear()
        for name in files:
            status = os.lstat(Path(folder, name))
            yield StoredFile((place / name).as_posix(), status.st_size, status.st_mtime)


def _folder_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _current_sites(lake: Lake, files: Collection[StoredFile]) -> dict[str, tuple[str | None, float]]:
    """Return the folder of the current pages of each site, and when its start page was published."""
    published = {file.name: file.changed for file in files}
    starts = {site: Artifact(site, suffix="html").file for site in SITES}
    return {site: (current_pages(lake, site), published.get(start, 0.0)) for site, start in starts.items()}


def _why_page_is_left(
    recipes: Mapping[str, Recipe], site: str, current: tuple[str | None, float], file: StoredFile
) -> str | None:
    """Return why a page is a leftover; None if it is current, or newer than the start page: that comes after it."""
    folder, published = file.name.split("/")[1], current[1]
    if folder.startswith("."):
        return why_abandoned(folder, file.changed)
    if site not in recipes:
        return f"these settings have no {site}"
    return None if folder == current[0] or file.changed >= published else f"it belongs to an earlier {site}"


def _why_left(
    lake: Lake, recipes: Mapping[str, Recipe], sites: Mapping[str, tuple[str | None, float]], file: StoredFile
) -> str | None:
    """Return why a file that no recipe names is a leftover; None if it is needed or not the platform's.

    `sites` is from `_current_sites`.
    """
    name = PurePosixPath(file.name)
    site, _, below = file.name.partition("/")
    if site in SITES and "/" in below:
        return _why_page_is_left(recipes, site, sites[site], file)
    if name.name.startswith("."):
        return why_abandoned(name.name, file.changed)
    if file.name.endswith("/"):
        return f"these settings have no source in {name}"
    asset = name.parts[0].partition(".")[0]
    if asset == _STATES and name.suffix == ".pt":
        return _why_state_is_left(lake, recipes, name.stem)
    if name.suffix in _SIDECAR_SUFFIXES and asset in TABLES and _is_sidecar_in_place(lake, recipes, name):
        return f"it is a sidecar of an artifact of {asset} that these settings do not make"
    if name.suffix.removeprefix(".") not in RECORD_SUFFIXES or not _is_artifact_in_place(lake, name):
        return None
    if asset == _QUARANTINE:
        return (
            f"it is the quarantine of {name.relative_to(_QUARANTINE).with_suffix('')}, which these settings do not make"
        )
    if asset in recipes:
        return f"these settings have no such partition of {asset}"
    return f"these settings have no {asset}"


def _is_sidecar_in_place(lake: Lake, recipes: Mapping[str, Recipe], name: PurePosixPath) -> bool:
    """Whether a file is named after a partition of the recipes or after a table that is in place."""
    table = name.with_name(f"{name.name.partition('.')[0]}.parquet")
    artifact = artifact_named(str(table))
    recipe = recipes.get(artifact.asset)
    return (recipe is not None and artifact in recipe.artifacts) or _is_artifact_in_place(lake, table)


def _is_artifact_in_place(lake: Lake, name: PurePosixPath) -> bool:
    """Whether a file is an artifact at the path that its own provenance gives."""
    artifact = artifact_named(str(name))
    record = _try_record(lake, artifact) if artifact.file == str(name) else None
    return record is not None and recorded_name(record.provenance) == str(artifact)


def _try_record(lake: Lake, artifact: Artifact) -> Record | None:
    try:
        return lake.record(artifact)
    except Exception:  # it is not a file of the platform
        return None


def _why_state_is_left(lake: Lake, recipes: Mapping[str, Recipe], asset: str) -> str | None:
    """Return why a training state is useless; None while the training may resume from it."""
    if asset not in recipes:
        return f"these settings train no {asset}"
    if Lineage(lake, recipes).stale(recipes[asset].artifact()) is None:
        return f"{asset} is finished and up to date"
    return None
