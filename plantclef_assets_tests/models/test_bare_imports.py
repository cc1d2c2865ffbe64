"""The packages that compute run on a bare GPU machine: without dagster, duckdb, pyspark and pydantic."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import plantclef_assets

PACKAGES = ("images", "models", "scoring")
ABSENT = ("dagster", "duckdb", "pyspark", "pydantic")
FOLDER = Path(plantclef_assets.__file__).parent
HIDE = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))\n"
"""After this, importing one of them raises ImportError."""
IMPORT_ALL = """
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
print("torch" in sys.modules)
"""
RUN_TESTS = """
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def modules_of(package: str) -> dict[str, Path]:
    return {f"plantclef_assets.{package}.{path.stem}": path for path in (FOLDER / package).glob("[a-z]*.py")}


def imported_names(path: Path) -> set[str]:
    """Return the names that a module imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_module_within_reach_imports_the_orchestration_not_even_in_a_function() -> None:
    pending = [path for package in PACKAGES for path in modules_of(package).values()]
    imports: dict[Path, set[str]] = {}
    while pending:
        path = pending.pop()
        if path in imports:
            continue
        imports[path] = imported_names(path)
        for name in imports[path]:
            if name.split(".")[0] != "plantclef_assets":
                continue
            stem = FOLDER.parent.joinpath(*name.split("."))
            pending += [found for found in (stem.with_suffix(".py"), stem / "__init__.py") if found.is_file()]
    found = {
        (path.relative_to(FOLDER).as_posix(), name.split(".")[0])
        for path, names in imports.items()
        for name in names
        if name.split(".")[0] in ABSENT
    }
    assert len(imports) > sum(len(modules_of(package)) for package in PACKAGES)
    when_used = {
        ("configuration.py", "pydantic"),
        ("lake/catalog.py", "duckdb"),
        ("ingest/class_map.py", "duckdb"),
        ("engines/spark.py", "pyspark"),
    }
    assert found <= when_used, "these are imported when they are used"


@pytest.mark.slow
def test_embedding_and_fine_tuning_pass_their_tests_without_the_orchestration() -> None:
    tests = Path(__file__).parents[1]
    selected = [tests / "models" / "test_embedding.py", tests / "models" / "test_finetuning.py"]
    command = [sys.executable, "-c", HIDE + RUN_TESTS, *selected]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tests.parent, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("package", "needs_torch"), [("images", "False"), ("models", "True"), ("scoring", "False")])
def test_a_package_imports_without_the_orchestration(package: str, needs_torch: str) -> None:
    command = [sys.executable, "-c", HIDE + IMPORT_ALL, *modules_of(package)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == needs_torch
