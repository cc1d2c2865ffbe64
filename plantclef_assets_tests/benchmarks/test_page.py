"""The pages of the latest benchmarks are those of their numbers."""

from pathlib import Path

import pytest

from benchmarks.page import PAGES, page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_the_latest_numbers(name: str):
    shown = Path(__file__).parents[2] / PAGES[name].printed_by.partition("> ")[2]
    assert shown.read_text(encoding="utf-8") == page(name)
