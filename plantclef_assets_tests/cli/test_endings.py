"""How commands end: few lines that say what to do, the right exit status, and the answers first."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    DagsterEventType,
    DagsterExecutionInterruptedError,
)

from plantclef_assets import definitions
from plantclef_assets.cli import run as whole_chain
from plantclef_assets.cli.ending import lost_interrupts_raised, run_command
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.orchestration import materialization
from plantclef_assets.orchestration.declaration import Job
from plantclef_assets.orchestration.jobs import chain
from plantclef_assets.orchestration.launching import refuse_command
from plantclef_assets.orchestration.messages import describe_checks, end_with_failures, explain_run, note_failure
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import PREFIX, SettingsError
from plantclef_assets_tests.cli.commands import PYTHON, make_instance, materialize_command
from plantclef_assets_tests.cli.commands import run_command as run_process
from plantclef_assets_tests.cli.test_command_line import environment
from plantclef_assets_tests.defs.lake_corruption import rewrite, with_value
from plantclef_assets_tests.tiny import materialize, tiny_settings

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


def ending(stderr: str) -> str:
    """Return what a command that failed ends with; it is five lines at most, after the last empty one."""
    lines = stderr.rstrip().rpartition("\n\n")[2].splitlines()
    assert 1 <= len(lines) <= 5, stderr
    assert "Stack Trace" not in stderr and "Traceback (most" not in stderr
    return "\n".join(lines)


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

    monkeypatch.setattr(whole_chain, "_materialize", stop)
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


def evaluation(
    asset: str, check: str, severity: AssetCheckSeverity, passed: bool, problem: str
) -> AssetCheckEvaluation:
    return AssetCheckEvaluation(AssetKey(asset), check, passed, {}, severity=severity, description=problem)


WARNING = evaluation("training_manifest", "photographs_found", AssetCheckSeverity.WARN, False, "104 rows,\nno photo")
PASSED = evaluation("training_manifest", "schema", AssetCheckSeverity.ERROR, True, "")
BLOCKING = evaluation("raw_images", "unique_keys", AssetCheckSeverity.ERROR, False, "a.jpg occurs twice")


def test_failed_checks_of_every_severity_are_a_line_each() -> None:
    assert describe_checks([WARNING, PASSED, BLOCKING]) == [
        "warning training_manifest / photographs_found: 104 rows, no photo",
        "ERROR raw_images / unique_keys: a.jpg occurs twice",
    ]
    many = describe_checks([WARNING] * 30)
    assert len(many) == 11
    assert many[-1] == "… and 20 more; the UI lists them all"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that a chain has launched, each of which ends well; the same check fails in two of them."""
    launched: list[str] = []

    def launch(defs: object, instance: object, job: Job, keys: object) -> object:
        launched.append(job.name)
        print_lines(f"ran {job.name}")
        checks = [WARNING, PASSED] if job.name in {"plot_sources", "training_side"} else []
        return SimpleNamespace(success=True, all_events=[], get_asset_check_evaluations=lambda: checks)

    monkeypatch.setattr(whole_chain, "_materialize", launch)
    return launched


def test_without_truth_the_answers_come_before_what_is_optional(
    end: Ended, runs: list[str], tiny_lake: Settings
) -> None:
    status, out, err = end(LAKE=tiny_lake.lake, PLOT_TRUTH="none")
    assert (status, err) == (0, "")
    answers_first = ["plot_sources", "training_side", "classifiers", "plot_side", "results"]
    assert runs == [*answers_first, "validation_side", "rule_sweep"]
    before, said, after = out.partition("The rest is optional: ")
    assert said
    assert "ran results" in before and "ran validation_side" in after
    answers = f"Answers:\n  {tiny_lake.lake}/species_cover/00.csv and 1 more: "
    assert answers in before and answers in after
    assert "f1_plot" not in out, "scores that nobody knows are not printed"
    assert after.rstrip().endswith('Next: python -m plantclef_assets.lake "select * from species_cover"')


def test_with_truth_it_ends_with_scores_answers_checks_time_and_the_next_step(
    end: Ended, runs: list[str], tiny_lake: Settings
) -> None:
    status, out, _ = end(LAKE=tiny_lake.lake)
    last = out.partition("ran rule_sweep\n")[2]
    assert status == 0
    parts = ["f1_plot", "Answers:", "submission/base_cls_full.csv and 2 more", "Checks that did not pass (1):"]
    parts += ["  warning training_manifest / photographs_found: 104 rows, no photo", "Took ", "Next: "]
    places = [last.index(part) for part in parts]
    assert places == sorted(places)
    assert last.rstrip().endswith('"select * from leaderboard"')


def test_optional_runs_are_the_last_ones(tiny_survey: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake", plot_truth=None)
    steps = chain(build_graph(settings))
    assert [step.job.name for step in steps if step.job.optional] == ["validation_side", "rule_sweep"]
    assert all(step.job.optional for step in steps[-2:])


def command(**parameters: str | None) -> click.Context:
    """The context of Dagster's command that materializes assets."""
    context = click.Context(click.Command("materialize"))
    context.params = {"select": None, "partition": None, "partition_range": None} | parameters
    return context


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"select": "raw_images", "partition_range": "02...00"}, "02 comes after 00; give 00...02"),
        ({"select": "class_map, raw_images", "partition_range": "01...00"}, "01 comes after 00; give 00...01"),
        ({"select": "plot_images", "partition_range": "00...02"}, "there is no partition '02'; they are 00 to 01."),
        ({"select": "raw_images", "partition_range": "0...2"}, "there is no partition '0'; they are 00 to 02."),
        ({"select": "submission", "partition": "base"}, "there is no partition 'base'; they are base_cls_full to"),
        ({"select": "raw_image", "partition": "00"}, "there is no asset raw_image; did you mean raw_images?"),
        ({"select": "xyzzy"}, "there is no asset xyzzy under these settings."),
        ({"select": "class_map,raw_images"}, "raw_images has partitions; add --partition-range 00...02"),
        ({"assets": "raw_images", "partition_range": "02...00"}, "02 comes after 00; give 00...02"),
    ],
)
def test_a_launch_that_would_do_nothing_or_break_is_refused(
    parameters: dict[str, str], said: str, tiny_survey: Path, tmp_path: Path
) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake")
    with command(**parameters), pytest.raises(click.ClickException) as refused:
        refuse_command(settings, build_graph(settings))
    assert said in refused.value.message


@pytest.mark.parametrize(
    "parameters",
    [
        {"select": "raw_images,resized_images", "partition_range": "00...02"},
        {"select": "raw_images", "partition_range": "01...01"},
        {"select": "raw_images", "partition": "02"},
        {"select": "class_map"},
        {"select": "raw_images+", "partition_range": "02...00"},  # Dagster's syntax: the run itself refuses the range
    ],
)
def test_other_launches_are_left_to_dagster(parameters: dict[str, str], tiny_survey: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake")
    with command(**parameters):
        refused = refuse_command(settings, build_graph(settings))  # it raises where it refuses
    assert refused is None


def test_a_reversed_range_fails_on_every_way_to_launch_it(own_lake: Callable[..., Settings]) -> None:
    result = materialize(own_lake(), "raw_images", first="02", last="00")
    assert not result.success
    (failed,) = [event for event in result.all_events if event.event_type == DagsterEventType.STEP_FAILURE][:1]
    assert failed.step_failure_data.user_failure_data is not None
    assert "its start comes after its end; swap them" in str(failed.step_failure_data.user_failure_data.description)


def test_a_blocking_check_names_the_shard_and_what_to_do(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake()
    rewrite(settings, Artifact("base_embeddings", "01"), lambda table: with_value(table, "dct", 0, [float("nan")] * 64))
    message, trace = explain_run(materialize(settings, "base_embeddings", first="00", last="02").all_events)
    finding, advice = message.splitlines()
    assert finding.startswith(
        "ERROR base_embeddings / vectors_usable: base_embeddings/01: 1 dct vectors are non-finite"
    )
    assert advice.startswith("Delete the files named here")
    assert "Stack Trace" in trace


def test_dagsters_command_ends_with_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    context = command(select="raw_images")
    with context:
        end_with_failures(context)
        note_failure("raw_images/00: there is no photograph")
    assert capsys.readouterr().err.rstrip().endswith("\nraw_images/00: there is no photograph")


@pytest.mark.slow
def test_dagsters_command_ends_with_a_few_lines(tiny_survey: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake")
    variables = environment(settings, make_instance(tmp_path / "home"))
    (tmp_path / "mine.csv").write_text("file;species_id\na.jpg;1\n")
    failed = run_process(
        materialize_command("training_metadata"),
        variables | {"PLANTCLEF_TRAINING_METADATA": str(tmp_path / "mine.csv")},
    )
    assert failed.returncode == 1
    lines = failed.stderr.rstrip().rpartition("\n\n")[2].splitlines()
    assert lines[0].startswith("training_metadata: ")
    assert f"PLANTCLEF_TRAINING_METADATA={tmp_path / 'mine.csv'}" in lines[1]
    assert lines[2:] == ["Error: Materialization failed."]
    misspelt = run_process(materialize_command("training_metadata"), variables | {"PLANTCLEF_TRANING_IMAGES": "/x"})
    assert misspelt.returncode == 1
    assert "Traceback" not in misspelt.stderr
    assert misspelt.stderr.splitlines()[-1].endswith("did you mean PLANTCLEF_TRAINING_IMAGES?")
    reversed_range = run_process(materialize_command("raw_images", "02", "00"), variables)
    assert reversed_range.returncode == 1
    assert reversed_range.stderr.splitlines()[-1] == "Error: --partition-range: 02 comes after 00; give 00...02"


def test_an_interrupt_that_a_library_drops_is_raised_at_the_end_of_the_block() -> None:
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        with lost_interrupts_raised():
            pass
        with pytest.raises(KeyboardInterrupt), lost_interrupts_raised():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_inside_a_weak_references_callback_still_stops_the_work(capfd: pytest.CaptureFixture[str]) -> None:
    class Target:
        pass

    def interrupted(reference: weakref.ref[Target]) -> None:
        signal.raise_signal(signal.SIGINT)

    target = Target()
    reference = weakref.ref(target, interrupted)
    with pytest.raises(KeyboardInterrupt), lost_interrupts_raised():
        del target
        time.sleep(60)
    assert reference() is None
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_ctrl_c_in_a_terminal_ends_all_processes_without_a_traceback(
    seconds: float, tiny_survey: Path, tmp_path: Path
) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake", workers=2)
    variables = environment(settings, make_instance(tmp_path / "home"))
    command = [str(PYTHON), "-m", "plantclef_assets"]
    process = subprocess.Popen(
        command,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell starts background commands, such as this test run, with SIGINT ignored; a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("── plot_sources")
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.rstrip().endswith("Stopped. Run the same command to continue.")
