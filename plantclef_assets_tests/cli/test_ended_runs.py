"""Runs whose process was killed do not stay started; every other run stays as it is."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus, job

from plantclef_assets.cli.ended_runs import process_tags, report_ended_runs
from plantclef_assets_tests.cli.test_command_line import environment
from plantclef_assets_tests.tiny import tiny_settings


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        yield instance


@job
def nothing() -> None: ...


def status_after(
    instance: DagsterInstance,
    tags: dict[str, str],
    status: DagsterRunStatus = DagsterRunStatus.STARTED,
    parent: str | None = None,
) -> DagsterRunStatus:
    """Return the status of a run with these tags after the runs of killed commands were reported."""
    run = instance.create_run_for_job(nothing, tags=tags, status=status, parent_run_id=parent, root_run_id=parent)
    report_ended_runs(instance)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def tags_of_another(*, kill: bool) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Return a process, killed or not, and the tags of its runs."""
    program = "from plantclef_assets.cli.ended_runs import process_tags; print(process_tags(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    tags = eval(process.stdout.readline())
    if kill:
        process.kill()
        process.wait()
    return process, tags


def test_a_run_whose_process_was_killed_is_reported_as_failed(instance: DagsterInstance) -> None:
    _, tags = tags_of_another(kill=True)
    assert status_after(instance, tags) == DagsterRunStatus.FAILURE
    (run,) = instance.get_runs()
    said = [record.event_log_entry.dagster_event.message for record in instance.get_records_for_run(run.run_id).records]
    assert f"({tags['plantclef/process'].split()[0]} on {socket.gethostname()}) ended before the run did" in str(said)


def test_a_process_that_nobody_has_waited_for_has_ended_too(instance: DagsterInstance) -> None:
    process, tags = tags_of_another(kill=False)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert status_after(instance, tags) == DagsterRunStatus.FAILURE
    process.wait()


def test_a_run_whose_process_is_alive_stays_started(instance: DagsterInstance) -> None:
    process, tags = tags_of_another(kill=False)
    assert status_after(instance, tags) == DagsterRunStatus.STARTED
    assert status_after(instance, process_tags()) == DagsterRunStatus.STARTED
    process.kill()
    process.wait()


def test_a_number_that_another_process_has_now_is_no_sign_of_life(instance: DagsterInstance) -> None:
    number, start = process_tags()["plantclef/process"].split(" ", 1)
    earlier = process_tags() | {"plantclef/process": f"{number} 1{start}"}
    assert status_after(instance, earlier) == DagsterRunStatus.FAILURE


@pytest.mark.parametrize("host", ["another.example", f"{socket.gethostname()} pid:[1]"])
def test_runs_of_other_hosts_and_containers_are_left_alone(host: str, instance: DagsterInstance) -> None:
    _, tags = tags_of_another(kill=True)
    assert status_after(instance, tags | {"plantclef/host": host}) == DagsterRunStatus.STARTED


def test_runs_of_daemons_and_runs_that_ended_are_left_alone(instance: DagsterInstance) -> None:
    _, tags = tags_of_another(kill=True)
    assert status_after(instance, {}) == DagsterRunStatus.STARTED
    assert status_after(instance, tags, DagsterRunStatus.SUCCESS) == DagsterRunStatus.SUCCESS
    first = instance.create_run_for_job(nothing).run_id
    started = DagsterRunStatus.STARTED
    assert status_after(instance, tags, started, first) == started, "a repetition from the UI has the tags too"


@pytest.mark.slow
def test_a_killed_command_is_no_longer_started_after_the_next_one(
    tiny_survey: Path, tmp_path: Path, instance: DagsterInstance
) -> None:
    variables = os.environ | environment(tiny_settings(tiny_survey, tmp_path / "lake"), tmp_path / "home")
    command = [sys.executable, "-m", "plantclef_assets"]
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("── training"):
            break
    while not instance.get_runs() or instance.get_runs(limit=1)[0].status != DagsterRunStatus.STARTED:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed = instance.get_runs(limit=1)[0]
    assert killed.status == DagsterRunStatus.STARTED
    subprocess.run(command, env=variables, capture_output=True, check=True, timeout=600)
    assert instance.get_run_by_id(killed.run_id).status == DagsterRunStatus.FAILURE
    assert {run.status for run in instance.get_runs()} == {DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS}
