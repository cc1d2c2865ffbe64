"""The UI in a headless browser: what a person clicks has the effect of what the tests ask for by GraphQL."""

from typing import TYPE_CHECKING

import pytest

from plantclef_assets_tests.deployment.platform import Platform
from plantclef_assets_tests.deployment.processes import wait_for

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [pytest.mark.slow, pytest.mark.first]
_SECONDS = 60


def click(browser: "Chrome", text: str) -> None:
    """Click what bears a text, as soon as it is there and can be clicked."""
    from selenium.common.exceptions import WebDriverException

    path = f"//*[self::button or self::a or @role='button' or @role='menuitem'][normalize-space(.)='{text}']"

    def clicked() -> bool:
        for element in reversed(browser.find_elements("xpath", path)):
            try:
                if element.is_displayed() and element.is_enabled():
                    element.click()
                    return True
            except WebDriverException:  # it has just been drawn anew, or something still lies over it
                continue
        return False

    wait_for(clicked, _SECONDS, f"'{text}' in {browser.current_url}")


def test_a_backfill_is_launched_from_the_page_of_an_asset(platform: Platform, browser: "Chrome") -> None:
    known = set(platform.backfills())
    browser.get(f"{platform.address}/assets/resized_images")
    click(browser, "Materialize…")
    click(browser, "All")
    click(browser, "Launch backfill")
    wait_for(lambda: set(platform.backfills()) - known, _SECONDS, "the backfill")
    (backfill,) = set(platform.backfills()) - known
    assert platform.finish(backfill) == "COMPLETED_SUCCESS"
    assert platform.partitions("resized_images")["materialized"] == {f"{number:02d}" for number in range(8)}
    results = platform.check_results("resized_images")
    assert results
    assert set(results.values()) == {"SUCCEEDED"}
