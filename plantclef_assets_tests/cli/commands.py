"""Running the platform's commands as a person would, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

PYTHON = Path(sys.executable)
DAGSTER = PYTHON.with_name("dagster")
PROJECT = Path(__file__).resolve().parents[2]


def make_instance(folder: Path, more: str = "") -> Path:
    """Make a new Dagster instance, as the Make targets do, with more lines in its dagster.yaml."""
    folder.mkdir()
    (folder / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text() + more)
    variables = os.environ | {"DAGSTER_HOME": str(folder)}
    subprocess.run([DAGSTER, "instance", "migrate"], check=True, capture_output=True, env=variables)
    return folder


def materialize_command(selection: str, first: str | None = None, last: str | None = None) -> list[str]:
    """Give the command that materializes a selection, as a range where there is one."""
    command = [str(DAGSTER), "asset", "materialize", "-m", "plantclef_assets.definitions", "--select", selection]
    return [*command, "--partition-range", f"{first}...{last}"] if first else command


def run_command(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command with additional variables and give what it printed."""
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=900)


def file_stamps(folder: Path) -> dict[str, int]:
    """Give the time of the last change of every file below a folder, in nanoseconds."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def ending(stderr: str) -> str:
    """Return what a command that failed ends with; it is five lines at most, after the last empty one."""
    lines = stderr.rstrip().rpartition("\n\n")[2].splitlines()
    assert 1 <= len(lines) <= 5, stderr
    assert "Stack Trace" not in stderr and "Traceback (most" not in stderr
    return "\n".join(lines)
