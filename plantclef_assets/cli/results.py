"""The lines at the end of a run: the leaderboard, the files to look at, the checks that did not pass, the next step."""

import shlex
import shutil
import sys
from pathlib import Path

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.defs.source_files import has_reviewed_truth
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.scoring.leaderboard import REVIEWED
from plantclef_assets.scoring.sweep import CHOOSE
from plantclef_assets.settings import Settings


def closing_lines(settings: Settings, checks: list[str]) -> list[str]:
    """Return the lines of a chain that has ended well: the leaderboard, the answers and the failed checks."""
    label = [REVIEWED] if has_reviewed_truth(settings) else []
    scores = [_leaderboard(settings), *label, ""] if settings.has_plots and settings.plot_truth else []
    return [*scores, *answers(settings), *report_line(settings), *better_cover(settings), *failed_checks(checks)]


def report_line(settings: Settings) -> list[str]:
    """Return the line with the start page of the report; none where there is no report."""
    lake, report = Lake(settings.lake, settings.cache), Artifact("plot_report", suffix="html")
    return [f"Report: {lake.path(report)}"] if settings.has_plots and lake.exists(report) else []


def answers(settings: Settings) -> list[str]:
    """Return lines with the files that people look at first."""
    lake, graph = Lake(settings.lake, settings.cache), build_graph(settings)
    lines = []
    for asset, what in (
        ("species_cover", f"the species of each plot and their cover{_cover_run(settings)}, for a spreadsheet"),
        ("inbox_cover", "the same for deliveries of the inbox"),
        ("submission", "one list of species for each plot, in the format of the challenge, by run"),
    ):
        keys = graph.recipes[asset].partitions or () if asset in graph.recipes else ()
        paths = [path for key in keys if (path := lake.path(Artifact(asset, key, "csv"))).is_file()]
        if paths:
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            lines.append(f"  {paths[0]}{more}: {what}")
    return ["Results:", *lines] if lines else [f"The lake is {settings.lake}. It has no plots yet."]


def better_cover(settings: Settings) -> list[str]:
    """Return a line that names the run to use for the cover, where ground truth or validation plots select another one.

    Only feature set and tiling of a run matter to the cover. The cover follows its setting alone, so that new truth or
    plots change no files of the survey by themselves.
    """
    if not settings.has_plots:
        return []
    lake, runs = Lake(settings.lake, settings.cache), settings.active_runs
    source, scores = "ground truth", _scores(lake, "leaderboard")
    if not scores and lake.exists(Artifact("sweep")):
        source, scores = "the sweep on validation plots", _scores(lake, "sweep", [("part", "=", CHOOSE)])
    found = {name: score for name, score in scores.items() if name in runs and runs[name].cuts_plots}
    used = settings.cover_run_name
    best = max(found, key=lambda name: found[name], default=used)
    if (runs[best].feature_set, runs[best].tiling) == (settings.cover_run.feature_set, settings.cover_run.tiling):
        return []
    against = f" against {found[used]:.3f}" if used in found else ""
    return [
        f"The cover is by {used}; {source} prefers {best} (F1 {found[best]:.3f}{against}). "
        f"PLANTCLEF_COVER__RUN={best} computes the cover by it."
    ]


def _scores(lake: Lake, asset: str, filters: list[tuple[str, str, str]] | None = None) -> dict[str, float]:
    """Return the mean F1 over plots of the runs in a table that have one."""
    rows = lake.read(Artifact(asset), ["run", "f1_plot"], filters).to_pylist()
    return {row["run"]: row["f1_plot"] for row in rows if row["run"] and row["f1_plot"] is not None}


def _cover_run(settings: Settings) -> str:
    return f", by {settings.cover_run_name}" if settings.answers_plots else ""


def failed_checks(checks: list[str]) -> list[str]:
    """Return the lines of the checks that did not pass."""
    return [f"Checks that did not pass ({len(checks)}):", *(f"  {line}" for line in checks)] if checks else []


def next_step(settings: Settings, checks: list[str]) -> str:
    """Return what to do after a run: a command or a setting."""
    if any("quarantine" in line for line in checks):
        question = "select asset, reason, count(*) from quarantine group by all"
    elif not settings.answers_plots:
        return "set PLANTCLEF_PLOT_IMAGES to a folder of plot photographs, and run the same command again"
    else:
        question = "select * from " + ("leaderboard" if settings.plot_truth else "species_cover")
    return f'{_command()} lake "{question}"'


def _command() -> str:
    """Return what starts this command in the user's shell: its path if its environment is not activated."""
    return "plantclef" if shutil.which("plantclef") else shlex.quote(str(Path(sys.executable).with_name("plantclef")))


def _leaderboard(settings: Settings) -> str:
    rows = Lake(settings.lake, settings.cache).read(Artifact("leaderboard")).to_pylist()
    columns = ("run", "aggregation", "f1_plot", "f1_transect", "f1_species", "species_per_plot", "plots")
    cells = [columns, *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def _cell(value: object) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
