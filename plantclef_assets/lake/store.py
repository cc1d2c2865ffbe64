"""Where artifacts lie, and how they get there whole.

An artifact is one file of one asset: `<root>/<asset>/<partition>.<suffix>`, or `<root>/<asset>.<suffix>` for an asset
without partitions. It is written under a temporary name and published by one rename, so a file that exists is whole.
Each carries a record in its own header or footer: its provenance, the fingerprint of its rows, and its figures.
"""

import json
import os
import socket
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PROVENANCE_KEY = "plantclef.provenance"
FINGERPRINT_KEY = "plantclef.fingerprint"
FIGURES_KEY = "plantclef.figures"
_TEMPORARY_SUFFIX = ".incomplete"


@dataclass(frozen=True, order=True)
class Artifact:
    """The address of one file in the lake: an asset and, where it has partitions, one of their keys."""

    asset: str
    partition: str | None = None
    suffix: str = field(default="parquet", compare=False)

    def __str__(self) -> str:
        return self.asset if self.partition is None else f"{self.asset}/{self.partition}"


@dataclass(frozen=True)
class Record:
    """What an artifact says of itself in its footer (parquet) or header (safetensors)."""

    provenance: Mapping[str, Any]
    fingerprint: str
    figures: Mapping[str, Any]
    rows: int | None = None
    schema: pa.Schema | None = None


class MissingArtifactError(FileNotFoundError):
    """An artifact that was asked for is not in the lake."""

    def __init__(self, artifact: Artifact, path: Path) -> None:
        super().__init__(f"{artifact} is not in the lake ({path}); materialize {artifact.asset} first")
        self.artifact, self.path = artifact, path

    def __reduce__(self) -> tuple[type["MissingArtifactError"], tuple[Artifact, Path]]:
        return type(self), (self.artifact, self.path)  # it has to cross process boundaries


@dataclass(frozen=True)
class Lake:
    """The root of all artifacts, a local folder."""

    root: str

    def path(self, artifact: Artifact) -> Path:
        """Give the file of an artifact, whether it exists or not."""
        return Path(self.root) / f"{artifact}.{artifact.suffix}"

    def exists(self, artifact: Artifact) -> bool:
        """Whether the artifact is in the lake."""
        return self.path(artifact).is_file()

    def read(
        self, artifact: Artifact, columns: list[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
    ) -> pa.Table:
        """Read a parquet artifact: whole, some of its columns, or the rows that pass `filters` (as pyarrow has them).

        Raises:
            MissingArtifactError: it is not in the lake.
        """
        try:
            return pq.read_table(self.path(artifact), columns=columns, filters=filters, partitioning=None)
        except FileNotFoundError:
            raise MissingArtifactError(artifact, self.path(artifact)) from None

    def open(self, artifact: Artifact) -> pq.ParquetFile:
        """Open a parquet artifact, for reading in batches.

        Raises:
            MissingArtifactError: it is not in the lake.
        """
        try:
            return pq.ParquetFile(self.path(artifact))
        except FileNotFoundError:
            raise MissingArtifactError(artifact, self.path(artifact)) from None

    def record(self, artifact: Artifact) -> Record | None:
        """Read what an artifact says of itself; None where it is not in the lake. Costs one footer read."""
        try:
            if artifact.suffix == "safetensors":
                return _header_record(self.path(artifact))
            return _footer_record(self.path(artifact))
        except FileNotFoundError:
            return None

    @contextmanager
    def publish(self, path: Path) -> Iterator[Path]:
        """Give a temporary file to write; when the block ends well it takes the place of `path` in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        owner = f"{socket.gethostname()}-{os.getpid()}"
        temporary = path.with_name(f".{path.name}.{owner}-{uuid.uuid4().hex[:8]}{_TEMPORARY_SUFFIX}")
        try:
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            # Some libraries write files for their owner alone; who may read the folder may read what is in it.
            temporary.chmod(path.parent.stat().st_mode & 0o666)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Delete what killed processes of this host left of an artifact under temporary names."""
    for leftover in path.parent.glob(f".{path.name}.{socket.gethostname()}-*{_TEMPORARY_SUFFIX}"):
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


def record_metadata(provenance: Mapping[str, Any], fingerprint: str, figures: Mapping[str, Any]) -> dict[str, str]:
    """Give the key-value metadata that makes a file an artifact."""
    return {
        PROVENANCE_KEY: json.dumps(provenance, sort_keys=True),
        FINGERPRINT_KEY: fingerprint,
        FIGURES_KEY: json.dumps(figures, sort_keys=True),
    }


def _footer_record(path: Path) -> Record:
    footer = pq.read_metadata(path)
    schema = footer.schema.to_arrow_schema()
    metadata = {key.decode(): value.decode() for key, value in (footer.metadata or {}).items()}
    return Record(
        provenance=json.loads(metadata.get(PROVENANCE_KEY, "{}")),
        fingerprint=metadata.get(FINGERPRINT_KEY, ""),
        figures=json.loads(metadata.get(FIGURES_KEY, "{}")),
        rows=footer.num_rows,
        schema=schema,
    )


def _header_record(path: Path) -> Record:
    """Read the header of a safetensors file: eight bytes of length, then JSON (the format's specification).

    Its one metadata entry is JSON too: safetensors writes several in no fixed order, so bytes would differ.
    """
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        entries = json.loads(stream.read(length)).get("__metadata__", {})
    metadata = next((json.loads(entry).get("metadata", {}) for entry in entries.values()), {})
    return Record(
        provenance=json.loads(metadata.get(PROVENANCE_KEY, "{}")),
        fingerprint=metadata.get(FINGERPRINT_KEY, ""),
        figures=json.loads(metadata.get(FIGURES_KEY, "{}")),
    )
