"""Sites: the start page is published after its pages, which are verified, cleaned up, and survive a kill in between."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.cleaning import delete_leftover, find_leftovers
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.lake.sites import PAGES, current_pages, site_digest, write_site
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard
from plantclef_assets.lake.verification import verify_artifacts
from plantclef_assets.settings import Settings

SITE = Artifact("plot_report", suffix="html")


@pytest.fixture(params=["folder", pytest.param("bucket", marks=[pytest.mark.gcs, pytest.mark.slow])])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """A lake in a folder, and one in a bucket."""
    if request.param == "folder":
        return Lake(str(tmp_path / "lake"))
    return Lake(f"{request.getfixturevalue('bucket')}/lake", str(tmp_path / "cache"))


@pytest.fixture
def recipes(tiny_lake: Settings) -> dict[str, Recipe]:
    """The recipes of settings with a report."""
    return dict(build_graph(tiny_lake).recipes)


def publish(lake: Lake, *texts: str) -> str:
    """Publish a site with a page for each text, and return the name of the folder of its pages."""

    def write(folder: Path) -> tuple[str, dict[str, int]]:
        (folder / "plots").mkdir()
        for number, text in enumerate(texts):
            (folder / "plots" / f"{number}.html").write_text(text, encoding="utf-8")
        start = f'<html><head></head><body><a href="{PAGES}/plots/0.html">a plot</a></body></html>'
        return start, {"plots": len(texts)}

    write_site(lake, Shard(SITE, {"asset": "plot_report", "partition": None}), write)
    pages = current_pages(lake, "plot_report")
    assert pages is not None
    return pages


def files(lake: Lake) -> dict[str, bytes]:
    """Return the files of the site by their name."""
    filesystem, root = open_filesystem(lake.root)
    found = filesystem.find(f"{root}/plot_report")
    return {path.removeprefix(f"{root}/plot_report/"): filesystem.cat_file(path) for path in found}


def problems(lake: Lake) -> list[str | None]:
    return [
        problem for _, problem in verify_artifacts(lake, ["plot_report"], ["plot_report"], lambda asset, path: None)
    ]


def leftovers(lake: Lake, recipes: dict[str, Recipe]) -> set[str]:
    """Return the folders of pages that are left over."""
    return {leftover.file.name.split("/")[1] for leftover in find_leftovers(lake, recipes)}


def test_the_start_page_points_to_its_pages(lake: Lake) -> None:
    pages = publish(lake, "one", "two")
    found = files(lake)
    assert {*found} == {"index.html", f"{pages}/plots/0.html", f"{pages}/plots/1.html"}
    assert f'href="{pages}/plots/0.html"'.encode() in found["index.html"]
    record = lake.record(SITE)
    assert record is not None
    assert record.statistics["plots"] == 2
    assert site_digest(lake, SITE, pages) == record.fingerprint == pages
    assert publish(lake, "one", "two") == pages
    assert publish(lake, "one", "three") != pages


@pytest.mark.parametrize("damage", ["edited", "missing", "added"])
def test_verification_finds_pages_that_are_not_those_written(lake: Lake, damage: str) -> None:
    pages = publish(lake, "one", "two")
    assert problems(lake) == [None]
    filesystem, root = open_filesystem(lake.root)
    place = f"{root}/plot_report/{pages}/plots"
    if damage == "missing":
        filesystem.rm_file(f"{place}/1.html")
    else:
        filesystem.pipe_file(f"{place}/{'1' if damage == 'edited' else '2'}.html", b"other")
    (problem,) = problems(lake)
    assert problem is not None
    assert "its pages are not those that were written" in problem


def test_cleaning_removes_earlier_pages_and_keeps_those_that_come(lake: Lake, recipes: dict[str, Recipe]) -> None:
    first = publish(lake, "one")
    assert leftovers(lake, recipes) == set()
    time.sleep(1.1)  # objects know the time of their change in whole seconds
    second = publish(lake, "two")
    assert leftovers(lake, recipes) == {first}
    time.sleep(1.1)
    filesystem, root = open_filesystem(lake.root)
    filesystem.makedirs(f"{root}/plot_report/coming", exist_ok=True)
    filesystem.pipe_file(f"{root}/plot_report/coming/0.html", b"its start page is not published yet")
    assert leftovers(lake, recipes) == {first}
    for leftover in find_leftovers(lake, recipes):
        delete_leftover(lake, leftover)
    assert {name.split("/")[0] for name in files(lake)} == {"index.html", second, "coming"}
    assert problems(lake) == [None]
    time.sleep(1.1)
    third = publish(lake, "three")
    assert leftovers(lake, recipes) == {second, "coming"}
    assert third not in leftovers(lake, recipes)


def test_without_plots_all_pages_are_left_over(lake: Lake, recipes: dict[str, Recipe]) -> None:
    pages = publish(lake, "one")
    others = {name: recipe for name, recipe in recipes.items() if name != "plot_report"}
    filesystem, root = open_filesystem(lake.root)
    filesystem.pipe_file(f"{root}/class_map.parquet", b"named by the settings")
    assert {leftover.file.name.rstrip("/") for leftover in find_leftovers(lake, others)} >= {"plot_report/index.html"}
    assert pages in leftovers(lake, others)


def test_a_kill_before_the_start_page_leaves_the_earlier_site(lake: Lake) -> None:
    pages = publish(lake, "one")
    before = files(lake)
    script = (
        "import os, signal, sys\n"
        "from plantclef_assets.lake import sites\n"
        "from plantclef_assets.lake.store import Lake\n"
        "from plantclef_assets_tests.lake.test_sites import publish\n"
        "sites.record_metadata = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
        "publish(Lake(sys.argv[1], sys.argv[2]), 'two', 'three')\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, lake.root, lake.cache], env=os.environ, check=False)
    assert killed.returncode < 0
    after = files(lake)
    assert {name: after[name] for name in before} == before
    assert len([name for name in after if name not in before and "incomplete" not in name]) == 2, "its pages are there"
    assert current_pages(lake, "plot_report") == pages
    assert problems(lake) == [None]
    assert publish(lake, "two", "three") != pages
    assert problems(lake) == [None]
