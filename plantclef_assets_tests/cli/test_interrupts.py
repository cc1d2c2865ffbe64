"""Ctrl-C: no interrupt is lost, and all processes of a run end with it."""

import os
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from plantclef_assets.cli.ending import lost_interrupts_raised
from plantclef_assets.settings import Settings
from plantclef_assets_tests.cli.commands import PYTHON, make_instance
from plantclef_assets_tests.cli.test_command_line import environment
from plantclef_assets_tests.tiny import tiny_settings


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Handle SIGINT as in a terminal; shells start commands in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_a_library_drops_is_raised_at_the_end_of_the_block() -> None:
    signal.signal(signal.SIGINT, lambda number, frame: None)
    with lost_interrupts_raised():
        pass
    with pytest.raises(KeyboardInterrupt), lost_interrupts_raised():
        signal.raise_signal(signal.SIGINT)


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
    status, said = interrupted_run(variables, "── plot_sources", seconds)
    assert status == 130
    assert "Traceback" not in said
    assert said.rstrip().endswith("Stopped. Run the same command to continue.")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_ctrl_c_ends_the_processes_of_several_devices(
    seconds: float, own_lake: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = own_lake(workers=2)
    for path in Path(settings.lake, "base_embeddings").glob("*.parquet"):
        path.unlink()
    variables = environment(settings, make_instance(tmp_path / "home"), device="cpu,cpu")
    status, said = interrupted_run(variables, "on cpu, cpu", seconds)
    assert status == 130
    assert "Traceback" not in said
    assert said.rstrip().endswith("Stopped. Run the same command to continue.")


def interrupted_run(variables: Mapping[str, str], line: str, seconds: float) -> tuple[int, str]:
    """Run the chain, press Ctrl-C some seconds after a line, and return the status and what was printed after it."""
    command = [str(PYTHON), "-m", "plantclef_assets"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell starts background commands, such as this test run, with SIGINT ignored; a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert any(line in printed for printed in process.stdout)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    return process.returncode, said
