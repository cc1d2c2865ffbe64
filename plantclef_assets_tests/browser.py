"""Chromium without a screen, for tests of pages; they are skipped where it is not installed."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@contextmanager
def open_browser(folder: Path) -> "Iterator[Chrome]":
    """Open Chromium with a profile of its own below a folder; it logs what pages request."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium and its driver are not installed: apt-get install chromium chromium-driver")
    if find_spec("selenium") is None:
        pytest.skip("selenium is not installed: pip install 'plantclef-assets[dev]'")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1500,1200"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={folder / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def save_downloads(browser: "Chrome", folder: Path) -> None:
    """Save what pages download in a folder, without asking."""
    arguments = {"behavior": "allow", "downloadPath": str(folder)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", arguments)


def requested(browser: "Chrome") -> list[str]:
    """Return the addresses that pages have requested since the last call."""
    return [event["request"]["url"] for event in _events(browser, "Network.requestWillBeSent")]


def console(browser: "Chrome") -> list[str]:
    """Return what pages have written to the console, and their errors, since the last call."""
    return [entry["message"] for entry in browser.get_log("browser")]


def _events(browser: "Chrome", method: str) -> Iterator[dict[str, Any]]:
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == method:
            yield message["params"]
