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


UNIT_TESTS = """
import sys
for absent in ("dagster", "duckdb", "pyspark", "pydantic"):
    sys.modules[absent] = None
import pytest
sys.exit(pytest.main(["-q", "-m", "not slow", "-p", "no:cacheprovider", "--deselect", sys.argv[1], *sys.argv[2:]]))
"""


@pytest.mark.slow
def test_vision_and_learning_pass_their_unit_tests_without_the_orchestration():
    rooms = [Path(__file__).parents[1] / room for room in ("vision", "learning")]
    command = [sys.executable, "-c", UNIT_TESTS, __file__, *rooms]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize(("room", "needs_torch"), [("vision", "True"), ("learning", "True"), ("scoring", "False")])
def test_a_room_imports_without_the_orchestration(room, needs_torch):
    modules = [name for name in DOMAIN_MODULES if name.startswith(room)]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == needs_torch
