"""Links of pages lead somewhere, the navigation has every page, and pages are short enough to be read."""

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from plantclef_assets_tests.documentation import PROJECT, is_generated, pages, prose, read
from plantclef_assets_tests.test_import_order import ORDER

pytestmark = pytest.mark.skipif(not pages(), reason="the pages are missing: run in a checkout")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(?P<title>.+?) *$", re.MULTILINE)


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as Git hosts and the site form them."""
    titles = [match["title"].replace("`", "") for match in _HEADING.finditer(prose(page))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def targets(page: str) -> list[tuple[str, str]]:
    """Return the (page, anchor) that the relative links of a page lead to."""
    found = []
    for match in _LINK.finditer(prose(page)):
        path, _, anchor = match["target"].partition("#")
        if not re.match(r"[a-z]+:", match["target"]):
            place = (PROJECT / page).parent / unquote(path) if path else PROJECT / page
            found.append((place.resolve().relative_to(PROJECT).as_posix(), anchor))
    return found


@pytest.mark.parametrize("page", pages())
def test_links_lead_to_files_and_headings(page: str) -> None:
    dead = [f"{path}#{anchor}" for path, anchor in targets(page) if not (PROJECT / path).exists()]
    assert not dead
    pathless = [(path, anchor) for path, anchor in targets(page) if anchor and path.endswith(".md")]
    assert [f"{path}#{anchor}" for path, anchor in pathless if anchor not in anchors(path)] == []


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith("docs/")])
def test_pages_of_the_site_do_not_link_out_of_it(page: str) -> None:
    assert [path for path, _ in targets(page) if Path(path).parts[0] != "docs"] == []


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith("docs/")])
def test_every_page_is_in_the_navigation(page: str) -> None:
    assert f": {page.removeprefix('docs/')}\n" in read("mkdocs.yml")


def words(page: str) -> int:
    """Return the number of words of a page, as `wc -w` counts them."""
    return len(read(page).split())


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith("docs/") and not is_generated(page)])
def test_pages_are_short(page: str) -> None:
    assert words(page) <= 1000


def test_the_readme_is_short() -> None:
    assert words("README.md") <= 750


def test_pictures_are_small_and_described() -> None:
    pictures = list((PROJECT / "docs" / "images").iterdir())
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 250_000] == []
    assert [page for page in pages() if "![](" in read(page)] == []


def test_the_picture_of_the_packages_has_all_of_them_in_order() -> None:
    picture = read("docs/images/packages.svg")
    assert tuple(re.findall(r'data-package="(\w+)"', picture)) == ORDER
    assert "](images/packages.svg)" in read("docs/architecture.md")


def test_the_citation_has_the_version_of_the_project() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert (citation["version"], citation["title"]) == (project["version"], project["name"])
