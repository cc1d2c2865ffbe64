"""Materialize the whole chain: `plantclef run`, or `python -m plantclef_assets`.

Executes the jobs one after the other, each as one Dagster run, on the instance in DAGSTER_HOME. What is up to date is
not made again. Species lists and scores come first, optional jobs last. At its end, the command prints the files with
the results, the checks that did not pass, and the next step. `dagster asset materialize` makes single assets.
"""

import argparse
import time
from collections.abc import Sequence

from dagster import (
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
)

from plantclef_assets.cli.ended_runs import process_tags, report_ended_runs
from plantclef_assets.cli.ending import lost_interrupts_raised, run_command
from plantclef_assets.cli.instance import dagster_home, open_instance
from plantclef_assets.cli.plan import estimate_lines
from plantclef_assets.cli.results import answers, closing_lines, failed_checks, next_step
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.defs.source_files import source_file
from plantclef_assets.engines.progress import duration
from plantclef_assets.errors import UserError, keep_traceback, print_error
from plantclef_assets.ingest.deliveries import keys_in_lake
from plantclef_assets.ingest.fetching import SourceError
from plantclef_assets.ingest.locations import is_demo
from plantclef_assets.lake.buckets import UnreachableBucketError
from plantclef_assets.lake.provenance import Lineage, OtherSourcesError
from plantclef_assets.lake.store import Lake
from plantclef_assets.orchestration.dagster_internals import show_under_job
from plantclef_assets.orchestration.declaration import Graph, Job
from plantclef_assets.orchestration.jobs import Step, chain
from plantclef_assets.orchestration.messages import describe_checks, explain_run, was_interrupted
from plantclef_assets.scoring.leaderboard import read_plot_truth
from plantclef_assets.settings import Settings, load_settings

_RANGE = "dagster/asset_partition_range_"
_LOGGERS = {"loggers": {"messages": {}}}


def main(arguments: list[str] | None = None, prog: str = "python -m plantclef_assets") -> int:
    """Run every job over all its partitions and return the exit status: 1 after a failure, 130 after Ctrl-C."""
    return run_command(lambda: _run(arguments, prog))


def _run(arguments: list[str] | None, prog: str) -> int:
    argparse.ArgumentParser(prog=prog, description=__doc__).parse_args(arguments)
    started = time.monotonic()
    settings = load_settings()
    home = dagster_home()
    from plantclef_assets.definitions import defs

    try:
        graph = build_graph(settings)
        Lineage(Lake(settings.lake, settings.cache), graph.recipes).require_same_sources()
        _require_usable_truth(settings)
    except (OtherSourcesError, SourceError, UnreachableBucketError) as error:
        raise UserError(str(error)) from error
    for line in _estimate(settings, graph):
        print(line, flush=True)
    checks: dict[str, None] = {}  # in order and once each: two steps can make the same asset
    explained = False
    with open_instance(home) as instance:
        report_ended_runs(instance)
        for step in chain(graph):
            keys = _keys_to_run(settings, step)
            if keys is None:
                continue
            if step.job.optional and not explained:
                explained = True
                print("\n".join(["", *answers(settings), "", *_optional(settings)]))
            for asset in step.skipped:
                print(f"{asset.name} is skipped: {asset.extra.advice if asset.extra else ''}.")
            result = materialize(defs, instance, step.job, keys)
            checks |= dict.fromkeys(describe_checks(result.get_asset_check_evaluations()))
            if not result.success:
                message, trace = explain_run(result.all_events)
                print_error("\n".join(["", *failed_checks([*checks]), message]))
                print_error(
                    f"{step.job.name} failed. Correct this and run the same command again; finished work is kept. "
                    + keep_traceback(trace)
                )
                return 1
    print("\n".join(["", *closing_lines(settings, [*checks]), f"Took {duration(time.monotonic() - started)}."]))
    print(f"Next: {next_step(settings, [*checks])}")
    return 0


def _estimate(settings: Settings, graph: Graph) -> list[str]:
    try:
        return estimate_lines(settings, graph)
    except Exception:  # whatever prevents an estimate is reported by the run itself, where it matters
        return []


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


def _keys_to_run(settings: Settings, step: Step) -> Sequence[str] | None:
    """Return the partitions of a step, empty where it has none; None where nothing of a reserve is taken yet."""
    if step.family is None:
        return ()
    if not step.family.reserve:
        return step.family.keys
    return keys_in_lake(Lake(settings.lake, settings.cache), "inbox_delivery", step.family.keys) or None


def materialize(defs: Definitions, instance: DagsterInstance, job: Job, keys: Sequence[str]) -> ExecuteInProcessResult:
    """Run a job over the partitions from the first to the last of some keys; of an asset without partitions, over it.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    title = f"── {job.name}{' (optional)' if job.optional else ''}"
    print(f"{title}: {' … '.join(dict.fromkeys((keys[0], keys[-1])))}" if keys else title, flush=True)
    show_under_job(instance, job.name)
    range_of_keys = {f"{_RANGE}start": keys[0], f"{_RANGE}end": keys[-1]} if keys else {}
    with lost_interrupts_raised():
        result = defs.resolve_job_def(job.name).execute_in_process(
            instance=instance,
            tags=process_tags() | range_of_keys,
            run_config=_LOGGERS,
            raise_on_error=False,
        )
    if was_interrupted(result.all_events):
        raise KeyboardInterrupt
    return result


def _optional(settings: Settings) -> list[str]:
    advice = "; PLANTCLEF_VALIDATION__PLOTS=0 leaves the composed plots out" if settings.composes_plots else ""
    return [
        "The rest is optional: it scores rules on plots whose species are known, to choose settings by.",
        f"Ctrl-C stops it without loss{advice}.",
    ]
