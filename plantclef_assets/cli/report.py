"""Update the report and print where it is: `plantclef report`.

Executes the job `report` on the existing artifacts; nothing else is made. Open the printed file in a browser.
"""

import argparse

from plantclef_assets.cli.ending import run_command
from plantclef_assets.cli.instance import dagster_home, open_instance
from plantclef_assets.cli.results import report_line
from plantclef_assets.cli.run import materialize
from plantclef_assets.defs.jobs import REPORT
from plantclef_assets.errors import UserError, keep_traceback, print_error
from plantclef_assets.orchestration.messages import describe_checks, explain_run
from plantclef_assets.settings import load_settings


def main(arguments: list[str] | None = None, prog: str = "python -m plantclef_assets.cli.report") -> int:
    """Build the report and return the exit status: 1 after a failure, 130 after Ctrl-C."""
    return run_command(lambda: _run(arguments, prog))


def _run(arguments: list[str] | None, prog: str) -> int:
    argparse.ArgumentParser(prog=prog, description=__doc__).parse_args(arguments)
    settings = load_settings()
    if not settings.has_plots:
        raise UserError("The report shows plots, and there are none. Set PLANTCLEF_PLOT_IMAGES to their folder.")
    home = dagster_home()
    from plantclef_assets.definitions import defs

    with open_instance(home) as instance:
        result = materialize(defs, instance, REPORT, ())
    for line in describe_checks(result.get_asset_check_evaluations()):
        print(line)
    if not result.success:
        message, trace = explain_run(result.all_events)
        print_error(
            f"{message}\nThe report was not written. `plantclef run` computes what it needs. {keep_traceback(trace)}"
        )
        return 1
    print("\n".join(report_line(settings)))
    return 0
