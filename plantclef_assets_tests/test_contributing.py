"""The recipes of CONTRIBUTING.md do what they promise: their diffs apply, and the tests that they add pass."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
COPIED = (
    "plantclef_assets",
    "plantclef_assets_tests",
    "benchmarks",
    "tools",
    "docs",
    "pyproject.toml",
    "README.md",
    "dagster.yaml",
)
RECIPE = re.compile(r"^### (?P<title>Add .*?)$(?P<body>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(?P<kind>diff|sh)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Recipe:
    """What a section shows: the whole diff, and the commands to run after it."""

    title: str
    diff: str
    commands: tuple[str, ...]


def read_recipes() -> list[Recipe]:
    page = PROJECT / "CONTRIBUTING.md"
    if not page.is_file() or shutil.which("git") is None:
        return []
    found = []
    for section in RECIPE.finditer(page.read_text(encoding="utf-8")):
        blocks = [(block["kind"], block["text"]) for block in BLOCK.finditer(section["body"])]
        (diff,) = (text for kind, text in blocks if kind == "diff")
        commands = [line for kind, text in blocks if kind == "sh" for line in text.splitlines()]
        found.append(Recipe(section["title"], diff, tuple(commands)))
    return found


RECIPES = read_recipes()
pytestmark = pytest.mark.skipif(not RECIPES, reason="CONTRIBUTING.md or git is missing: run in a checkout, with git")


def copy_project(folder: Path) -> Path:
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def apply(diff: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # Outside a repository, `git apply` changes files as `patch` does.
    variables = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    command = ["git", "apply", "-p1", "-"]
    return subprocess.run(command, input=diff, cwd=folder, env=variables, capture_output=True, text=True)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    variables |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = re.sub(r"^python ", f"{sys.executable} ", command)
    return subprocess.run(command, shell=True, cwd=folder, env=variables, capture_output=True, text=True)


def test_all_recipes_are_there() -> None:
    titles = [recipe.title for recipe in RECIPES]
    assert titles == ["Add an asset", "Add an asset check", "Add an aggregation", "Add a setting", "Add a prior"]
    assert all(any(" pytest " in command for command in recipe.commands) for recipe in RECIPES)


@pytest.mark.slow
def test_every_diff_applies_by_itself(tmp_path: Path) -> None:
    for number, recipe in enumerate(RECIPES):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = apply(recipe.diff, copy_project(folder))
        assert done.returncode == 0, f"{recipe.title}: {done.stderr}"


@pytest.mark.slow
def test_their_commands_pass(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    for recipe in RECIPES:
        assert apply(recipe.diff, folder).returncode == 0, recipe.title
    for command in dict.fromkeys(command for recipe in RECIPES for command in recipe.commands):
        done = run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stdout[-5000:]}{done.stderr[-5000:]}"
    lint = run("python -m ruff check plantclef_assets plantclef_assets_tests", folder)
    assert lint.returncode == 0, lint.stdout
