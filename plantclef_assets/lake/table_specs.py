"""What a table of the lake is: its columns, which of them name a row, and which may be null."""

from dataclasses import dataclass

import pyarrow as pa

VECTOR = pa.list_(pa.float32())
"""Stands for a fixed-size list of any width; `TableSpec.schema` puts in the width."""


@dataclass(frozen=True)
class TableSpec:
    """What one kind of table holds: its columns, and those that together name a row."""

    columns: pa.Schema
    key: tuple[str, ...]

    @property
    def vectors(self) -> tuple[str, ...]:
        """The names of the vector columns."""
        return tuple(column.name for column in self.columns if column.type == VECTOR)

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the columns that may not be null."""
        return tuple(column.name for column in self.columns if not column.nullable)

    def schema(self, **widths: int) -> pa.Schema:
        """Give the Arrow schema, with the width of each vector column put in."""
        return pa.schema(
            column.with_type(pa.list_(pa.float32(), widths[column.name])) if column.type == VECTOR else column
            for column in self.columns
        )

    def problems(self, actual: pa.Schema) -> list[str]:
        """Say in which columns a schema differs from this one; more columns than these are welcome."""
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
    """Describe a column; it is required unless it may be null."""
    return pa.field(name, kind, nullable=null, metadata={"description": description})
