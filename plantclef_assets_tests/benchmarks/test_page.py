"""The page of the latest benchmarks is that of their numbers."""

from pathlib import Path

from benchmarks.page import page


def test_the_page_shows_the_latest_numbers():
    shown = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert shown == page()
