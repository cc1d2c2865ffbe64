"""The rows of benchmarks, as JSON and as markdown."""

import json

from benchmarks.results import Results, markdown


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


def test_tables_stay_until_they_are_measured_again_on_the_same_machine(tmp_path):
    def measure(table, value, device="CPU"):
        results = Results(tmp_path / "some.json", {"device": device})
        results.start(table, {"rate": "images/s"}, "plain")
        results.add("plain", {"rate": value})
        return {row.table: row.value for row in results.rows}

    assert measure("speed", 1.0) == {"speed": 1.0}
    assert measure("size", 2.0) == {"speed": 1.0, "size": 2.0}
    assert measure("speed", 3.0) == {"size": 2.0, "speed": 3.0}
    assert measure("size", 4.0, "another CPU") == {"size": 4.0}


def test_rows_as_markdown(tmp_path):
    results = Results(tmp_path / "some.json", {})
    results.start("speed", {"rate": "images/s", "memory": "GB"}, "plain")
    results.add("plain", {"rate": 200.0, "memory": 1.0})
    results.add("ours", {"rate": 300.0})
    results.fail("theirs", "no Java")
    assert markdown(results.rows).splitlines() == [
        "## speed",
        "",
        "| arm | rate, images/s | memory, GB | × plain |",
        "|---|---:|---:|---:|",
        "| plain | 200 | 1 | 1 |",
        "| ours | 300 |  | 1.5 |",
        "| theirs | failed: no Java |",
    ]
