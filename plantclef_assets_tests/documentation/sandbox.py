"""A checkout and a home folder in which the commands of the pages run, over the tiny survey."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from plantclef_assets_tests.cli.commands import make_instance
from plantclef_assets_tests.documentation import PROJECT, read

BLOCK = re.compile(
    r"(?:^<!-- needs: (?P<needs>[^\n]+) -->\n)?^```(?P<kind>bash|python|toml|text)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PROFILE = """
lake = "~/survey/lake"
training_metadata = "~/survey/photographs.csv"
training_images = "~/survey/photographs"
plot_images = "~/survey/plots"
plot_truth = "~/survey/truth.csv"
training_shards = 4
plot_shards = 2
base_model = "vit_mini_patch14_reg4_dinov2"
base_weights = "~/survey/weights.safetensors"
base_input_size = 42
image_size = 48
workers = 1
classifier = { epochs = 15 }
validation = { plots = 24, side = 240 }

[runs]
base_cls_full = { feature_set = "base_cls" }
base_cls_3x3 = { feature_set = "base_cls", tiling = "3x3" }
base_cls_4x4_max3 = { feature_set = "base_cls", tiling = "4x4", aggregation = "max", species_per_plot = 3 }
"""
"""The profile of the pages, `~/survey/survey.toml`, with a model and pictures that need no minutes."""
_SHIM = """#!/bin/sh
exec {python} -c 'import sys; from plantclef_assets.cli.main import main; sys.exit(main())' "$@"
"""


@dataclass(frozen=True)
class Block:
    """A code block of a page: its language, its text, and what it needs that a test has not."""

    kind: str
    text: str
    needs: str | None


def blocks(page: str) -> list[Block]:
    """Return the code blocks of a page, in order."""
    return [Block(match["kind"], match["text"], match["needs"]) for match in BLOCK.finditer(read(page))]


def make_sandbox(folder: Path, survey: Path) -> Path:
    """Create a home folder with a checkout whose lake has the survey as the demo would draw it; return it."""
    checkout = folder / "checkout"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "activate").touch()
    (checkout / "docs").mkdir()
    (checkout / "deploy").symlink_to(PROJECT / "deploy")
    shutil.copy(PROJECT / "dagster.yaml", checkout)
    demo = checkout / "lake" / "demo_survey"
    demo.mkdir(parents=True)
    for name, target in (("images", "images"), ("plots", "plots")):
        shutil.copytree(survey / name, demo / target)
    shutil.copy(survey / "metadata.csv", demo)
    shutil.copy(survey / "truth.csv", demo / "plots_truth.csv")
    make_instance(checkout / ".dagster_home")
    shim = folder / "bin" / "plantclef"
    shim.parent.mkdir()
    shim.write_text(_SHIM.format(python=sys.executable))
    shim.chmod(0o755)
    return folder


def add_survey(folder: Path, survey: Path) -> None:
    """Put the survey of the pages into a sandbox, `~/survey`, whose lake is that of the checkout."""
    target = folder / "survey"
    shutil.copytree(survey / "images", target / "photographs")
    shutil.copytree(survey / "plots", target / "plots")
    shutil.copy(survey / "metadata.csv", target / "photographs.csv")
    for name in ("truth.csv", "weights.safetensors"):
        shutil.copy(survey / name, target)
    (target / "survey.toml").write_text(PROFILE)
    (folder / "checkout" / "lake").rename(target / "lake")
    (folder / "checkout" / "lake").symlink_to("../survey/lake")


def run_script(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run lines of bash in the checkout of a sandbox; the first command that fails ends it."""
    paths = [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PLANTCLEF_", "DAGSTER_"))}
    environment |= {"HOME": str(folder), "PATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": str(PROJECT)} | variables
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder / "checkout", env=environment, capture_output=True, text=True, timeout=1200
    )
