"""The pages that people read: links, lengths, pictures, and the commands in them."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
OUTSIDE = ("README.md", "CONTRIBUTING.md", "deploy/README.md")
"""Pages that are not part of the site."""
_FENCE = re.compile(r"^( *)(`{3,}).*?^\1\2 *$", re.MULTILINE | re.DOTALL)


def pages() -> list[str]:
    """Return every page, relative to the project; none outside a checkout."""
    found = [path.relative_to(PROJECT).as_posix() for path in sorted((PROJECT / "docs").rglob("*.md"))]
    return [page for page in (*OUTSIDE, *found) if (PROJECT / page).is_file()]


def read(page: str) -> str:
    """Return the text of a page."""
    return (PROJECT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """Return the text of a page without its code blocks."""
    return _FENCE.sub("", read(page))


def is_generated(page: str) -> bool:
    """Whether the first line of a page names the command that prints it."""
    return read(page).startswith("<!-- Generated ")
