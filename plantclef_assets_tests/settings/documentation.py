"""Parts of the documentation that tests compare with the code."""

import re
import tomllib
from typing import Any


def first_cells(text: str, header: str) -> list[str]:
    """Return the names in the first column of a Markdown table."""
    rows = text.partition(header)[2].partition("\n\n")[0].splitlines()[2:]
    return [name.strip(" `") for row in rows for name in row.split("|")[1].split(",")]


def toml_blocks(text: str) -> list[dict[str, Any]]:
    """Return the parsed TOML blocks of a page."""
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
