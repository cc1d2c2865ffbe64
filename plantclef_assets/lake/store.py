"""The files of artifacts: their paths, atomic publication, and the records in their headers and footers.

An artifact is one file of one asset: `<root>/<asset>/<partition>.<suffix>`, or `<root>/<asset>.<suffix>` for an asset
without partitions; that of a site is its start page, `<root>/<asset>/index.html`. It is written under a temporary name
and published by one rename, or in a bucket by one conditional upload that only replaces the object that existed when
the writing began. A file that exists is therefore complete. Its header or footer holds a record: provenance,
fingerprint of the rows, and statistics.
"""

import io
import json
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
from plantclef_assets.lake.parquet_files import CheckedFile, Damaged, translate_damage, written_schema
from plantclef_assets.lake.safetensors_header import read_header

if TYPE_CHECKING:
    from google.cloud.storage import Client
    from upath import UPath

LakePath = Union[Path, "UPath"]
"""A file of the lake: a local path, or a path in a bucket with the same methods; `Lake.local` returns a local copy."""

PROVENANCE_KEY = "plantclef.provenance"
FINGERPRINT_KEY = "plantclef.fingerprint"
STATISTICS_KEY = "plantclef.figures"

OTHER_TENSORS = "its tensors are not those that were written"
"""The problem of a tensor file whose fingerprint differs from the one in its header."""


@dataclass(frozen=True, order=True)
class Artifact:
    """The address of one file in the lake: an asset and, if it is partitioned, a partition key."""

    asset: str
    partition: str | None = None
    suffix: str = field(default="parquet", compare=False)

    def __str__(self) -> str:
        return self.asset if self.partition is None else f"{self.asset}/{self.partition}"

    @property
    def file(self) -> str:
        """The name of its file below the root of a lake."""
        return f"{self}/{START_PAGE}" if self.suffix == "html" else f"{self}.{self.suffix}"


START_PAGE = "index.html"


def artifact_named(name: str) -> Artifact:
    """Return the artifact of a file, given its name below the root of a lake."""
    path = PurePosixPath(name)
    if path.name == START_PAGE and len(path.parts) == 2:
        return Artifact(path.parts[0], suffix="html")
    parts = path.with_suffix("").parts
    folders = 2 if parts[0] == "quarantine" else 1  # quarantine/<asset>/<partition>.parquet
    return Artifact("/".join(parts[:folders]), "/".join(parts[folders:]) or None, path.suffix.removeprefix("."))


def recorded_name(provenance: Mapping[str, Any]) -> str | None:
    """Return the artifact name that is recorded in a provenance; None if there is none."""
    asset, partition = provenance.get("asset"), provenance.get("partition")
    return str(Artifact(asset, partition)) if asset else None


@dataclass(frozen=True)
class Record:
    """The record of an artifact, from its footer (parquet) or header (safetensors)."""

    provenance: Mapping[str, Any]
    fingerprint: str
    statistics: Mapping[str, Any]
    bytes: int
    rows: int | None = None
    schema: pa.Schema | None = None


class MissingArtifactError(FileNotFoundError):
    """A requested artifact is not in the lake."""

    def __init__(self, artifact: Artifact, path: LakePath) -> None:
        super().__init__(f"{artifact} is not in the lake ({path}); materialize {artifact.asset} first")
        self.artifact, self.path = artifact, path

    def __reduce__(self) -> tuple[type["MissingArtifactError"], tuple[Artifact, LakePath]]:
        return type(self), (self.artifact, self.path)  # to be picklable


class DamagedArtifactError(ValueError):
    """The file of an artifact is truncated, empty or malformed, or was changed after it was written."""

    def __init__(self, artifact: Artifact, path: LakePath, reason: str) -> None:
        asset = artifact.asset.removeprefix("quarantine/")
        super().__init__(f"{artifact} is damaged ({reason.rstrip('.')}); delete {path} and materialize {asset} again")
        self.artifact, self.path, self.reason = artifact, path, reason

    def __reduce__(self) -> tuple[type["DamagedArtifactError"], tuple[Artifact, LakePath, str]]:
        return type(self), (self.artifact, self.path, self.reason)  # to be picklable


@dataclass(frozen=True)
class Lake:
    """The root of all artifacts, and the folder for files that must be local.

    Attributes:
        root: a local folder, or `gs://bucket/prefix`.
        cache: the folder for local copies; used if the root is in a bucket.
        client: the Cloud Storage client; that of the process if None. It is not pickled.
    """

    root: str
    cache: str = field(default_factory=lambda: str(default_cache()), compare=False)
    client: "Client | None" = field(default=None, compare=False, repr=False)

    def __reduce__(self) -> tuple[type["Lake"], tuple[str, str]]:
        return type(self), (self.root, self.cache)

    @property
    def folder(self) -> Path:
        """The local folder of the lake: the lake itself, or for a lake in a bucket its part of the cache."""
        return local_folder(self.root, self.cache)

    def require(self) -> None:
        """Check that the root can be used: a bucket must exist; a folder is created when it is needed.

        Raises:
            UnreachableBucketError: there is no such bucket, or no permission to use it.
        """
        if is_in_bucket(self.root):
            buckets.require_bucket(self.storage, self.root)

    def path(self, artifact: Artifact) -> LakePath:
        """Return the file of an artifact, which need not exist."""
        return self.path_named(artifact.file)

    def path_named(self, name: str) -> LakePath:
        """Return a file by its name below the root, which need not exist."""
        if not is_in_bucket(self.root):
            return Path(self.root, name)
        from upath import UPath

        return UPath(f"{self.root.rstrip('/')}/{name}", **bucket_options())

    def exists(self, artifact: Artifact) -> bool:
        """Whether the artifact is in the lake."""
        return self.path(artifact).is_file()

    def read(
        self,
        artifact: Artifact,
        columns: list[str] | None = None,
        filters: list[tuple[str, str, Any]] | None = None,
        dictionaries: list[str] | None = None,
    ) -> pa.Table:
        """Read a parquet artifact: all of it, some columns, or the rows that pass pyarrow's `filters`.

        The string columns in `dictionaries` are read dictionary-encoded, which is faster where values repeat.

        Raises:
            MissingArtifactError: the artifact is not in the lake.
            DamagedArtifactError: its file is damaged.
        """
        try:
            with translate_damage(self._damaged(artifact)):
                return pq.read_table(
                    self._source(artifact),
                    columns=columns,
                    filters=filters,
                    read_dictionary=dictionaries,
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
        """Read the record of an artifact, which takes one footer read; None if it is not in the lake.

        Raises:
            DamagedArtifactError: its file is damaged.
        """
        path = self.path(artifact)
        try:
            with self._stream(path) as stream, translate_damage(self._damaged(artifact)):
                return _read_record(stream, artifact.suffix)
        except FileNotFoundError:
            return None

    def local(self, path: LakePath) -> Path:
        """Return a local file: the file itself, or a copy of the current object in the cache.

        Raises:
            FileNotFoundError: there is no such object.
        """
        if isinstance(path, Path):
            return path
        return buckets.local_copy(self.storage, str(path), self._local_name(path, "copies"))

    @contextmanager
    def publish(self, path: LakePath, *, replace: bool = True) -> Iterator[Path]:
        """Yield a temporary local file to write; if the block succeeds, it is published as `path` in one step.

        Raises:
            FileExistsError: `replace` is false and the local file exists.
            OvertakenError: in a bucket, the object was changed since the block began, or `replace` is false and the
                object exists.
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
                if not self._is_same_artifact(temporary, path):
                    raise

    @property
    def storage(self) -> "Client":
        """The Cloud Storage client, for a lake in a bucket.

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

    def _is_same_artifact(self, file: Path, path: "UPath") -> bool:
        """Whether an object is the same artifact as a file: both have equal provenance and fingerprint."""
        suffix = path.suffix.removeprefix(".")
        if suffix not in _RECORDS:
            return False
        try:
            with file.open("rb") as own, self._stream(path) as other:
                ours, theirs = _read_record(own, suffix), _read_record(other, suffix)
        except (FileNotFoundError, ValueError):  # deleted, or not an artifact
            return False
        return (ours.provenance, ours.fingerprint) == (theirs.provenance, theirs.fingerprint)


def record_metadata(provenance: Mapping[str, Any], fingerprint: str, statistics: Mapping[str, Any]) -> dict[str, str]:
    """Return the record of an artifact as key-value metadata."""
    return {
        PROVENANCE_KEY: json.dumps(provenance, sort_keys=True),
        FINGERPRINT_KEY: fingerprint,
        STATISTICS_KEY: json.dumps(statistics, sort_keys=True),
    }


def _read_record(stream: BinaryIO, suffix: str) -> Record:
    size = stream.seek(0, io.SEEK_END)
    if not size:
        raise ValueError("it is empty")
    stream.seek(0)
    return _RECORDS[suffix](stream, size)


def _footer_record(stream: BinaryIO, size: int) -> Record:
    footer = pq.read_metadata(stream)
    written_schema(footer)  # raises for a footer that contradicts itself
    schema = footer.schema.to_arrow_schema()
    metadata = {key.decode(): value.decode() for key, value in (footer.metadata or {}).items()}
    return _record(metadata, size, rows=footer.num_rows, schema=schema)


def _header_record(stream: BinaryIO, size: int) -> Record:
    """Read the record in the header of a safetensors file.

    The metadata are one JSON entry: safetensors writes several entries in no fixed order, so bytes would differ.
    """
    header = read_header(stream, size)
    try:
        entries = [json.loads(entry) for entry in header.get("__metadata__", {}).values()]
        return _record(entries[0].get("metadata", {}) if entries else {}, size)
    except (AttributeError, LookupError, TypeError, RecursionError) as error:
        raise ValueError("its header is not that of an artifact") from error


def _page_record(stream: BinaryIO, size: int) -> Record:
    page = stream.read()
    _, found, rest = page.partition(PAGE_RECORD.encode())
    text, end, _ = rest.partition(b"</script>")
    if not found or not end or not page.rstrip().endswith(b"</html>"):
        raise ValueError("it has no record, or does not end as a page")
    return _record(json.loads(text), size)


def _record(metadata: Mapping[str, str], size: int, rows: int | None = None, schema: pa.Schema | None = None) -> Record:
    return Record(
        provenance=json.loads(metadata.get(PROVENANCE_KEY, "{}")),
        fingerprint=metadata.get(FINGERPRINT_KEY, ""),
        statistics=json.loads(metadata.get(STATISTICS_KEY, "{}")),
        bytes=size,
        rows=rows,
        schema=schema,
    )


PAGE_RECORD = '<script type="application/json" id="plantclef-record">'
"""The beginning of the element that holds the record of a start page."""
_RECORDS = {"parquet": _footer_record, "safetensors": _header_record, "html": _page_record}
"""Functions that read a record, by suffix."""
RECORD_SUFFIXES = frozenset(_RECORDS)
"""The suffixes of files with a record."""
