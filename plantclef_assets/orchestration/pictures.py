"""Pictures and tables in metadata, as the UI shows them.

What belongs here: the way from bytes or a table to metadata, and the pictures that several stages share. What does not:
how pictures are drawn (`report/`). The UI shows tables in place, and opens long Markdown, such as pictures, on a click.
(https://docs.dagster.io/guides/build/assets/metadata-and-tags)
"""

import base64
import html
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.report import photographs

_SHEET_PICTURES = 16


def contact_sheet(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
    """Return a contact sheet of images from the first row group of a shard."""
    if not record.rows:
        return {}
    data = lake.open(artifact).read_row_group(0, columns=["data"]).column("data")
    step = max(1, len(data) // _SHEET_PICTURES)
    pictures = [data[index].as_py() for index in range(0, len(data), step)][:_SHEET_PICTURES]
    return {"contact_sheet": picture(photographs.contact_sheet(pictures), "contact sheet")}


def picture(data: bytes, caption: str, kind: str = "jpeg") -> MetadataValue:
    """Return an encoded picture as Markdown; `kind` is its format."""
    return MetadataValue.md(f"![{_plain(caption)}](data:image/{kind};base64,{base64.b64encode(data).decode()})")


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    escaped = html.escape(" ".join(text.splitlines()), quote=False)
    return escaped.translate({ord(letter): f"&#{ord(letter)};" for letter in "|[]`\\"})


def metadata_table(table: pa.Table) -> MetadataValue:
    """Return a table as the UI shows it in place, numbers with three decimals; null is a dash."""
    schema = TableSchema([TableColumn(column.name, str(column.type)) for column in table.schema])
    records = [TableRecord({name: _cell(value) for name, value in row.items()}) for row in table.to_pylist()]
    return MetadataValue.table(records, schema)


def _cell(value: Any) -> str | int | float:
    if isinstance(value, float):
        return round(value, 3)
    return value if isinstance(value, int) else "–" if value is None else str(value)
