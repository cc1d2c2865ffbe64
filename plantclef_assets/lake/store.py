"""Where artifacts lie, and how they get there whole.

An artifact is one file of one asset: `<root>/<asset>/<partition>.<suffix>`, or `<root>/<asset>.<suffix>` for an asset
without partitions. It is written under a temporary name and published by one rename, or in a bucket by one upload that
replaces what was there when its making began, and nothing else; so a file that exists is whole. Each carries a record
in its own header or footer: its provenance, the fingerprint of its rows, and its figures.
"""

import io
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Union

import pyarrow as pa
import pyarrow.parquet as pq

from plantclef_assets.lake import buckets
from plantclef_assets.lake.atomic import atomic_write, temporary_path
from plantclef_assets.lake.filesystems import bucket_options, default_cache, is_in_bucket, local_folder
from plantclef_assets.lake.parquet_files import CheckedFile, Damaged, damage_named, written_schema

if TYPE_CHECKING:
    from google.cloud.storage import Client
    from upath import UPath

LakePath = Union[Path, "UPath"]
"""A file of the lake: a local path, or a path in a bucket that behaves like one; `Lake.local` makes it local."""

PROVENANCE_KEY = "plantclef.provenance"
FINGERPRINT_KEY = "plantclef.fingerprint"
FIGURES_KEY = "plantclef.figures"

OTHER_TENSORS = "its tensors are not those that it was written with"
"""What is wrong with a file of tensors that do not have the fingerprint in its header."""


@dataclass(frozen=True, order=True)
class Artifact:
    """The address of one file in the lake: an asset and, where it has partitions, one of their keys."""

    asset: str
    partition: str | None = None
    suffix: str = field(default="parquet", compare=False)

    def __str__(self) -> str:
        return self.asset if self.partition is None else f"{self.asset}/{self.partition}"


def artifact_named(name: str) -> Artifact:
    """Return the artifact whose file has a name below the root of a lake."""
    path = PurePosixPath(name)
    parts = path.with_suffix("").parts
    folders = 2 if parts[0] == "quarantine" else 1  # quarantine/<asset>/<partition>.parquet
    return Artifact("/".join(parts[:folders]), "/".join(parts[folders:]) or None, path.suffix.removeprefix("."))


def made_as(provenance: Mapping[str, Any]) -> str | None:
    """Return the name of the artifact that a file was made as, by its provenance; None where that does not say."""
    asset, partition = provenance.get("asset"), provenance.get("partition")
    return str(Artifact(asset, partition)) if asset else None


@dataclass(frozen=True)
class Record:
    """What an artifact says of itself in its footer (parquet) or header (safetensors)."""

    provenance: Mapping[str, Any]
    fingerprint: str
    figures: Mapping[str, Any]
    bytes: int
    rows: int | None = None
    schema: pa.Schema | None = None


class MissingArtifactError(FileNotFoundError):
    """An artifact that was asked for is not in the lake."""

    def __init__(self, artifact: Artifact, path: LakePath) -> None:
        super().__init__(f"{artifact} is not in the lake ({path}); materialize {artifact.asset} first")
        self.artifact, self.path = artifact, path

    def __reduce__(self) -> tuple[type["MissingArtifactError"], tuple[Artifact, LakePath]]:
        return type(self), (self.artifact, self.path)  # it has to cross process boundaries


class DamagedArtifactError(ValueError):
    """The file of an artifact is truncated, empty, malformed, or not what was written."""

    def __init__(self, artifact: Artifact, path: LakePath, reason: str) -> None:
        asset = artifact.asset.removeprefix("quarantine/")
        super().__init__(f"{artifact} is damaged ({reason.rstrip('.')}); delete {path} and materialize {asset} again")
        self.artifact, self.path, self.reason = artifact, path, reason

    def __reduce__(self) -> tuple[type["DamagedArtifactError"], tuple[Artifact, LakePath, str]]:
        return type(self), (self.artifact, self.path, self.reason)  # it has to cross process boundaries


@dataclass(frozen=True)
class Lake:
    """The root of all artifacts, and where files are kept that have to be local.

    Attributes:
        root: a local folder, or `gs://bucket/prefix`.
        cache: the folder for local copies; used where the root is in a bucket.
        client: of Cloud Storage; the process's own if None. It stays behind when the lake goes to another process.
    """

    root: str
    cache: str = field(default_factory=lambda: str(default_cache()), compare=False)
    client: "Client | None" = field(default=None, compare=False, repr=False)

    def __reduce__(self) -> tuple[type["Lake"], tuple[str, str]]:
        return type(self), (self.root, self.cache)

    @property
    def folder(self) -> Path:
        """The local folder that belongs to the lake: itself, or for one in a bucket its part of the cache."""
        return local_folder(self.root, self.cache)

    def require(self) -> None:
        """Make sure that the root can be used; a folder is made when it is needed, a bucket has to be there.

        Raises:
            UnreachableBucketError: there is no such bucket, or no permission to use it.
        """
        if is_in_bucket(self.root):
            buckets.require_bucket(self.storage, self.root)

    def path(self, artifact: Artifact) -> LakePath:
        """Give the file of an artifact, whether it exists or not."""
        name = f"{artifact}.{artifact.suffix}"
        if not is_in_bucket(self.root):
            return Path(self.root, name)
        from upath import UPath

        return UPath(f"{self.root.rstrip('/')}/{name}", **bucket_options())

    def exists(self, artifact: Artifact) -> bool:
        """Whether the artifact is in the lake."""
        return self.path(artifact).is_file()

    def read(
        self, artifact: Artifact, columns: list[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
    ) -> pa.Table:
        """Read a parquet artifact: whole, some of its columns, or the rows that pass `filters` (as pyarrow has them).

        Raises:
            MissingArtifactError: it is not in the lake.
            DamagedArtifactError: its file is damaged.
        """
        try:
            with damage_named(self._damaged(artifact)):
                return pq.read_table(
                    self._source(artifact),
                    columns=columns,
                    filters=filters,
                    partitioning=None,
                    page_checksum_verification=True,
                )
        except FileNotFoundError:
            raise MissingArtifactError(artifact, self.path(artifact)) from None

    def open(self, artifact: Artifact) -> CheckedFile:
        """Open a parquet artifact, for reading in batches.

        Raises:
            MissingArtifactError: it is not in the lake.
            DamagedArtifactError: its file is damaged; also raised later, by reading.
        """
        try:
            return CheckedFile(self._source(artifact), self._damaged(artifact))
        except FileNotFoundError:
            raise MissingArtifactError(artifact, self.path(artifact)) from None

    def record(self, artifact: Artifact) -> Record | None:
        """Read what an artifact says of itself; None where it is not in the lake. Costs one footer read.

        Raises:
            DamagedArtifactError: its file is damaged.
        """
        path = self.path(artifact)
        try:
            with self._stream(path) as stream, damage_named(self._damaged(artifact)):
                return _read_record(stream, artifact.suffix)
        except FileNotFoundError:
            return None

    def local(self, path: LakePath) -> Path:
        """Give a file of the lake as a local one: itself, or a copy of the object as it is now, kept in the cache.

        Raises:
            FileNotFoundError: there is no such object.
        """
        if isinstance(path, Path):
            return path
        return buckets.local_copy(self.storage, str(path), self._local_name(path, "copies"))

    @contextmanager
    def publish(self, path: LakePath, *, replace: bool = True) -> Iterator[Path]:
        """Give a temporary local file to write; when the block ends well it takes the place of `path` in one step.

        Raises:
            FileExistsError: it may not replace a local file, and there is one.
            OvertakenError: in a bucket, something else was published there since the block began, or was there already
                and may not be replaced.
        """
        if isinstance(path, Path):
            with atomic_write(path, replace=replace) as temporary:
                yield temporary
            return
        replaced = buckets.generation_of(self.storage, str(path)) if replace else 0
        with temporary_path(self._local_name(path, "uploads")) as temporary:
            yield temporary
            try:
                buckets.create_object(self.storage, str(path), temporary, replaces=replaced)
            except buckets.OvertakenError:
                if not self._says_the_same(temporary, path):
                    raise

    @property
    def storage(self) -> "Client":
        """The client of Cloud Storage, for a lake in a bucket.

        Raises:
            UnreachableBucketError: there are no credentials.
        """
        return self.client or buckets.default_client()

    def _damaged(self, artifact: Artifact) -> Damaged:
        return partial(DamagedArtifactError, artifact, self.path(artifact))

    def _source(self, artifact: Artifact) -> Path | BinaryIO:
        path = self.path(artifact)
        return path if isinstance(path, Path) else self._stream(path)

    def _stream(self, path: LakePath) -> BinaryIO:
        if isinstance(path, Path):
            return path.open("rb")
        return buckets.open_object(buckets.find_object(self.storage, str(path)))

    def _local_name(self, path: "UPath", purpose: str) -> Path:
        return self.folder / purpose / str(path).removeprefix(self.root).lstrip("/")

    def _says_the_same(self, file: Path, path: "UPath") -> bool:
        """Whether an object has the provenance and the fingerprint of a file: it is the same artifact then."""
        suffix = path.suffix.removeprefix(".")
        if suffix not in _RECORDS:
            return False
        try:
            with file.open("rb") as own, self._stream(path) as other:
                ours, theirs = _read_record(own, suffix), _read_record(other, suffix)
        except (FileNotFoundError, ValueError, struct.error):  # gone again, or no artifact
            return False
        return (ours.provenance, ours.fingerprint) == (theirs.provenance, theirs.fingerprint)


def record_metadata(provenance: Mapping[str, Any], fingerprint: str, figures: Mapping[str, Any]) -> dict[str, str]:
    """Give the key-value metadata that makes a file an artifact."""
    return {
        PROVENANCE_KEY: json.dumps(provenance, sort_keys=True),
        FINGERPRINT_KEY: fingerprint,
        FIGURES_KEY: json.dumps(figures, sort_keys=True),
    }


def _read_record(stream: BinaryIO, suffix: str) -> Record:
    size = stream.seek(0, io.SEEK_END)
    if not size:
        raise ValueError("it is empty")
    stream.seek(0)
    return _RECORDS[suffix](stream, size)


def _footer_record(stream: BinaryIO, size: int) -> Record:
    footer = pq.read_metadata(stream)
    written_schema(footer)  # refuses one that contradicts itself
    schema = footer.schema.to_arrow_schema()
    metadata = {key.decode(): value.decode() for key, value in (footer.metadata or {}).items()}
    return _record(metadata, size, rows=footer.num_rows, schema=schema)


def _header_record(stream: BinaryIO, size: int) -> Record:
    """Read the header of a safetensors file: eight bytes of length, then JSON (the format's specification).

    Its one metadata entry is JSON too: safetensors writes several in no fixed order, so bytes would differ.
    """
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > size - 8:
        raise ValueError("its header ends beyond the file")
    try:
        header = json.loads(stream.read(length))
        entries = [json.loads(entry) for entry in header.pop("__metadata__", {}).values()]
        if size != 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0):
            raise ValueError("its tensors do not end with the file")
        return _record(entries[0].get("metadata", {}) if entries else {}, size)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError("its header is not that of an artifact") from error


def _record(metadata: Mapping[str, str], size: int, rows: int | None = None, schema: pa.Schema | None = None) -> Record:
    return Record(
        provenance=json.loads(metadata.get(PROVENANCE_KEY, "{}")),
        fingerprint=metadata.get(FINGERPRINT_KEY, ""),
        figures=json.loads(metadata.get(FIGURES_KEY, "{}")),
        bytes=size,
        rows=rows,
        schema=schema,
    )


_RECORDS = {"parquet": _footer_record, "safetensors": _header_record}
"""How a record is read, by suffix."""
RECORD_SUFFIXES = frozenset(_RECORDS)
"""The suffixes of files that carry a record."""
