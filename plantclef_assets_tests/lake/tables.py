"""Small tables and lakes that several tests of the lake use."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.table_specs import TableSpec
from plantclef_assets.lake.tables import Shard, write_table

NUMBERS = TableSpec(pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("size", pa.int64())]), ("name",))
"""A name that is needed and a number that may be missing."""
VECTORS = TableSpec(
    pa.schema(
        [
            pa.field("name", pa.string(), nullable=False),
            pa.field("cls", pa.list_(pa.float32()), nullable=False),
        ]
    ),
    ("name",),
)
"""A name and a vector."""


def write_numbers(
    lake: Lake, artifact: Artifact, rows: Iterable[tuple[str, int | None]], *, cut: int = 1000, **provenance: Any
) -> Path:
    """Write a table of names and numbers, `cut` rows at a time."""
    rows = list(rows)
    with write_table(lake, artifact, NUMBERS, provenance) as table:
        for start in range(0, len(rows), cut):
            some = rows[start : start + cut]
            table.write_rows(name=[name for name, _ in some], size=[size for _, size in some])
    return lake.path(artifact)


def vectors(*rows: list[float]) -> dict[str, Any]:
    """Return the columns of a table of vectors, named v0, v1, …"""
    return {"name": [f"v{index}" for index in range(len(rows))], "cls": np.array(rows, np.float32)}


@dataclass(frozen=True)
class WriteOneNumber:
    """Makes a table of one row, its shard's own name; crosses process boundaries."""

    lake: Lake

    def __call__(self, shard: Shard) -> None:
        write_numbers(self.lake, shard.artifact, [(shard.artifact.partition or "", 1)])
