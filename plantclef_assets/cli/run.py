"""Materialize the whole chain: `python -m plantclef_assets`.

One Dagster run for each partition family, in order, on the instance in DAGSTER_HOME; what is up to date is left alone.
The answers come first, then what is optional. Ends with the files to look at, the checks that did not pass, and the
next step. The same runs can be had one by one with `dagster asset materialize`.
"""

import argparse
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import (
    DagsterExecutionInterruptedError,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    StaticPartitionsDefinition,
)
from filelock import FileLock

from plantclef_assets.assets.common import source_file
from plantclef_assets.cli.ending import lost_interrupts_raised, run_command
from plantclef_assets.engines.processes import interrupts_blocked
from plantclef_assets.engines.progress import duration
from plantclef_assets.errors import UserError, keep_traceback, print_error
from plantclef_assets.ingest.deliveries import keys_in_lake
from plantclef_assets.ingest.fetching import SourceError
from plantclef_assets.ingest.locations import PACKAGE_FOLDER, is_demo
from plantclef_assets.lake.buckets import UnreachableBucketError
from plantclef_assets.lake.provenance import Lineage, OtherSourcesError
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.orchestration.messages import describe_checks, explain_run, was_interrupted
from plantclef_assets.orchestration.partitions import Families, build_families
from plantclef_assets.recipes import build_recipes
from plantclef_assets.scoring.artifacts import read_plot_truth
from plantclef_assets.settings import Settings, load_settings

_RANGE = "dagster/asset_partition_range_"
_LOGGERS = {"loggers": {"messages": {}}}


@dataclass(frozen=True)
class Step:
    """One run of the chain: a job over all partitions of its family."""

    job: str
    family: StaticPartitionsDefinition | None = None
    optional: bool = False


def main(arguments: list[str] | None = None) -> int:
    """Run every job over all its partitions and return the exit status: 1 after a failure, 130 after Ctrl-C."""
    return run_command(lambda: _run(arguments))


def chain(settings: Settings, families: Families) -> list[Step]:
    """Return the runs of the chain in order: the answers, then what is optional."""
    # What is wrong with the source of the plots is reported before anything is trained.
    steps = [Step("plot_sources")] if settings.has_plots else []
    steps.append(Step("training_side", families.training) if settings.has_training else Step("checkpoint"))
    if settings.trains_backbone:
        steps.append(Step("finetuning", families.training))
    steps.append(Step("classifiers", families.feature_sets))
    if settings.has_plots:
        steps += [Step("plot_side", families.plots), Step("results", families.runs)]
    if settings.has_inbox and (delivered := _delivered(settings, families.inbox)):
        steps.append(Step("inbox_side", delivered))
    if settings.composes_plots:
        steps.append(Step("validation_side", families.validation_plots, optional=True))
    if settings.sweeps:
        steps.append(Step("rule_sweep", optional=True))
    return steps


def _run(arguments: list[str] | None) -> int:
    argparse.ArgumentParser(prog="python -m plantclef_assets", description=__doc__).parse_args(arguments)
    started = time.monotonic()
    settings = load_settings()
    home = _dagster_home()
    from plantclef_assets.definitions import defs

    try:
        Lineage(Lake(settings.lake, settings.cache), build_recipes(settings)).require_same_sources()
        _require_usable_truth(settings)
    except (OtherSourcesError, SourceError, UnreachableBucketError) as error:
        raise UserError(str(error)) from error
    checks: dict[str, None] = {}  # in order and once each: two steps can make the same asset
    explained = False
    with _open_instance(home) as instance:
        for step in chain(settings, build_families(settings)):
            if step.optional and not explained:
                explained = True
                print("\n".join(["", *_answers(settings), "", *_OPTIONAL]))
            result = _materialize(defs, instance, step)
            checks |= dict.fromkeys(describe_checks(result.get_asset_check_evaluations()))
            if not result.success:
                message, trace = explain_run(result.all_events)
                print_error("\n".join(["", *_failed_checks([*checks]), message]))
                print_error(
                    f"{step.job} failed. Correct this and run the same command again; finished work is kept. "
                    + keep_traceback(trace)
                )
                return 1
    print("\n".join(["", *_ending(settings, [*checks]), f"Took {duration(time.monotonic() - started)}."]))
    print(f"Next: {_next_step(settings, [*checks])}")
    return 0


def _require_usable_truth(settings: Settings) -> None:
    """Read the truth before anything is trained; only the leaderboard at the end needs it.

    Raises:
        UserError: it cannot be used.
        SourceError: it cannot be fetched.
    """
    if settings.has_plots and settings.plot_truth and not is_demo(settings.plot_truth):
        file = source_file(settings, settings.plot_truth, print)
        assert file is not None
        try:
            read_plot_truth(file)
        except (ValueError, OSError) as error:
            raise UserError(str(error)) from error


def _dagster_home() -> Path:
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
    configuration = PACKAGE_FOLDER.parent / "dagster.yaml"
    copies = configuration.is_file() and not (folder / "dagster.yaml").exists()
    copy = f" && cp '{configuration}' '{folder}'" if copies else ""
    raise UserError(
        f"DAGSTER_HOME: {problem}. Dagster keeps its runs in this folder. Set it, and run the same command again:\n"
        f"    mkdir -p '{folder}'{copy} && export DAGSTER_HOME='{folder}'"
    )


@contextmanager
def _open_instance(home: Path) -> Iterator[DagsterInstance]:
    """Open the instance; under a lock, since first runs at once on a new instance break its database.

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
    """Make the processes that capture Dagster's logs ignore Ctrl-C: they would print a traceback of their own."""
    manager = instance.compute_log_manager
    capture = manager.capture_logs

    @contextmanager
    def capture_logs(log_key: Sequence[str]) -> Iterator[Any]:
        with ExitStack() as stack:
            with interrupts_blocked():
                captured = stack.enter_context(capture(log_key))
            yield captured

    manager.capture_logs = capture_logs


def _delivered(settings: Settings, family: StaticPartitionsDefinition) -> StaticPartitionsDefinition | None:
    """Give the keys that deliveries have taken, as a family of their own; None where there are none yet."""
    keys = keys_in_lake(Lake(settings.lake, settings.cache), "inbox_delivery", family.get_partition_keys())
    return StaticPartitionsDefinition(keys) if keys else None


def _materialize(defs: Definitions, instance: DagsterInstance, step: Step) -> ExecuteInProcessResult:
    keys = step.family.get_partition_keys() if step.family else []
    title = f"── {step.job}{' (optional)' if step.optional else ''}"
    print(f"{title}: {keys[0]} … {keys[-1]}" if keys else title, flush=True)
    with lost_interrupts_raised():
        result = defs.resolve_job_def(step.job).execute_in_process(
            instance=instance,
            tags={f"{_RANGE}start": keys[0], f"{_RANGE}end": keys[-1]} if keys else {},
            run_config=_LOGGERS,
            raise_on_error=False,
        )
    if was_interrupted(result.all_events):
        raise KeyboardInterrupt
    return result


_OPTIONAL = (
    "The rest is optional: it scores rules on plots whose species are known, to choose settings by.",
    "Ctrl-C stops it without loss; PLANTCLEF_VALIDATION__PLOTS=0 leaves the composed plots out.",
)


def _ending(settings: Settings, checks: list[str]) -> list[str]:
    """Return the lines of a chain that has ended well: the leaderboard, the answers and the failed checks."""
    scores = [_leaderboard(settings), ""] if settings.has_plots and settings.plot_truth else []
    return [*scores, *_answers(settings), *_failed_checks(checks)]


def _answers(settings: Settings) -> list[str]:
    """Return lines with the files that people look at first."""
    lake = Lake(settings.lake, settings.cache)
    lines = []
    for asset, what in (
        ("species_cover", "the species of each plot and their cover, for a spreadsheet"),
        ("inbox_cover", "the same for deliveries of the inbox"),
        ("submission", "one list of species for each plot, in the format of the challenge, by run"),
    ):
        recipe_keys = _keys(asset, settings)
        paths = [path for key in recipe_keys if (path := lake.path(Artifact(asset, key, "csv"))).is_file()]
        if paths:
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            lines.append(f"  {paths[0]}{more}: {what}")
    return ["Answers:", *lines] if lines else [f"The lake is {settings.lake}. There are no plots to answer."]


def _keys(asset: str, settings: Settings) -> Sequence[str]:
    families = build_families(settings)
    if asset == "inbox_cover":
        return families.inbox.get_partition_keys() if settings.has_inbox else []
    if not settings.has_plots:
        return []
    return (families.plots if asset == "species_cover" else families.runs).get_partition_keys()


def _failed_checks(checks: list[str]) -> list[str]:
    return [f"Checks that did not pass ({len(checks)}):", *(f"  {line}" for line in checks)] if checks else []


def _next_step(settings: Settings, checks: list[str]) -> str:
    if any("quarantine" in line for line in checks):
        question = "select asset, reason, count(*) from quarantine group by all"
    elif not settings.answers_plots:
        return "set PLANTCLEF_PLOT_IMAGES to a folder of plot photographs, and run the same command again"
    else:
        question = "select * from " + ("leaderboard" if settings.plot_truth else "species_cover")
    return f'python -m plantclef_assets.lake "{question}"'


def _leaderboard(settings: Settings) -> str:
    rows = Lake(settings.lake, settings.cache).read(Artifact("leaderboard")).to_pylist()
    columns = ("run", "aggregation", "f1_plot", "f1_transect", "f1_species", "species_per_plot", "plots")
    cells = [columns, *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def _cell(value: object) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
