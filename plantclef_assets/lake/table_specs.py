"""Table specifications: columns, which of them identify a row, and which may be null."""

from dataclasses import dataclass

import pyarrow as pa

VECTOR = pa.list_(pa.float32())
"""Placeholder for a fixed-size list of float32; `TableSpec.schema` fills in the width."""


@dataclass(frozen=True)
class TableSpec:
    """The columns of a kind of table, and its key: the columns that together identify a row."""

    columns: pa.Schema
    key: tuple[str, ...]

    @property
    def vectors(self) -> tuple[str, ...]:
        """The names of the vector columns."""
        return tuple(column.name for column in self.columns if column.type == VECTOR)

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the columns that must not be null."""
        return tuple(column.name for column in self.columns if not column.nullable)

    def schema(self, **widths: int) -> pa.Schema:
        """Return the Arrow schema with the given widths of the vector columns."""
        return pa.schema(
            column.with_type(pa.list_(pa.float32(), widths[column.name])) if column.type == VECTOR else column
            for column in self.columns
        )

    def problems(self, actual: pa.Schema) -> list[str]:
        """Return the differences of a schema from this one; additional columns are permitted."""
        found = []
        for column in self.columns:
            index = actual.get_field_index(column.name)
            if index < 0:
                found.append(f"column {column.name} is missing")
            elif not _fits(actual.field(index).type, column.type):
                found.append(f"column {column.name} is {actual.field(index).type}, not {column.type}")
            elif actual.field(index).nullable and not column.nullable:
                found.append(f"column {column.name} may hold nulls")
        return found


def _fits(actual: pa.DataType, wanted: pa.DataType) -> bool:
    if wanted == VECTOR:
        return pa.types.is_fixed_size_list(actual) and actual.value_type == pa.float32()
    return actual == wanted


def column(name: str, kind: pa.DataType, description: str, *, null: bool = False) -> pa.Field:
    """Return a column with its description; it is required unless `null` is true."""
    return pa.field(name, kind, nullable=null, metadata={"description": description})
