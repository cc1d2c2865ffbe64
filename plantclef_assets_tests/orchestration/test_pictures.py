"""Tables and captions in the UI show text as it is: no name becomes markup."""

import pyarrow as pa
from dagster import TableMetadataValue

from plantclef_assets.orchestration.pictures import metadata_table, picture


def test_a_table_has_text_and_rounded_numbers() -> None:
    name = "a|b\n<img src=x onerror=alert(1)>"
    shown = metadata_table(pa.table({"run": [name, None], "score": [0.25049, None], "n": [3, 4]}))
    assert isinstance(shown, TableMetadataValue)
    assert [record.data for record in shown.records] == [
        {"run": name, "score": 0.25, "n": 3},
        {"run": "–", "score": "–", "n": 4},
    ]


def test_a_caption_stays_within_its_picture() -> None:
    caption = "x](https://example.org/p.png) ![y"
    assert (
        picture(b"data", caption).value
        == "![x&#93;(https://example.org/p.png) !&#91;y](data:image/jpeg;base64,ZGF0YQ==)"
    )
