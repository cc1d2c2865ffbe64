"""How commands end: few lines that say what to do, the right exit status, and the answers first."""

import errno
import io
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagster import (
    DagsterExecutionInterruptedError,
)

from plantclef_assets import definitions
from plantclef_assets.cli import run as whole_chain
from plantclef_assets.cli.ending import run_command
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Lake
from plantclef_assets.orchestration import materialization
from plantclef_assets.orchestration.declaration import Job
from plantclef_assets.orchestration.jobs import chain
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import PREFIX, SettingsError
from plantclef_assets_tests.cli.commands import ending
from plantclef_assets_tests.cli.test_command_line import environment
from plantclef_assets_tests.orchestration.test_messages import PASSED, WARNING
from plantclef_assets_tests.tiny import tiny_settings

INSTANCE = """
telemetry: {enabled: false}
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}
"""
Ended = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An instance without telemetry that captures no logs, in DAGSTER_HOME."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(INSTANCE)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


@pytest.fixture
def end(
    home: Path, tiny_survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Ended:
    """Run the whole-chain command over the tiny survey; return its exit status, stdout and stderr."""
    settings = tiny_settings(tiny_survey, tmp_path / "lake")

    def ended(**variables: object) -> tuple[int, str, str]:
        given = {name if name == "DAGSTER_HOME" else PREFIX + name: str(value) for name, value in variables.items()}
        for name, value in (environment(settings, home) | given).items():
            monkeypatch.setenv(name, value)
        with suppress(SettingsError):  # the command prints it
            monkeypatch.setattr(definitions, "defs", definitions.build_defs(load_settings()))
        capfd.readouterr()
        status = whole_chain.main([])
        return status, *capfd.readouterr()

    return ended


def print_lines(text: str) -> int:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    return 0


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TRAINING_IMAGES", "{survey}/imagse", "did you mean {survey}/images?"),
        ("TRAINING_METADATA", "{survey}/metadata.cvs", "did you mean {survey}/metadata.csv?"),
        ("TRAINING_METADATA", "metadata.csv", "is relative to the working folder; use an absolute path"),
        ("PLOT_IMAGES", "{survey}/1/2", "'{survey}' exists, but has no '1'"),
        ("TRAINING_METADATA", "{survey}/images", "but a folder"),
        ("PROFILE", "survey.toml", "there is no file '{here}/survey.toml'"),
        ("TRANING_IMAGES", "{survey}/images", "did you mean PLANTCLEF_TRAINING_IMAGES?"),
        ("LAKE", "{survey}/metadata.csv", "cannot write to '{survey}/metadata.csv'; set a folder"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(
    variable: str, value: str, said: str, end: Ended, tiny_survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = end(**{variable: value.format(survey=tiny_survey)})
    assert (status, out) == (1, "")
    (line,) = ending(err).splitlines()
    assert line.startswith(f"PLANTCLEF_{variable}: ")
    assert said.format(survey=tiny_survey, here=tmp_path) in line


def test_a_lake_that_may_not_be_written_is_one_line(
    end: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "read only"
    lake.mkdir()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != lake and may(path, mode))
    status, _, err = end(LAKE=lake)
    assert status == 1
    assert ending(err) == f"PLANTCLEF_LAKE: cannot write to '{lake}'; set a folder that can be created and written."


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "not set"),
        ("home", "'home' is relative"),
        ("./home", "'./home' is relative"),
        ("{here}/absent", "there is no folder '{here}/absent'"),
        ("{here}/home/dagster.yaml", "there is no folder '"),
    ],
)
def test_a_dagster_home_that_cannot_be_used_names_the_commands_to_run(
    value: str, said: str, end: Ended, tmp_path: Path
) -> None:
    status, out, err = end(DAGSTER_HOME=value.format(here=tmp_path))
    assert (status, out) == (1, "")
    first, command = ending(err).splitlines()
    assert first.startswith(f"DAGSTER_HOME: {said.format(here=tmp_path)}")
    assert command.strip().startswith("mkdir -p '")
    assert "export DAGSTER_HOME='" in command


def test_an_instance_that_cannot_be_opened_names_its_file(end: Ended, home: Path) -> None:
    (home / "dagster.yaml").write_text("telemetry: [")
    status, _, err = end()
    assert status == 1
    assert ending(err).startswith(f"DAGSTER_HOME: Dagster cannot use '{home}' (see its dagster.yaml): ")


def test_a_truth_that_cannot_be_used_is_refused_before_anything_is_made(end: Ended, tmp_path: Path) -> None:
    file = tmp_path / "truth.csv"
    file.write_text('"quadrat_id","species_ids"\n"PLOT-0","[1]"\n"PLOT-0","[2]"\n')
    status, out, err = end(PLOT_TRUTH=file)
    assert (status, out) == (1, "")
    assert err.startswith("PLANTCLEF_PLOT_TRUTH: ")
    assert "'PLOT-0' occurs more than once" in err
    assert len(err.splitlines()) == 1


def test_a_wrong_column_names_the_columns_and_the_variable(end: Ended, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("file;species_id\na.jpg;1\n")
    status, out, err = end(TRAINING_METADATA=file)
    assert status == 1
    assert "── training_side: 00 … 02" in out
    said = ending(err)
    assert "image_name" in said
    assert f"PLANTCLEF_TRAINING_METADATA={file}" in said
    assert "training_side failed. Correct this and run the same command again" in said
    log = home / "plantclef_errors.log"
    assert said.endswith(f"Traceback: {log}")
    assert "MetadataError" in log.read_text()


def test_weights_of_another_model_name_the_variables(end: Ended, tiny_survey: Path) -> None:
    status, _, err = end(BASE_MODEL="vit_tiny_patch16_224", BASE_INPUT_SIZE=32)
    assert status == 1
    said = ending(err)
    assert "weights.safetensors does not fit 'vit_tiny_patch16_224'" in said
    assert (
        f"PLANTCLEF_BASE_WEIGHTS={tiny_survey}/weights.safetensors, PLANTCLEF_BASE_MODEL=vit_tiny_patch16_224" in said
    )


class Unreachable(Exception):
    """What an HTTP library raises without a network."""


def test_an_unreachable_hub_names_the_variable(end: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    from plantclef_assets.models import backbones

    create = backbones.timm.create_model

    def without_network(name: str, **arguments: Any) -> Any:
        if arguments.get("pretrained"):
            raise Unreachable("no route\nto the hub")
        return create(name, **arguments)

    monkeypatch.setattr(backbones.timm, "create_model", without_network)
    status, _, err = end(BASE_WEIGHTS="hub")
    assert status == 1
    said = ending(err)
    assert "could not be fetched from the hub (no route); use a file of weights instead" in said
    assert "PLANTCLEF_BASE_WEIGHTS=hub" in said


def test_a_lake_that_cannot_be_written_in_the_middle_names_the_lake(
    end: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plantclef_assets.ingest import metadata

    file = tmp_path / "lake" / "training_metadata.parquet"

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(metadata, "write_table", refuse)
    status, _, err = end()
    assert status == 1
    said = ending(err)
    assert f"PLANTCLEF_LAKE: cannot use '{file}': Permission denied" in said
    assert "PLANTCLEF_TRAINING_METADATA" not in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "Error writing bytes to file"), "PLANTCLEF_LAKE: cannot use '/lake': No space left"),
        (OSError(errno.EACCES, "Failed to open '/lake/a.parquet'"), "PLANTCLEF_LAKE: cannot use '/lake': Permission"),
        (OSError(errno.EACCES, "Permission denied", "/photos/a.jpg"), "Permission denied: '/photos/a.jpg'"),
        (FileNotFoundError("there is no photograph"), "there is no photograph"),
        (ValueError("two\nlines"), "two lines"),
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError(), "ValueError: "),
    ],
)
def test_a_reason_is_one_line(error: Exception, said: str) -> None:
    reason = materialization._reason(error, Lineage(Lake("/lake"), {}))
    assert said in reason
    assert "\n" not in reason


def test_an_error_of_the_program_is_short_and_its_traceback_is_kept(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(lambda: [][1]) == 1
    said = ending(capsys.readouterr().err)
    assert said == f"IndexError: list index out of range\nTraceback: {home / 'plantclef_errors.log'}"
    assert "Traceback (most recent call last)" in (home / "plantclef_errors.log").read_text()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, DagsterExecutionInterruptedError])
def test_ctrl_c_is_two_sentences(interrupt: type[BaseException], end: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise interrupt

    monkeypatch.setattr(whole_chain, "materialize", stop)
    status, _, err = end()
    assert (status, err.strip()) == (130, "Stopped. Run the same command to continue.")


def test_ctrl_c_in_the_middle_of_a_step_is_no_failure(end: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    from plantclef_assets.ingest import metadata

    def stop(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(metadata, "write_table", stop)
    status, _, err = end()
    assert (status, err.strip()) == (130, "Stopped. Run the same command to continue.")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_stdout_cannot_encode_is_replaced(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert run_command(lambda: print_lines("── 3×3 🌱")) == 0
    times = "×" if encoding == "cp1252" else "?"
    assert out.buffer.getvalue().decode(encoding) == f"?? 3{times}3 ?\n"  # type: ignore[attr-defined]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that a chain has launched, each of which ends well; the same check fails in two of them."""
    launched: list[str] = []

    def launch(defs: object, instance: object, job: Job, keys: object) -> object:
        launched.append(job.name)
        print_lines(f"ran {job.name}")
        checks = [WARNING, PASSED] if job.name in {"plot_sources", "training_side"} else []
        return SimpleNamespace(success=True, all_events=[], get_asset_check_evaluations=lambda: checks)

    monkeypatch.setattr(whole_chain, "materialize", launch)
    return launched


def test_without_truth_the_answers_come_before_what_is_optional(
    end: Ended, runs: list[str], tiny_lake: Settings
) -> None:
    status, out, err = end(LAKE=tiny_lake.lake, PLOT_TRUTH="none")
    assert (status, err) == (0, "")
    answers_first = ["plot_sources", "training_side", "classifiers", "plot_side", "results", "report"]
    assert runs == [*answers_first, "validation_side", "rule_sweep"]
    before, said, after = out.partition("The rest is optional: ")
    assert said
    assert "ran results" in before and "ran validation_side" in after
    answers = f"Results:\n  {tiny_lake.lake}/species_cover/00.csv and 1 more: "
    assert answers in before and answers in after
    assert "f1_plot" not in out, "scores that nobody knows are not printed"
    following = after.rstrip().partition("Next: ")[2]
    assert following.endswith('plantclef lake "select * from species_cover"')
    assert shutil.which(following.split()[0]), "it can be pasted into a shell whose environment is not activated"


def test_with_truth_it_ends_with_scores_answers_checks_time_and_the_next_step(
    end: Ended, runs: list[str], tiny_lake: Settings
) -> None:
    status, out, _ = end(LAKE=tiny_lake.lake)
    last = out.partition("ran rule_sweep\n")[2]
    assert status == 0
    parts = ["f1_plot", "Results:", "submission/base_cls_full.csv and 2 more", "Checks that did not pass (1):"]
    parts += ["  warning training_manifest / photographs_found: 104 rows, no photo", "Took ", "Next: "]
    places = [last.index(part) for part in parts]
    assert places == sorted(places)
    assert last.rstrip().endswith('"select * from leaderboard"')


def test_optional_runs_are_the_last_ones(tiny_survey: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake", plot_truth=None)
    steps = chain(build_graph(settings))
    assert [step.job.name for step in steps if step.job.optional] == ["validation_side", "rule_sweep"]
    assert all(step.job.optional for step in steps[-2:])
