"""The Dagster instance of a command: its folder, and how it is opened."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dagster import DagsterExecutionInterruptedError, DagsterInstance
from filelock import FileLock

from plantclef_assets.engines.processes import interrupts_blocked
from plantclef_assets.errors import UserError
from plantclef_assets.ingest.locations import PACKAGE_FOLDER


def dagster_home() -> Path:
    """Return the folder of the Dagster instance.

    Raises:
        UserError: DAGSTER_HOME is unset or relative, or there is no such folder that can be written.
    """
    value = os.environ.get("DAGSTER_HOME", "")
    home = Path(value).expanduser()
    if not value:
        problem = "not set"
    elif not home.is_absolute():
        problem = f"'{value}' is relative, and Dagster needs an absolute path"
    elif not home.is_dir():
        problem = f"there is no folder '{value}'"
    elif not os.access(home, os.W_OK | os.X_OK):
        problem = f"no permission to write to '{value}'"
    else:
        return home
    usual = PACKAGE_FOLDER.parent / ".dagster_home"
    folder = usual if usual.is_dir() else Path.home() / ".dagster_home"
    if home.is_absolute() and not home.exists():
        folder = home
    configuration = PACKAGE_FOLDER.parent / "dagster.yaml"
    copies = configuration.is_file() and not (folder / "dagster.yaml").exists()
    copy = f" && cp '{configuration}' '{folder}'" if copies else ""
    raise UserError(
        f"DAGSTER_HOME: {problem}. Dagster keeps its runs in this folder. Set it, and run the same command again:\n"
        f"    mkdir -p '{folder}'{copy} && export DAGSTER_HOME='{folder}'"
    )


@contextmanager
def open_instance(home: Path) -> Iterator[DagsterInstance]:
    """Open the instance under a lock, since simultaneous first runs on a new instance break its database.

    Raises:
        UserError: its configuration cannot be read.
        KeyboardInterrupt: also where Dagster has caught it.
    """
    logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())  # it logs what Ctrl-C interrupts
    with FileLock(home / "migration.lock"):
        try:
            instance = DagsterInstance.get()
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"DAGSTER_HOME: Dagster cannot use '{home}' (see its dagster.yaml): {reason}") from error
    _hold_interrupts_of_log_capture(instance)
    with instance:
        try:
            yield instance
        except DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None


def _hold_interrupts_of_log_capture(instance: DagsterInstance) -> None:
    """Start the processes that capture Dagster's logs with Ctrl-C held back: they would print their own tracebacks."""
    manager = instance.compute_log_manager
    capture = manager.capture_logs

    @contextmanager
    def capture_logs(log_key: Sequence[str]) -> Iterator[Any]:
        with ExitStack() as stack:
            with interrupts_blocked():
                captured = stack.enter_context(capture(log_key))
            yield captured

    manager.capture_logs = capture_logs
