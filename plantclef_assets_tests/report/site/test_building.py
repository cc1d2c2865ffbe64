"""Building the report: hostile texts, no metadata in photographs, small pages, the same bytes, incomplete lakes."""

import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from plantclef_assets.report.site.build import PlotReport
from plantclef_assets.report.site.pages import plain
from plantclef_assets.scoring.leaderboard import REVIEWED
from plantclef_assets_tests.report.site.generated import Survey, build, with_truth, write_lake

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\"quotes\" 'and' `more`",
    "right\u202eto\u2066left\u200f",
    "</script><script>alert(1)</script>",
    "</title><b>&amp;&lt;",
    "x" * 300,
    "line\u2028separator\nand\x00more",
    "{{ 7 * 7 }}{% raw %}",
)
_ELEMENTS = """
a article b bdi body button code datalist dd details div dl dt figcaption figure footer form h1 h2 h3 head header html i
img input label li line link main meta nav noscript ol option p polyline rect script section select span summary svg
table tbody td text th thead title tr ul
"""
_WRITTEN = frozenset(_ELEMENTS.split())
"""The elements of the templates."""


class _Elements(HTMLParser):
    """The elements of a page with their attributes, and its text outside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def pages_of(folder: Path) -> dict[str, str]:
    """Return the pages of a report by name, the start page with them."""
    pages = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}
    return pages | {"index.html": (folder.parent / "index.html").read_text(encoding="utf-8")}


def plot_pages(folder: Path) -> list[str]:
    return [page for name, page in pages_of(folder).items() if name.startswith("plots/")]


def data_of(page: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="plot-data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_hostile_names_are_text(tmp_path: Path) -> None:
    quarantined = [{"source": one, "image_name": one, "reason": "decode", "detail": one} for one in HOSTILE]
    survey = Survey(
        plots=[*HOSTILE, "AB-C-1-20240501"],
        inbox=[f"inbox {one}" for one in HOSTILE],
        names=dict(enumerate(HOSTILE)),
        species=len(HOSTILE) + 2,
        author=HOSTILE[0],
        license=HOSTILE[3],
        quarantined=quarantined,
        title=HOSTILE[4],
    )
    lake, scope = write_lake(tmp_path / "lake", survey)
    folder = build(lake, scope)
    pages = pages_of(folder)
    read = {name: _Elements(page) for name, page in pages.items()}
    for name, page in read.items():
        assert {tag for tag, _ in page.elements} <= _WRITTEN, name
        for tag, attributes in page.elements:
            assert not [one for one in attributes if one.startswith("on")], name
            for link in ("href", "src"):
                assert not re.match(r"\s*javascript:", attributes.get(link) or ""), name
            if tag == "img":
                assert (attributes["src"] or "").endswith(".jpg"), name
    assert {page.count("<script") for page in plot_pages(folder)} == {3}, "its data, the names of species, the script"
    for text in HOSTILE:
        shown = plain(text)
        assert any(shown in page.text for name, page in read.items() if name.startswith("plots/"))
        assert any(shown in page.text for name, page in read.items() if name.startswith("species/"))
        assert shown in read["quarantine.html"].text
    assert "\u202e" not in "".join(page.text for name, page in read.items() if name.startswith("plots/"))
    known = {data_of(page)["plot"] for page in plot_pages(folder)}
    assert known == {*survey.plots, *survey.inbox}


def test_photographs_carry_no_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "the owner's garden"
    exif[0x0112] = 1
    exif.get_ifd(0x8825)[1] = "N"
    lake, scope = write_lake(tmp_path / "lake", Survey(exif=exif.tobytes(), inbox=["delivered"]))
    pictures = [*build(lake, scope).rglob("*.jpg")]
    assert len(pictures) > 50
    for picture in pictures:
        data = picture.read_bytes()
        assert b"Exif" not in data and b"garden" not in data
        with Image.open(BytesIO(data)) as image:
            assert not image.getexif()
            assert {*image.info} <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "progressive", "progression"}


def test_pages_are_small(tmp_path: Path) -> None:
    survey = Survey(
        plots=["AB-C-1-20240501"],
        species=500,
        tilings=[f"{one}x{one}" for one in range(3, 9)],
        feature_sets=["base_cls", "base_dct", "finetuned_cls"],
        shards=1,
        side=1600,
        photographs=1,
    )
    lake, scope = write_lake(tmp_path / "lake", survey)
    folder = build(lake, scope)
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.suffix in (".html", ".js", ".css")}
    assert data_of(plot_pages(folder)[0])["tiles"].keys() == {
        f"{features}|{tiling}" for features in survey.feature_sets for tiling in survey.tilings
    }
    assert max(sizes.values()) < 300_000


def test_the_same_lake_gives_the_same_bytes(tmp_path: Path) -> None:
    lake, scope = write_lake(tmp_path / "lake", Survey(inbox=["delivered"]))
    first = build(lake, scope)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    again, scope = write_lake(tmp_path / "again", Survey(inbox=["delivered"]))
    second = build(again, scope)
    assert build(lake, scope) == first, "also after an earlier report"
    assert second.name == first.name
    assert {second / path.relative_to(first): data for path, data in before.items()} == {
        path: path.read_bytes() for path in second.rglob("*") if path.is_file()
    }


def test_a_second_report_says_what_changed(tmp_path: Path) -> None:
    lake, scope = write_lake(tmp_path / "lake", Survey())
    build(lake, scope)
    assert "Since the previous report" not in pages_of(build(lake, scope))["index.html"]
    lake, scope = write_lake(tmp_path / "lake", Survey(plots=(*Survey.plots, "ZZ-9-20240501")))
    folder = build(lake, scope)
    assert "1 plot is new" in " ".join(_Elements(pages_of(folder)["index.html"]).text.split())
    assert (folder / "changes.csv").exists()


@pytest.mark.parametrize(
    "survey",
    [
        Survey(photographs=0),
        Survey(inbox=["delivered-20240701", "later"]),
        Survey(tilings=["3x3"], feature_sets=["base_cls"]),
        Survey(plots=["one", "two"]),
    ],
    ids=["without training photographs", "with deliveries", "with one run", "without dates"],
)
def test_every_lake_has_a_report(tmp_path: Path, survey: Survey) -> None:
    lake, scope = write_lake(tmp_path / "lake", survey)
    folder = build(lake, scope)
    assert len(plot_pages(folder)) == len(survey.plots) + len(survey.inbox)
    assert_links_lead_somewhere(folder)
    assert len([*folder.glob("species/*.jpg")]) == 3 * survey.photographs * 10
    assert ('name="from"' in pages_of(folder)["plots.html"]) == any("2024" in plot for plot in survey.plots)
    assert ("Agreement" in pages_of(folder)["runs.html"]) == (len(survey.runs) > 1)


def assert_links_lead_somewhere(folder: Path) -> None:
    """Every link and picture of every page is a file of the report; links to other hosts are only to GBIF."""
    for name, page in pages_of(folder).items():
        at = folder.parent if name == "index.html" else (folder / name).parent
        for tag, attributes in _Elements(page).elements:
            target = attributes.get("href") or attributes.get("src")
            if not target or target.startswith(("#", "data:")):
                continue
            if target.startswith("https:"):
                assert tag == "a" and target.startswith("https://www.gbif.org/species/"), name
            else:
                assert (at / target.partition("#")[0]).is_file(), f"{name}: {target}"


def test_with_a_truth_plots_are_marked(tmp_path: Path) -> None:
    lake, scope = write_lake(tmp_path / "lake", Survey())
    plot = Survey.plots[0]
    listed = lists_of(build(lake, scope), plot)
    truth: Mapping[str, Sequence[int]] = {plot: [listed[0], 999]}
    scope = with_truth(scope, tmp_path / "truth.csv", truth, reviewed=True)
    folder = build(lake, scope)
    marked = [page for page in plot_pages(folder) if "Ground truth" in page]
    assert [data_of(page)["plot"] for page in marked] == [plot]
    assert "✓ right" in marked[0] and "✗ wrong" in marked[0]
    assert "999" in _Elements(marked[0]).text, "a species without a name is shown by its id"
    assert REVIEWED in pages_of(folder)["index.html"]


def lists_of(folder: Path, plot: str) -> list[int]:
    """Return the list of a plot by the run that is shown."""
    (data,) = (found for page in plot_pages(folder) if (found := data_of(page))["plot"] == plot)
    return data["runs"][0]["species"]


def test_a_plot_that_its_shard_quarantined_is_shown_as_such(tmp_path: Path) -> None:
    row = {"source": "plots/broken.jpg", "image_name": "broken", "reason": "truncated", "detail": "ends early"}
    lake, scope = write_lake(tmp_path / "lake", Survey(quarantined=[row]))
    folder = build(lake, scope)
    assert "plots/broken.jpg" in pages_of(folder)["quarantine.html"]
    assert "1 file in quarantine" in " ".join(_Elements(pages_of(folder)["index.html"]).text.split())


def test_progress_counts_every_plot(tmp_path: Path) -> None:
    lake, scope = write_lake(tmp_path / "lake", Survey(inbox=["delivered"]))
    done: list[int] = []
    build(lake, scope, advance=done.append)
    assert sum(done) == len(Survey.plots) + 1
    assert PlotReport(lake, scope).failed_checks() == ()
