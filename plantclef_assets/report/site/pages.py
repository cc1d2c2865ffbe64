"""Filling the templates: every text is escaped, and characters that would change the order of a line are shown."""

import json
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plantclef_assets.lake.sites import PAGES

if TYPE_CHECKING:
    from jinja2 import Environment

NAVIGATION = (
    ("plots.html", "Plots"),
    ("species.html", "Species"),
    ("runs.html", "Runs"),
    ("classifiers.html", "Classifiers"),
    ("quarantine.html", "Quarantine"),
)
STATIC = ("report.css", "report.js")
_ZERO_WIDTH_JOINERS = "\u200c\u200d"
"""Format characters that scripts need inside words."""


class Pages:
    """Writes pages below a folder.

    Attributes:
        folder: of the pages.
        common: values that every page knows.
    """

    def __init__(self, folder: Path, common: Mapping[str, Any]) -> None:
        self.folder = folder
        self.common = common

    def write(self, file: str, template: str, **values: Any) -> None:
        """Write a page at a path below the folder."""
        root = "../" * file.count("/")
        text = self._fill(template, root=root, start=f"{root}../index.html", here=file, **values)
        (self.folder / file).write_text(text, encoding="utf-8", newline="\n")

    def start_page(self, **values: Any) -> str:
        """Return the start page, which lies above the folder."""
        return self._fill("start.html", root=f"{PAGES}/", start="index.html", here="", **values)

    def write_data(self, name: str, variable: str, value: Any) -> None:
        """Write data as a script that sets a variable of the window, since pages on a disk cannot read other files."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        (self.folder / "data" / f"{name}.js").write_text(f"window.{variable}={text};\n", encoding="utf-8", newline="\n")

    def write_static(self) -> None:
        """Write the style sheet and the script."""
        for name in STATIC:
            (self.folder / name).write_bytes(
                files("plantclef_assets.report.site").joinpath("static", name).read_bytes()
            )

    def _fill(self, template: str, **values: Any) -> str:
        return self._environment.get_template(template).render({**self.common, "navigation": NAVIGATION, **values})

    @cached_property
    def _environment(self) -> "Environment":
        from jinja2 import Environment, PackageLoader, StrictUndefined

        made = Environment(
            loader=PackageLoader("plantclef_assets.report.site"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.filters["plain"] = plain
        return made


def plain(text: str | None) -> str:
    """Return a text with its control and format characters as code points, such as U+202E; an en dash for None."""
    if text is None:
        return "–"
    return "".join(
        f"U+{ord(letter):04X}"
        if unicodedata.category(letter) in ("Cc", "Cf") and letter not in _ZERO_WIDTH_JOINERS
        else letter
        for letter in text
    )
