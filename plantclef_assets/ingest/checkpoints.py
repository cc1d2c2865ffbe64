"""Files of published checkpoints: in the organisers' archive, or beside a file of weights.

The organisers publish one tar (Zenodo record 10848263): `pretrained_models/` with `class_mapping.txt` (one species_id
per line; the line number is the class index), `species_id_to_name.txt`, and two folders with a `model_best.pth.tar`
each, of which the completely fine-tuned one (`…_onlyclassifier_then_all`) is better. Only these files are extracted,
under fixed names, so that no path in the archive can write elsewhere. What does not belong here: reading tensors.
"""

import hashlib
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from plantclef_assets.ingest.tar_files import BoundedReads, is_compressed, is_tar
from plantclef_assets.lake.atomic import atomic_folder
from plantclef_assets.lake.safetensors_header import read_header

CLASS_MAPPING, SPECIES_NAMES, WEIGHTS = "class_mapping.txt", "species_id_to_name.txt", "model_best.pth.tar"
LICENCE = "CC-BY-4.0 (Zenodo 10848263)"
"""The licence in the record of the organisers' archive."""

_RECORD = re.compile(r"https://zenodo\.org/(api/)?records?/10848263/")
_PREFERRED = "_then_all"
_HEAD = "head.weight"
_MOST_INDEX_BYTES = 64 * 2**20
"""The index of a torch file has the names of its tensors, and their shapes: below 1 MB for the largest models."""


class CheckpointError(ValueError):
    """An archive or checkpoint is damaged, or has another content than the organisers' one."""


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of one checkpoint.

    Attributes:
        weights: the tensors.
        class_mapping: the class list of its classifier; None if there is none.
        species_names: the names of its species; None if there is none.
    """

    weights: Path
    class_mapping: Path | None = None
    species_names: Path | None = None


def checkpoint_files(location: Path, cache: Path) -> CheckpointFiles:
    """Return the files of a checkpoint: from an archive, or from the folder of the weights and its parent.

    Args:
        location: a tar archive as published, or a file of weights.
        cache: a folder for extracted files; an archive is extracted once.

    Raises:
        CheckpointError: the archive is damaged, or has no weights.
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
    """Whether a file is a tar archive; the `.pth.tar` of a checkpoint is not, despite its name."""
    return location.is_file() and is_tar(location)


def licence_at(address: str | None) -> str | None:
    """Return the licence of the file at an address; None unless the address is in the organisers' record."""
    return LICENCE if address and _RECORD.match(address) else None


def has_classifier(location: Path, class_list_given: bool = False) -> bool:
    """Whether a checkpoint has a classifier with a known class list; only names are read.

    Args:
        location: a tar archive as published, or a file of weights.
        class_list_given: whether the class list is known from another source.

    Raises:
        CheckpointError: the archive is damaged.
    """
    if is_archive(location):
        return any(Path(member.name).name == CLASS_MAPPING for member in _members(location))
    files = checkpoint_files(location, location.parent)
    return (class_list_given or files.class_mapping is not None) and _names_head(location)


def _names_head(weights: Path) -> bool:
    """Whether the index of a safetensors file or of a torch zip has the name of the classifier.

    Nothing else of the file is read. False for files of other kinds: loading them raises the error.

    Raises:
        CheckpointError: the index is damaged, or not that of a checkpoint.
    """
    try:
        if weights.suffix == ".safetensors":
            with weights.open("rb") as stream:
                return _HEAD in read_header(stream, weights.stat().st_size)
        with zipfile.ZipFile(weights) as archive:
            index = next(one for one in archive.infolist() if one.filename.endswith("data.pkl"))
            if index.compress_type != zipfile.ZIP_STORED or index.file_size > _MOST_INDEX_BYTES:
                raise ValueError(f"its index is compressed or longer than {_MOST_INDEX_BYTES:,} bytes")
            return _HEAD.encode() in archive.read(index)
    except (zipfile.BadZipFile, StopIteration):
        return False
    except (OSError, ValueError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{weights} is no checkpoint that can be read ({error}); download it again") from error


def _members(archive: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the files of a plain tar archive, reading headers only.

    Raises:
        CheckpointError: the archive is damaged or compressed.
    """
    try:
        with archive.open("rb") as stream, tarfile.open(fileobj=BoundedReads(stream), mode="r:") as opened:
            yield from (member for member in opened if member.isfile())
    except (tarfile.TarError, EOFError, OSError, ValueError, RecursionError) as error:
        advice = "decompress it first" if is_compressed(archive) else "download it again"
        raise CheckpointError(f"{archive} cannot be read as a tar archive ({error}); {advice}") from error


def _unpack(archive: Path, cache: Path) -> CheckpointFiles:
    """Extract the three files of an archive, once; they appear together or not at all."""
    chosen: dict[str, str] = {}
    for member in _members(archive):
        name = Path(member.name).name
        if name in (CLASS_MAPPING, SPECIES_NAMES) or (
            name == WEIGHTS and (WEIGHTS not in chosen or _PREFERRED in Path(member.name).parent.name)
        ):
            chosen[name] = member.name
    if WEIGHTS not in chosen:
        raise CheckpointError(f"{archive} has no {WEIGHTS}; the organisers' archive of pretrained models is needed")
    status = archive.stat()
    mark = hashlib.sha256(f"{archive}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()[:12]
    folder = cache / mark
    if not folder.is_dir():
        with atomic_folder(folder) as unfinished:
            try:
                with tarfile.open(archive, mode="r:") as opened:
                    for name, inside in chosen.items():
                        _copy(opened.extractfile(inside), unfinished / name)
            except (tarfile.TarError, EOFError, OSError) as error:
                raise CheckpointError(f"{archive} cannot be read to its end ({error}); download it again") from error
    found = {name: folder / name for name in chosen}
    return CheckpointFiles(found[WEIGHTS], found.get(CLASS_MAPPING), found.get(SPECIES_NAMES))


def _copy(source: IO[bytes] | None, target: Path) -> None:
    if source is None:
        raise CheckpointError(f"{target.name} is not a regular file in its archive")
    with source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream)
