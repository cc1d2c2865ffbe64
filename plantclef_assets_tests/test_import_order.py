"""Imports point down: a package imports only packages below it, anywhere in a module, commands included."""

import ast
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import plantclef_assets

ORDER = (
    "cli",
    "planning",
    "definitions",
    "defs",
    "orchestration",
    "settings",
    "demo",
    "report",
    "scoring",
    "models",
    "ingest",
    "images",
    "engines",
    "lake",
    "configuration",
    "errors",
    "redaction",
)
"""From top to bottom. `__main__` modules are commands, whichever package they lie in."""
FOLDER = Path(plantclef_assets.__file__).parent


def layer_of(path: Path) -> str:
    if path.name == "__main__.py":
        return "cli"
    return path.relative_to(FOLDER).parts[0].removesuffix(".py")


def imported_names(path: Path) -> set[str]:
    """Return what a module imports, also inside functions and for type checking."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide the package"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = {path: imported_names(path) for path in FOLDER.rglob("*.py") if layer_of(path) != "__init__"}


def test_every_package_has_its_place() -> None:
    assert {layer_of(path) for path in MODULES} == set(ORDER)


def test_no_module_imports_from_above() -> None:
    upward = {
        f"{path.relative_to(FOLDER)} imports {name}"
        for path, names in MODULES.items()
        for name in names
        if name.startswith("plantclef_assets.") and ORDER.index(name.split(".")[1]) < ORDER.index(layer_of(path))
    }
    assert upward == set()


def circle_in(imports: Mapping[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle; empty where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert set(circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
    names = {path.relative_to(FOLDER.parent).with_suffix("").as_posix().replace("/", "."): path for path in MODULES}
    imports = {
        name: {other for other in names if other != name and MODULES[path] & {other, *_members(MODULES[path], other)}}
        for name, path in names.items()
    }
    assert imports["plantclef_assets.lake.tables"] >= {"plantclef_assets.lake.store", "plantclef_assets.lake.schemas"}
    assert circle_in(imports) == []


def _members(imported: set[str], module: str) -> set[str]:
    return {name for name in imported if name.rpartition(".")[0] == module}


def test_one_module_imports_what_dagster_does_not_export() -> None:
    private = {
        str(path.relative_to(FOLDER))
        for path, names in MODULES.items()
        if any(re.match(r"dagster\w*\._", name) for name in names)
    }
    assert private == {"orchestration/dagster_internals.py"}


def test_domain_packages_do_not_know_dagster() -> None:
    below = ORDER[ORDER.index("settings") + 1 :]
    knowing = {
        str(path.relative_to(FOLDER))
        for path, names in MODULES.items()
        if layer_of(path) in below and any(name.startswith("dagster") for name in names)
    }
    assert knowing == set()
