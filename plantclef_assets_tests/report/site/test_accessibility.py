"""Every kind of page is accessible by the rules of axe-core, in light and dark."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plantclef_assets.settings import Settings
from plantclef_assets_tests.browser import open_browser
from plantclef_assets_tests.cli.commands import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow
AXE = PROJECT / "node_modules" / "axe-core" / "axe.min.js"
PAGES = ("../index", "plots", "species", "runs", "classifiers", "quarantine", "plots/*", "species/*")
_RUN = """
const done = arguments[arguments.length - 1];
axe.run({ resultTypes: ["violations"], preload: false }).then(({ violations }) =>
  done(violations.map((one) => [one.impact, one.id, one.nodes.map((node) => node.html).join("\\n")])));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Chrome]":
    """One browser for all pages."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm install --no-save --prefix . axe-core@4.14.1")
    with open_browser(tmp_path_factory.mktemp("browser")) as chrome:
        yield chrome


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_a_serious_barrier(browser: "Chrome", tiny_lake: Settings, page: str, scheme: str) -> None:
    (start,) = Path(tiny_lake.lake, "plot_report").glob("*/plots.html")
    file = next(start.parent.glob(f"{page}.html"))
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(file.as_uri())
    for tile in browser.find_elements("css selector", "#tiles rect")[:1]:
        browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('click'))", tile)
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script(_RUN)
    assert [barrier for barrier in found if barrier[0] in ("serious", "critical")] == []
