"""The report in a browser, opened from the disk: looking at plots, reviewing one, and scoring against the marks."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from dagster import DagsterInstance

from plantclef_assets.cli.results import closing_lines
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.scoring.leaderboard import REVIEWED, read_plot_truth
from plantclef_assets.settings import Settings
from plantclef_assets_tests.browser import console, open_browser, requested, save_downloads
from plantclef_assets_tests.defs.test_materialization import materialization_metadata
from plantclef_assets_tests.deployment.processes import wait_for
from plantclef_assets_tests.tiny import materialize

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.slow
PLOT = "PLOT-1-20240501"
RUN = "base_dct_2x2_max2"
"""A run that lists two species for each plot."""
_SECONDS = 20


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Chrome]":
    """One browser for the way through the report."""
    with open_browser(tmp_path_factory.mktemp("browser")) as chrome:
        yield chrome


def start_page(settings: Settings) -> str:
    return Path(settings.lake, "plot_report", "index.html").as_uri()


def all_of(browser: "Chrome", css: str) -> "list[WebElement]":
    return browser.find_elements("css selector", css)


def one(browser: "Chrome", css: str) -> "WebElement":
    wait_for(lambda: all_of(browser, css), _SECONDS, f"{css} in {browser.current_url}")
    return all_of(browser, css)[0]


def cards(browser: "Chrome") -> list[str]:
    return [card.text for card in all_of(browser, "#gallery .name")]


def write(browser: "Chrome", css: str, *text: str) -> None:
    field = one(browser, css)
    field.clear()
    field.send_keys(*text)


def choose(browser: "Chrome", css: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(one(browser, css)).select_by_value(value)


def click(browser: "Chrome", css: str) -> None:
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", one(browser, css))
    one(browser, css).click()


def test_plots_are_filtered_by_species_place_and_need_of_review(browser: "Chrome", tiny_lake: Settings) -> None:
    browser.get(start_page(tiny_lake))
    click(browser, "nav a[href$='plots.html']")
    known = browser.execute_script("return PLOTS.plots.map(one => [one.id, one.species, one.review.length])")
    names = dict(browser.execute_script("return SPECIES"))
    assert cards(browser) == [plot for plot, *_ in known]
    write(browser, "[name=place]", "plot-2")
    assert cards(browser) == ["PLOT-2-20240501"]
    browser.refresh()
    assert cards(browser) == ["PLOT-2-20240501"], "the address keeps the filters"
    browser.execute_script("document.getElementById('filters').reset()")
    species = known[0][1][0]
    write(browser, "[name=species]", names[species])
    write(browser, "[name=place]", " \b")
    assert cards(browser) == [plot for plot, listed, _ in known if species in listed] != []
    browser.execute_script("document.getElementById('filters').reset()")
    click(browser, "[name=review]")
    assert cards(browser) == [plot for plot, _, reasons in known if reasons]


def test_tiles_are_switched_and_chosen_with_the_keyboard(browser: "Chrome", tiny_lake: Settings) -> None:
    from selenium.webdriver.common.keys import Keys

    open_plot(browser, tiny_lake)
    choose(browser, "[name=run]", RUN)
    assert len(all_of(browser, "#tiles rect")) == 4
    assert one(browser, f"div.list[data-run={RUN}]").is_displayed()
    assert not one(browser, "div.list[data-run=base_cls_full]").is_displayed()
    choose(browser, "[name=tiles]", "base_cls|full")
    assert len(all_of(browser, "#tiles rect")) == 1
    choose(browser, "[name=tiles]", "base_dct|2x2")
    browser.execute_script("document.querySelector('#tiles rect').focus()")
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert [tile.get_attribute("aria-pressed") for tile in all_of(browser, "#tiles rect")] == [
        "false",
        "true",
        "false",
        "false",
    ]
    assert len(all_of(browser, "#tile .candidates li")) == 3  # the survey has three species
    named = one(browser, "#tile .candidates a").text
    click(browser, "#tile .candidates a")
    assert one(browser, "h1").text == named
    wait_for(lambda: all_of(browser, ".photographs img"), _SECONDS, "training photographs")
    browser.back()
    assert one(browser, "h1").text == PLOT


def open_plot(browser: "Chrome", settings: Settings) -> None:
    browser.get(start_page(settings))
    click(browser, "nav a[href$='plots.html']")
    write(browser, "[name=place]", PLOT)
    assert cards(browser) == [PLOT]
    click(browser, "#gallery a")


@pytest.fixture(scope="module")
def reviewed(browser: "Chrome", tiny_lake: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of one plot that a person has reviewed in the browser, and another plot that is not finished."""
    folder = tmp_path_factory.mktemp("downloads")
    save_downloads(browser, folder)
    open_plot(browser, tiny_lake)
    choose(browser, "[name=run]", RUN)
    rows = f"div.list[data-run={RUN}] li"
    right, wrong = (int(row.get_attribute("data-species") or 0) for row in all_of(browser, rows))
    click(browser, f"{rows}:nth-child(1) button[aria-label$=right]")
    assert not one(browser, "#done").is_enabled(), "a species is not marked"
    click(browser, f"{rows}:nth-child(2) button[aria-label$=wrong]")
    names = dict(browser.execute_script("return SPECIES"))
    (missing,) = names.keys() - {right, wrong}
    write(browser, "[name=missing]", names[missing], "\n")
    assert names[missing] in one(browser, "#missing").text
    click(browser, "#done")
    assert "1 plot is reviewed" in one(browser, "#review-state").text
    click(browser, "[rel=next]")
    click(browser, "div.list:not([hidden]) button[aria-label$=right]")
    write(browser, "[name=reviewer]", "Carla Example")
    click(browser, "#download button")
    table = folder / "reviewed.csv"
    sidecar = folder / "reviewed.review.json"
    wait_for(lambda: table.exists() and sidecar.exists(), _SECONDS, "the downloads")
    assert read_plot_truth(table) == {PLOT: [right, missing]}
    return table


def test_the_marks_are_downloaded_with_who_and_when(reviewed: Path) -> None:
    told = json.loads(reviewed.with_name("reviewed.review.json").read_text(encoding="utf-8"))
    assert told["reviewer"] == "Carla Example"
    assert [*told["plots"]] == [PLOT], "plots that are not reviewed are absent"
    mark = told["plots"][PLOT]
    assert mark["run"] == RUN
    assert len(mark["wrong"]) == 1
    assert mark["when"].endswith("Z")


def test_scores_on_reviewed_lists_are_labelled(
    reviewed: Path, own_lake: Callable[..., Settings], tiny_lake: Settings
) -> None:
    settings = own_lake(plot_truth=str(reviewed))
    with DagsterInstance.ephemeral() as instance:
        assert materialize(settings, "leaderboard,plot_report", instance=instance).success
        page = Path(settings.lake, "plot_report", "index.html").read_text()
        assert materialize(settings, "sweep", instance=instance).success
        shown = {asset: materialization_metadata(instance, asset)[None] for asset in ("leaderboard", "sweep")}
    rows = Lake(settings.lake).read(Artifact("leaderboard")).to_pylist()
    assert {row["plots"] for row in rows} == {1}
    scores = {row["run"]: row["f1_plot"] for row in rows}
    assert scores[RUN] == pytest.approx(0.5), "one of two is right, and one is missing"
    assert [metadata["ground_truth"] for metadata in shown.values()] == [REVIEWED, REVIEWED]
    assert REVIEWED in page
    assert "up_to_date" not in page, "the sweep is computed after the report, so the report does not check it"
    assert REVIEWED in closing_lines(settings, [])
    assert REVIEWED not in Path(tiny_lake.lake, "plot_report", "index.html").read_text()
    assert REVIEWED not in closing_lines(tiny_lake, [])
    assert f"Report: {Path(tiny_lake.lake, 'plot_report', 'index.html')}" in closing_lines(tiny_lake, [])


def test_marks_survive_a_reload(browser: "Chrome", reviewed: Path, tiny_lake: Settings) -> None:
    open_plot(browser, tiny_lake)
    choose(browser, "[name=run]", RUN)
    pressed = [
        mark.get_attribute("aria-label") for mark in all_of(browser, f"div.list[data-run={RUN}] [aria-pressed=true]")
    ]
    assert [label.split()[-1] for label in pressed if label] == ["right", "wrong"]
    assert one(browser, "#done").get_attribute("aria-pressed") == "true"


def test_nothing_leaves_the_machine_and_no_page_has_errors(browser: "Chrome", reviewed: Path) -> None:
    addresses = requested(browser)
    assert len(addresses) > 20
    of_the_browser = {"chrome"}  # what it shows before the first page
    assert {urlsplit(address).scheme for address in addresses} - of_the_browser <= {"file", "data", "blob"}
    assert console(browser) == []
