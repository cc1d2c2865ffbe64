"""Turn a table of scores into a submission, and score submissions: `python -m plantclef_assets.scoring submit|score`.

Neither needs a lake, settings or a model, only the named files.
"""

import argparse
import json
import math
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from plantclef_assets.images.file_names import match_plots
from plantclef_assets.ingest.locations import PACKAGE_FOLDER
from plantclef_assets.scoring.metrics import UnpairedPlotsError, pair_plots, score_submission
from plantclef_assets.scoring.score_tables import submission_from_scores
from plantclef_assets.scoring.submission_format import DIALECTS, SubmissionRow, read_species_of_plots, write_submission

_PROFILE = PACKAGE_FOLDER / "profiles" / "plantclef2025.toml"


def main(arguments: list[str] | None = None, prog: str = "python -m plantclef_assets.scoring") -> int:
    """Run one command line; return 1, after one sentence on stderr, if it fails."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="submit|score")
    _describe_submit(commands.add_parser("submit", help="a table of scores → a submission", description=_SUBMIT))
    _describe_score(commands.add_parser("score", help="a submission and a truth → its scores", description=_SCORE))
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


_SUBMIT = """Read a CSV separated by semicolons, `image_name;<species_id>;…`, with one row per plot. Every species with
a score of at least --min-score is listed, by descending score; equal scores keep the order of the columns. Plots keep
the order of the table; their names have no file extension. The output file appears only when it is complete."""


def _describe_submit(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_submit)
    parser.add_argument("--scores", type=Path, required=True, metavar="S.csv", help="the table of scores")
    parser.add_argument("--softmax", action="store_true", help="the scores are logits: apply softmax to each row first")
    parser.add_argument("--min-score", type=_number, required=True, metavar="X", help="the lowest score, inclusive")
    parser.add_argument(
        "--min-species",
        type=_count,
        default=0,
        metavar="N",
        help="list at least the best N species of each plot (default 0: a list may be empty)",
    )
    parser.add_argument(
        "--dialect", choices=DIALECTS, default="2025", help="format of the submission (default 2025, also used in 2026)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="OUT.csv", help="the submission to write")


def _submit(options: argparse.Namespace) -> None:
    if options.output.resolve() == options.scores.resolve():
        raise ValueError(f"{options.output} is the table of scores itself; choose another --output")
    rows = submission_from_scores(
        options.scores, min_score=options.min_score, min_species=options.min_species, apply_softmax=options.softmax
    )
    lengths: list[int] = []

    def counted() -> Iterator[SubmissionRow]:
        for row in rows:
            lengths.append(len(row.species_ids))
            yield row

    try:
        write_submission(options.output, counted(), options.dialect)
    except OSError as error:
        raise ValueError(f"{options.output} cannot be written: {error.strerror}") from error
    print(
        f"{options.output}: {len(lengths)} plots, {sum(lengths) / len(lengths):.3f} species per plot, "
        f"{lengths.count(0)} plots without any"
    )


_SCORE = """Print one JSON object: f1_plot (mean F1 of the plots), f1_transect (mean over transects of the mean of their
plots), f1_species (mean F1 of the species of truth or submission), f1_micro (F1 of all pairs of plot and species),
species_per_plot and plots. Both files may have either format. It is an error if only one file has a plot."""


def _describe_score(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_score)
    parser.add_argument(
        "--submission", type=Path, required=True, metavar="SUB.csv", help="the predicted species per plot"
    )
    parser.add_argument("--truth", type=Path, required=True, metavar="TRUTH.csv", help="the true species per plot")
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="a plot of the truth without a prediction counts as an empty list; one without a truth is ignored",
    )
    parser.add_argument(
        "--transect-pattern",
        action="append",
        metavar="REGEX",
        help="a regular expression whose first group is the transect of a plot; the first that matches counts, and if "
        "none does, the transect is the name without the last -… part; can be repeated (default: those of the "
        "profile plantclef2025)",
    )


def _score(options: argparse.Namespace) -> None:
    patterns = options.transect_pattern or tomllib.loads(_PROFILE.read_text("utf-8"))["transect_patterns"]
    try:
        predicted, truth = read_species_of_plots(options.submission), read_species_of_plots(options.truth)
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from error
    try:
        paired = pair_plots(match_plots(predicted, truth), truth, allow_missing=options.allow_missing)
        scores = score_submission(paired, truth, transects=patterns)
    except ValueError as error:
        advice = ". --allow-missing scores the plots with a truth" if isinstance(error, UnpairedPlotsError) else ""
        raise ValueError(f"{options.submission} cannot be scored by {options.truth}: {error}{advice}") from error
    print(json.dumps(scores.to_dict()))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)
