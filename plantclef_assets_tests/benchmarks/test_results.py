"""The rows of benchmarks, as JSON and as markdown."""

import json

from benchmarks.results import Results


def test_rows_ratios_and_failures(tmp_path, capsys):
    results = Results(tmp_path / "new" / "some.json", {"device": "CPU"})
    results.start("speed", {"rate": "images/s", "cosine": ""}, "plain")
    results.add("plain", {"rate": 200.0, "cosine": 1.0})
    results.add("ours", {"rate": 300.0})
    results.fail("theirs", "ValueError: no such thing")
    written = json.loads((tmp_path / "new" / "some.json").read_text(encoding="utf-8"))
    assert written["machine"] == {"device": "CPU"}
    assert written["rows"][0] == {
        "table": "speed",
        "arm": "plain",
        "metric": "rate",
        "value": 200.0,
        "unit": "images/s",
        "ratio": 1.0,
        "baseline": "plain",
    }
    assert [(row["arm"], row["metric"], row["value"], row["ratio"]) for row in written["rows"][1:]] == [
        ("plain", "cosine", 1.0, None),
        ("ours", "rate", 300.0, 1.5),
        ("theirs", "failed: ValueError: no such thing", None, None),
    ]
    assert results.value("speed", "ours", "cosine") is None
    assert capsys.readouterr().out.splitlines()[1:] == [
        "### speed",
        "",
        "| arm | rate, images/s | cosine | × plain |",
        "|---|---:|---:|---:|",
        "| plain | 200 | 1.000000 | 1 |",
        "| ours | 300 |  | 1.5 |",
        "| theirs | failed: ValueError: no such thing |",
    ]
