"""What commands print about runs: messages of one line, failures in a few lines, and checks that did not pass.

What belongs here: how Dagster's events become text for a terminal. Dagster's event log keeps everything.
"""

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    DagsterEvent,
    DagsterEventType,
    InitLoggerContext,
    LoggerDefinition,
)

from plantclef_assets.errors import INTERRUPTS, print_error, shorten

_SKIPPED = "Dependencies for step "
"""What Dagster logs, as an error, of each step that a failure leaves out."""
TO_MEND = "Delete the files named here, correct what they are made from, and materialize them again."
_LISTED_CHECKS = 10
_noted: list[str] = []


def _create_messages(context: InitLoggerContext) -> logging.Logger:
    messages = _Messages("plantclef", logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    messages.addHandler(handler)
    return messages


class _Messages(logging.Logger):
    """A logger that turns Dagster's records into short lines."""

    def log(self, level: int, msg: object, *args: object, **options: Any) -> None:
        """Print a record of Dagster, whose own fields are in `extra`."""
        metadata: Mapping[str, Any] = (options.get("extra") or {}).get("dagster_meta") or {}
        text = str(metadata.get("orig_message", msg))
        if metadata.get("dagster_event") is None and not text.startswith(_SKIPPED):
            step = metadata.get("step_key")
            super().log(level, f"{step}: {text}" if step else text, exc_info=options.get("exc_info"))


messages_logger = LoggerDefinition(
    _create_messages,
    description="Prints the messages of assets and checks to stderr, one line each, without Dagster's events.",
)
"""The logger of a command that prints failures and failed checks itself, at its end."""


def end_with_failures(command: click.Context) -> None:
    """Print what failed at the end of a command of Dagster, below the stack traces that it prints."""
    command.call_on_close(lambda: print_error("\n".join(["", *_noted])) if _noted else None)


def note_failure(text: str) -> None:
    """Keep a failure of a run, to be printed at the end of the command."""
    _noted.append(text)


def explain_failure(event: DagsterEvent) -> tuple[str, str]:
    """Return what went wrong in a step or run that failed: a few lines for the user, and the traceback."""
    data: Any = event.event_specific_data
    error = getattr(data, "error", None)
    if error is None:
        return shorten(event.message or f"{event.job_name} failed"), event.message or ""
    failure = getattr(data, "user_failure_data", None)
    if failure is not None and failure.description:
        return shorten(failure.description), error.to_string()
    cause = error
    while cause.cause is not None and (cause.cls_name or "").startswith("Dagster"):
        cause = cause.cause
    # The errors of this package are sentences; the names of others, such as KeyError, are needed.
    text = re.sub(r"^plantclef_assets\.[\w.]+: ", "", cause.message.strip())
    return shorten(f"{event.step_key}: {text}" if event.step_key else text), error.to_string()


def explain_run(events: Sequence[DagsterEvent]) -> tuple[str, str]:
    """Return why a run failed: what its first failed step says, or else the run itself, and all tracebacks."""
    failed = [event for event in events if event.event_type == DagsterEventType.STEP_FAILURE]
    failed = failed or [event for event in events if event.event_type == DagsterEventType.RUN_FAILURE]
    explained = [explain_failure(event) for event in failed]
    message = explained[0][0] if explained else "The run failed."
    blocking = [one for one in _evaluations(events) if one.severity == AssetCheckSeverity.ERROR and not one.passed]
    if blocking and "DagsterAssetCheckFailedError" in message:
        message = shorten("\n".join(describe_checks(blocking)), lines=2) + f"\n{TO_MEND}"
    if len(explained) > 1:
        message += f"\nFailed, too: {', '.join(str(event.step_key) for event in failed[1:])}"
    return message, "\n".join(trace for _, trace in explained)


def _evaluations(events: Sequence[DagsterEvent]) -> list[AssetCheckEvaluation]:
    evaluated = [event for event in events if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION]
    return [event.asset_check_evaluation_data for event in evaluated]


def was_interrupted(events: Sequence[DagsterEvent]) -> bool:
    """Whether Ctrl-C ended a run; in the middle of a step, Dagster reports that as a failure of the step."""
    errors = (getattr(event.event_specific_data, "error", None) for event in events if event.is_failure)
    return any(error is not None and error.cls_name in INTERRUPTS for error in errors)


def describe_checks(evaluations: Sequence[AssetCheckEvaluation]) -> list[str]:
    """Return one line for each check that did not pass, whatever its severity."""
    failed = [one for one in evaluations if not one.passed]
    lines = [
        shorten(
            f"{'ERROR' if one.severity == AssetCheckSeverity.ERROR else 'warning'} "
            f"{one.asset_key.to_user_string()} / {one.check_name}: {' '.join((one.description or '').split())}",
            lines=1,
        )
        for one in failed[:_LISTED_CHECKS]
    ]
    more = len(failed) - len(lines)
    return lines + ([f"… and {more} more; the UI lists them all"] if more else [])
