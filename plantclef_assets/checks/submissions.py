"""Checks of the submissions, the leaderboard and the agreement of runs."""

from collections.abc import Iterable, Sequence

from plantclef_assets.lake.store import Artifact
from plantclef_assets.orchestration.checks import Check, Evidence, Finding
from plantclef_assets.orchestration.table_checks import table_checks
from plantclef_assets.scoring.artifacts import submission_files
from plantclef_assets.scoring.submissions import can_hold, read_submission, validate_submission
from plantclef_assets.settings import Settings

_USUAL_SPECIES_PER_PLOT = (1.0, 15.0)
"""Published vegetation plots hold some two to ten species; far fewer or more is rarely what was meant."""


def checks(settings: Settings) -> dict[str, list[Check]]:
    """Give the checks by asset."""

    def valid(evidence: Evidence) -> Iterable[Finding]:
        plots = _values(evidence, Artifact("plot_manifest"), "plot_id")
        species = _values(evidence, Artifact("class_map"), "species_id")
        for artifact in evidence.records:
            for dialect, path in submission_files(evidence.lake, artifact, settings.dialect).items():
                held = [plot for plot in plots if can_hold(dialect, plot)]
                try:
                    problems = validate_submission(read_submission(evidence.lake.local(path)), held, species)
                except (OSError, ValueError) as error:
                    problems = [str(error)]
                for problem in problems:
                    yield Finding(artifact, f"{path.name}: {problem}")

    return {
        "submission": [
            *table_checks("submission"),
            Check(
                "valid_submission",
                "In both dialects: every plot once, known species, no species twice in a plot.",
                valid,
                blocking=True,
            ),
            Check("every_plot_written", "Each dialect can hold the name of every plot.", _every_plot_written),
            Check("species_per_plot", "A plot has 1 to 15 species in the mean.", _species_per_plot),
            Check(
                "prior_has_effect",
                "A prior or a list of species changes some answers, and leaves some.",
                _prior_has_effect,
            ),
        ],
        "leaderboard": [
            *table_checks("leaderboard"),
            Check("scores_valid", "Every score lies in [0, 1].", _scores_valid, blocking=True),
        ],
        "run_agreement": [
            *table_checks("run_agreement"),
            Check("agreement_valid", "Every Jaccard index lies in [0, 1].", _agreement_valid, blocking=True),
        ],
    }


def _values(evidence: Evidence, artifact: Artifact, column: str) -> Sequence:
    return evidence.lake.read(artifact, [column]).column(column).to_pylist()


def _every_plot_written(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        for dialect, plots in record.statistics.get("left_out", {}).items():
            if plots:
                named = ", ".join(map(repr, plots[:5]))
                yield Finding(
                    artifact,
                    f"{artifact}: the file of dialect {dialect} lacks {len(plots)} plots, whose names it cannot hold "
                    f"({named}); rename their photographs, or use the other dialect",
                )


def _species_per_plot(evidence: Evidence) -> Iterable[Finding]:
    least, most = _USUAL_SPECIES_PER_PLOT
    for artifact, record in evidence.records.items():
        mean = record.statistics.get("species_per_plot", 0.0)
        if not least <= mean <= most:
            yield Finding(artifact, f"{artifact}: {mean:.2f} species a plot in the mean")


def _prior_has_effect(evidence: Evidence) -> Iterable[Finding]:
    for artifact, record in evidence.records.items():
        changed, kept = record.statistics.get("plots_changed"), record.statistics.get("pairs_kept")
        if changed == 0:
            yield Finding(artifact, f"{artifact}: its prior or list of species changes the answer of no plot")
        elif kept == 0:
            yield Finding(artifact, f"{artifact}: its prior or list of species leaves nothing of what was answered")


def _agreement_valid(evidence: Evidence) -> Iterable[Finding]:
    for artifact in evidence.records:
        for row in evidence.lake.read(artifact).to_pylist():
            if not 0 <= row["jaccard"] <= 1:
                yield Finding(artifact, f"{artifact}: that of {row['run_a']} and {row['run_b']} is {row['jaccard']}")


def _scores_valid(evidence: Evidence) -> Iterable[Finding]:
    for artifact in evidence.records:
        for row in evidence.lake.read(artifact).to_pylist():
            for name in ("f1_plot", "f1_transect", "f1_species", "f1_micro"):
                if row[name] is not None and not 0 <= row[name] <= 1:
                    yield Finding(artifact, f"{artifact}: {name} of {row['run']} is {row[name]}")
