"""Tables and captions in the UI show text as it is: no name breaks a table or becomes markup."""

import pyarrow as pa

from plantclef_assets.orchestration.pictures import markdown_table, picture


def test_harmless_values_are_unchanged() -> None:
    table = pa.table({"run": ["base_cls_4x4", None], "score": [0.25, None], "n": [3, 4]})
    assert markdown_table(table) == "\n".join(
        ["| run | score | n |", "|---|---|---|", "| base_cls_4x4 | 0.250 | 3 |", "| – | – | 4 |"]
    )


def test_no_name_breaks_the_table_or_becomes_markup() -> None:
    name = "a|b\nc\r\nd <img src=x onerror=alert(1)> ![p](https://example.org/p.png) `x` \\| &lt;\u2028e"
    header, rule, row = markdown_table(pa.table({name: [name], "n": [1]})).split("\n")
    assert rule == "|---|---|"
    for line in (header, row):
        assert line.count("|") == 3
        assert not set("<[`\\\r\u2028") & set(line)
        assert "a&#124;b c d &lt;img src=x onerror=alert(1)&gt; !&#91;p&#93;(https://example.org/p.png)" in line
        assert "&amp;lt; e" in line


def test_a_caption_stays_within_its_picture() -> None:
    caption = "x](https://example.org/p.png) ![y"
    assert (
        picture(b"data", caption).value
        == "![x&#93;(https://example.org/p.png) !&#91;y](data:image/jpeg;base64,ZGF0YQ==)"
    )
