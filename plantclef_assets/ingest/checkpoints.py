"""Published checkpoints: what lies in the organisers' archive, and what lies beside a file of weights.

The organisers publish one tar (Zenodo record 10848263): `pretrained_models/` with `class_mapping.txt` (a species_id a
line, the line is the class index), `species_id_to_name.txt`, and two folders with a `model_best.pth.tar` each, of which
the one fine-tuned as a whole (`…_onlyclassifier_then_all`) is the better. Only these files are taken out, under names
of our own, so that no path in the archive can lead elsewhere. No tensor is read here.
"""

import hashlib
import json
import re
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from plantclef_assets.lake.atomic import atomic_folder

CLASS_MAPPING, SPECIES_NAMES, WEIGHTS = "class_mapping.txt", "species_id_to_name.txt", "model_best.pth.tar"
LICENCE = "CC-BY-4.0 (Zenodo 10848263)"
"""What the record of the organisers' archive says."""

_RECORD = re.compile(r"https://zenodo\.org/(api/)?records?/10848263/")
_PREFERRED = "_then_all"
_HEAD = "head.weight"


class CheckpointError(ValueError):
    """An archive or checkpoint that is not what the organisers publish, or is damaged."""


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of one checkpoint.

    Attributes:
        weights: the tensors.
        class_mapping: the class list of its classifier; None where there is none.
        species_names: names of its species; None where there is none.
    """

    weights: Path
    class_mapping: Path | None = None
    species_names: Path | None = None


def checkpoint_files(location: Path, cache: Path) -> CheckpointFiles:
    """Find the files of a checkpoint: in an archive, or beside a file of weights and one folder above it.

    Args:
        location: a tar archive as published, or a file of weights.
        cache: a folder for what is taken out of an archive; taken out once.

    Raises:
        CheckpointError: the archive is damaged, or has no weights in it.
    """
    if is_archive(location):
        return _unpack(location, cache)
    above = (location.parent, location.parent.parent)
    found = {
        name: next((folder / name for folder in above if (folder / name).is_file()), None)
        for name in (CLASS_MAPPING, SPECIES_NAMES)
    }
    return CheckpointFiles(location, found[CLASS_MAPPING], found[SPECIES_NAMES])


def is_archive(location: Path) -> bool:
    """Whether a file is a tar; the `.pth.tar` of a checkpoint is none, despite its name."""
    return location.is_file() and tarfile.is_tarfile(location)


def licence_at(address: str | None) -> str | None:
    """Give the licence of what lies at an address; None where it is not that of the organisers' record."""
    return LICENCE if address and _RECORD.match(address) else None


def has_classifier(location: Path, class_list_given: bool = False) -> bool:
    """Whether a checkpoint brings a classifier and its class list is known, by a look at names alone.

    Args:
        location: a tar archive as published, or a file of weights.
        class_list_given: whether the class list is known from elsewhere.

    Raises:
        CheckpointError: the archive is damaged.
    """
    if is_archive(location):
        return any(Path(member.name).name == CLASS_MAPPING for member in _members(location))
    files = checkpoint_files(location, location.parent)
    return (class_list_given or files.class_mapping is not None) and _names_head(location)


def _names_head(weights: Path) -> bool:
    """Look for the classifier's name in the table of contents of a safetensors file or torch's zip."""
    try:
        if weights.suffix == ".safetensors":
            with weights.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                return _HEAD in json.loads(stream.read(length))
        with zipfile.ZipFile(weights) as archive:
            index = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            return _HEAD.encode() in archive.read(index)
    except (OSError, ValueError, struct.error, zipfile.BadZipFile, StopIteration):
        return False  # what is wrong with it is said when it is loaded


def _members(archive: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(archive) as opened:
            yield from (member for member in opened if member.isfile())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CheckpointError(f"{archive} cannot be read as a tar archive ({error}); fetch it again") from error


def _unpack(archive: Path, cache: Path) -> CheckpointFiles:
    """Take the three files out of an archive, once; they appear together or not at all."""
    chosen: dict[str, str] = {}
    for member in _members(archive):
        name = Path(member.name).name
        if name in (CLASS_MAPPING, SPECIES_NAMES) or (
            name == WEIGHTS and (WEIGHTS not in chosen or _PREFERRED in Path(member.name).parent.name)
        ):
            chosen[name] = member.name
    if WEIGHTS not in chosen:
        raise CheckpointError(f"{archive} holds no {WEIGHTS}; the organisers' archive of pretrained models is needed")
    status = archive.stat()
    mark = hashlib.sha256(f"{archive}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()[:12]
    folder = cache / mark
    if not folder.is_dir():
        with atomic_folder(folder) as unfinished:
            try:
                with tarfile.open(archive) as opened:
                    for name, inside in chosen.items():
                        _copy(opened.extractfile(inside), unfinished / name)
            except (tarfile.TarError, EOFError, OSError) as error:
                raise CheckpointError(f"{archive} cannot be read to its end ({error}); fetch it again") from error
    found = {name: folder / name for name in chosen}
    return CheckpointFiles(found[WEIGHTS], found.get(CLASS_MAPPING), found.get(SPECIES_NAMES))


def _copy(source: IO[bytes] | None, target: Path) -> None:
    if source is None:
        raise CheckpointError(f"{target.name} is no plain file in its archive")
    with source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream)
