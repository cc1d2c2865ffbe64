import subprocess
import sys

import pytest

DOMAIN_MODULES = [
    *("vision." + name for name in ("backbones", "decoding", "embedding", "resizing", "tiling", "weights")),
    *("learning." + name for name in ("classifier_files", "linear", "splits")),
    *("scoring." + name for name in ("aggregation", "metrics", "submissions")),
]
"""What a bare GPU machine and its users need."""

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
