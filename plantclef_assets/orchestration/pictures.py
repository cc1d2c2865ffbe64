"""Pictures and tables in metadata, as the UI shows them.

What belongs here: the way from bytes or a table to Markdown, and the pictures that several stages share. What does not:
how pictures are drawn (`report/`). (https://docs.dagster.io/guides/build/assets/metadata-and-tags)
"""

import base64
import html
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from dagster import MetadataValue

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


def markdown_table(table: pa.Table) -> str:
    """Return a table as Markdown, numbers with three decimals; text is shown as it is, without links or markup."""
    lines = [f"| {' | '.join(map(_plain, table.column_names))} |", "|" + "---|" * table.num_columns]
    for row in table.to_pylist():
        cells = (
            f"{value:.3f}" if isinstance(value, float) else "–" if value is None else _plain(str(value))
            for value in row.values()
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line of a table."""
    escaped = html.escape(" ".join(text.splitlines()), quote=False)
    return escaped.translate({ord(letter): f"&#{ord(letter)};" for letter in "|[]`\\"})
