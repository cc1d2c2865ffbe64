"""The generated reference pages are in step with the code."""

import os
import subprocess
import sys

import pytest

from plantclef_assets.cli.main import COMMANDS
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets_tests.documentation import PROJECT, pages, read

pytestmark = pytest.mark.skipif(not pages(), reason="the pages are missing: run in a checkout")


@pytest.mark.parametrize("name", ["assets", "commands"])
def test_the_page_is_what_the_command_in_its_first_line_prints(name: str) -> None:
    command = [sys.executable, "-m", "tools.reference", name]
    variables = os.environ | {"PYTHONIOENCODING": "utf-8"}
    printed = subprocess.run(command, capture_output=True, check=True, env=variables, cwd=PROJECT).stdout.decode()
    assert printed == read(f"docs/{name}.md"), f"run: python -m tools.reference {name} > docs/{name}.md"
    assert f"`python -m tools.reference {name} > docs/{name}.md`" in printed.splitlines()[0]


def test_every_table_has_its_columns_on_the_page() -> None:
    sections = dict(part.split("\n", 1) for part in read("docs/assets.md").split("\n## ")[1:])
    for asset, spec in TABLES.items():
        missing = [name for name in spec.columns.names if f"| `{name}` |" not in sections[asset]]
        assert not missing, asset


def test_every_command_has_its_section() -> None:
    page = read("docs/commands.md")
    assert [name for name in COMMANDS if f"\n## plantclef {name}\n" not in page] == []
