"""The command `plantclef`: its subcommands, and the doctor's screen."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.cli.main import COMMANDS, main
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.cli.commands import PROJECT, PYTHON, make_instance, run_command
from plantclef_assets_tests.cli.test_command_line import environment

REPORT = Artifact("plot_report", suffix="html")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main([*arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_without_a_command_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys)
    assert status == 0
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert listed == [*COMMANDS]
    status, _, err = run(capsys, "rnu")
    assert status == 2
    assert err.startswith("plantclef: there is no command 'rnu'.")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_describes_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: plantclef {name} [-h]")


@pytest.fixture
def variables(tiny_lake: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The settings of the tiny lake as variables of this process."""
    validation = {"PLANTCLEF_VALIDATION__PLOTS": "6", "PLANTCLEF_VALIDATION__SIDE": "240"}
    found = environment(tiny_lake, make_instance(tmp_path / "home")) | validation
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def test_lake_and_verify_are_the_commands_of_python_m(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, "lake", "select count(*) as plots from plot_images")
    assert status == 0
    assert "4" in out
    status, out, _ = run(capsys, "verify", "class_map")
    assert status == 0
    assert out.startswith("1 artifacts verified in ")
    status, out, _ = run(capsys, "clean")
    assert status == 0
    assert " left over in " in out


def test_the_doctor_shows_that_everything_is_up_to_date(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, "doctor")
    assert status == 0, out
    assert "device        cpu, fp32, not compiled" in out
    assert "(48 files, " in out and "(4 files, " in out
    assert out.rstrip().endswith("Everything is up to date; a run would only read footers.")


def test_the_doctor_tells_missing_from_stale_and_what_a_run_would_make(
    own_lake: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = own_lake()  # type: ignore[operator]
    for name, value in environment(settings, make_instance(tmp_path / "home")).items():
        monkeypatch.setenv(name, value)
    lake = Lake(settings.lake)
    lake.path(Artifact("raw_images", "01")).unlink()
    lake.path(Artifact("leaderboard")).write_bytes(b"no parquet")
    status, out, _ = run(capsys, "doctor")
    assert status == 0
    rows = {line.split()[1]: line.split()[2:] for line in out.splitlines() if len(line.split()) == 5}
    assert rows["raw_images"] == ["2", "1", "–"]
    assert rows["resized_images"] == ["2", "–", "1"], "what was made from a missing shard is stale"
    assert rows["leaderboard"] == ["–", "–", "1"]
    assert rows["plot_images"] == ["2", "–", "–"]
    assert "would make" in out


def test_the_doctor_names_what_prevents_a_run(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLANTCLEF_DEVICE", "cuda")
    monkeypatch.delenv("DAGSTER_HOME")
    status, out, _ = run(capsys, "doctor")
    assert status == 1
    assert "Problem: PLANTCLEF_DEVICE: device 'cuda' is not available" in out
    assert "Problem: DAGSTER_HOME is not set" in out


@pytest.mark.slow
def test_dg_lists_checks_and_launches_the_definitions(tiny_survey: Path, tmp_path: Path) -> None:
    from plantclef_assets_tests.tiny import tiny_settings

    settings = tiny_settings(tiny_survey, tmp_path / "lake")
    variables = environment(settings, make_instance(tmp_path / "home"))
    dg = str(PYTHON.with_name("dg"))
    for arguments in (["list", "defs", "--json"], ["check", "defs"], ["launch", "--assets", "training_metadata"]):
        done = subprocess.run([dg, *arguments], env=os.environ | variables, capture_output=True, text=True, cwd=PROJECT)
        assert done.returncode == 0, done.stdout + done.stderr
    assert Lake(settings.lake).record(Artifact("training_metadata")) is not None


def test_the_console_script_is_installed() -> None:
    done = subprocess.run([PYTHON.with_name("plantclef"), "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: plantclef COMMAND")


@pytest.mark.slow
def test_report_is_brought_up_to_date_and_its_path_is_printed(
    own_lake: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = own_lake()
    found = environment(settings, make_instance(tmp_path / "home")) | {"PLANTCLEF_REPORT_TITLE": "My meadows"}
    before = Lake(settings.lake).record(REPORT)
    result = run_command([str(PYTHON.with_name("plantclef")), "report"], found)
    assert result.returncode == 0, result.stderr
    page = Path(settings.lake, "plot_report", "index.html")
    assert result.stdout.splitlines()[-1] == f"Report: {page}"
    assert "My meadows" in page.read_text()
    after = Lake(settings.lake).record(REPORT)
    assert before and after and before.provenance != after.provenance


@pytest.mark.slow
def test_a_report_without_its_inputs_names_the_command_that_makes_them(
    own_lake: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = own_lake()
    Path(settings.lake, "leaderboard.parquet").unlink()
    found = environment(settings, make_instance(tmp_path / "home"))
    result = run_command([str(PYTHON.with_name("plantclef")), "report"], found)
    assert result.returncode == 1
    assert "`plantclef run` computes what it needs" in result.stderr
