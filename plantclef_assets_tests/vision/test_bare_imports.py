import subprocess
import sys
from pathlib import Path

import pytest

import plantclef_assets

ROOMS = ("vision", "learning", "scoring")

PACKAGE = Path(plantclef_assets.__file__).parent
DOMAIN_MODULES = sorted(
    f"{path.parent.name}.{path.stem}" for room in ROOMS for path in (PACKAGE / room).glob("[a-z]*.py")
)
"""What a bare GPU machine and its users need: every module of these rooms."""

SCRIPT = """
import sys
for absent in ("dagster", "duckdb", "pyspark", "pydantic"):
    sys.modules[absent] = None  # importing it raises ImportError
import importlib
for name in sys.argv[1:]:
    importlib.import_module("plantclef_assets." + name)
print("torch" in sys.modules)
"""


@pytest.mark.parametrize(("room", "needs_torch"), [("vision", "True"), ("learning", "True"), ("scoring", "False")])
def test_a_room_imports_without_the_orchestration(room, needs_torch):
    modules = [name for name in DOMAIN_MODULES if name.startswith(room)]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == needs_torch
