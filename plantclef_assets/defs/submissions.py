"""Submissions: one list of species for each plot, and how good the lists are.

What belongs here: assets that aggregate tile predictions to species lists, and that score and compare the results.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from dagster import AssetExecutionContext

from plantclef_assets.defs.families import Families
from plantclef_assets.defs.jobs import RESULTS
from plantclef_assets.defs.naming import plot_sources
from plantclef_assets.defs.source_files import demo_survey_of, file_digest, reviewed_label, source_file
from plantclef_assets.ingest.fetching import Log
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.models.feature_sets import feature_set
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem
from plantclef_assets.orchestration.declaration import Asset, Input, every, platform_asset, some
from plantclef_assets.orchestration.materialization import MakeShards, in_this_process
from plantclef_assets.orchestration.metadata import Describe
from plantclef_assets.orchestration.pictures import metadata_table, picture
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.report.charts import draw_agreement
from plantclef_assets.scoring.agreement import RunAgreement
from plantclef_assets.scoring.leaderboard import Leaderboard
from plantclef_assets.scoring.rules import Run
from plantclef_assets.scoring.submission_format import can_hold, read_submission, validate_submission
from plantclef_assets.scoring.submissions import Submissions, submission_files
from plantclef_assets.settings import Settings
from plantclef_assets.settings.runs import RunSettings

_USUAL_SPECIES_PER_PLOT = (1.0, 15.0)
"""Published vegetation plots hold two to ten species; far fewer or more is rarely what was meant."""
_PREVIEW_ROWS = 10
_SCORES = ("f1_plot", "f1_transect", "f1_species", "f1_micro")
_RESULTS = ["f1_plot", "f1_transect", "f1_species"]
_SHOWN_COLUMNS = ["run", *_RESULTS, "species_per_plot", "plots"]


def submission_assets(settings: Settings, families: Families) -> list[Asset]:
    """Declare the submissions, the leaderboard and the agreement of runs; none without plots."""
    if not settings.has_plots:
        return []
    runs = settings.active_runs

    def run_config(name: str | None) -> Mapping[str, Any]:
        """Return what matters of a run; a list of species is identified by its sha256, wherever it lies."""
        run = runs[name or ""]
        config = {"dialect": settings.dialect, **run.model_dump()}
        if run.prior == "region":
            config["region_patterns"] = list(settings.region_patterns)
        if run.species_list is not None:
            config["species_list"] = file_digest(settings, run.species_list)
        return config

    @platform_asset(
        group="predictions",
        jobs=[RESULTS],
        kinds={"csv", "parquet"},
        partitions=families.runs,
        code_version="1",
        inputs=[*_seen_in_tiles(settings), "plot_manifest", "class_map"],
        config=run_config,
        sidecars=lambda lake, artifact: tuple(submission_files(lake, artifact, settings.dialect).values()),
        describe=_preview,
        results=["species_per_plot", "distinct_species", "empty"],
        checks=[
            Check(
                "valid_submission",
                "In both formats, every plot occurs once, species are known, and no species occurs twice in a plot.",
                partial(_valid_submission, settings.dialect),
                blocking=True,
            ),
            Check("every_plot_written", "Both formats can represent the name of every plot.", _every_plot_written),
            Check("species_per_plot", "A plot has 1 to 15 species on average.", _species_per_plot),
            Check(
                "prior_has_effect",
                "A prior or a list of species changes a plot, and keeps some predicted species.",
                _prior_has_effect,
            ),
        ],
    )
    def submission(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The species lists of all plots by one run, in both formats of the challenge."""
        shards = shard_keys(settings.plot_shards)
        return in_this_process(
            Submissions(
                lake.lake, scored_runs(settings, context.log.info), shards, settings.dialect, settings.region_patterns
            )
        )

    @platform_asset(
        group="reports",
        jobs=[RESULTS],
        kinds={"parquet"},
        code_version="1",
        inputs=[every("submission"), *demo_survey_of(settings.plot_truth)],
        config={"transect_patterns": list(settings.transect_patterns)},
        sources=lambda: {"plot_truth": file_digest(settings, settings.plot_truth)},
        advice=["plot_truth"],
        describe=partial(_leaderboard_table, settings),
        for_people=True,
        checks=[Check("scores_valid", "Every score lies in [0, 1].", _scores_valid, blocking=True)],
    )
    def leaderboard(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The scores of every run over the plots with ground truth."""
        truth = source_file(settings, settings.plot_truth, context.log.info)
        return in_this_process(
            Leaderboard(lake.lake, scored_runs(settings, context.log.info), truth, settings.transect_patterns)
        )

    @platform_asset(
        group="reports",
        jobs=[RESULTS],
        kinds={"parquet"},
        code_version="1",
        inputs=[every("submission")],
        describe=_agreement(list(runs)),
        checks=[Check("agreement_valid", "Every Jaccard index lies in [0, 1].", _agreement_valid, blocking=True)],
    )
    def run_agreement(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The agreement of each pair of runs: the mean Jaccard index of their species lists, and the lists' lengths."""
        return in_this_process(RunAgreement(lake.lake, list(runs)))

    return [submission, leaderboard, run_agreement]


def scored_runs(settings: Settings, log: Log) -> dict[str, Run]:
    """Return the runs of the settings as the scoring takes them, with their lists of species as local files."""
    return {
        name: Run(run.feature_set, run.tiling, run.rule, source_file(settings, run.species_list, log))
        for name, run in settings.active_runs.items()
    }


def _seen_in_tiles(settings: Settings) -> list[Input]:
    """Return what runs read: tile predictions, or features and the classifier of those that need all classes."""
    runs, shards = settings.active_runs, shard_keys(settings.plot_shards)
    (survey,) = (source for source in plot_sources(settings) if source.plots == "plot_images")
    whole = [run for run in runs.values() if run.needs_all_classes]

    def reads(run: RunSettings, backbone: str) -> bool:
        return run.needs_all_classes and feature_set(run.feature_set).backbone == backbone

    inputs = []
    if len(whole) < len(runs):
        inputs.append(some(survey.predictions or "", lambda name: [] if runs[name or ""].needs_all_classes else shards))
    for backbone in dict.fromkeys(feature_set(run.feature_set).backbone for run in whole):
        inputs.append(
            some(
                survey.tile_embeddings(backbone),
                lambda name, backbone=backbone: shards if reads(runs[name or ""], backbone) else [],
            )
        )
    if whole:
        inputs.append(
            some(
                "classifier",
                lambda name: [runs[name or ""].feature_set] if runs[name or ""].needs_all_classes else [],
            )
        )
    return inputs


def _preview(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
    rows = lake.read(artifact, ["plot_id", "species_ids"]).slice(0, _PREVIEW_ROWS).to_pylist()
    lists = [", ".join(map(str, row["species_ids"])) or None for row in rows]
    preview = {"plot_id": [row["plot_id"] for row in rows], "species_ids": pa.array(lists, pa.string())}
    return {"preview": metadata_table(pa.table(preview))}


def _leaderboard_table(settings: Settings, lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
    """Return the scores of the best run, which is the first row, and those of all runs."""
    table = lake.read(artifact)
    best = table.slice(0, 1).to_pylist()[0]
    scores = {name: best[name] for name in _RESULTS if best[name] is not None}
    return {**scores, **reviewed_label(settings), "leaderboard": metadata_table(table.select(_SHOWN_COLUMNS))}


def _agreement(runs: Sequence[str]) -> Describe:
    def describe(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
        rows = lake.read(artifact, ["run_a", "run_b", "jaccard"]).to_pylist()
        alike = {frozenset((row["run_a"], row["run_b"])): row["jaccard"] for row in rows}
        drawn = draw_agreement(runs, [[alike.get(frozenset((one, other)), 1.0) for other in runs] for one in runs])
        return {"agreement": picture(drawn, "agreement of runs", "png")}

    return describe


def _valid_submission(dialect: str, context: CheckContext) -> Iterable[Problem]:
    plots = _values(context, Artifact("plot_manifest"), "plot_id")
    species = _values(context, Artifact("class_map"), "species_id")
    for artifact in context.records:
        for written, path in submission_files(context.lake, artifact, dialect).items():
            held = [plot for plot in plots if can_hold(written, plot)]
            try:
                problems = validate_submission(read_submission(context.lake.local(path)), held, species)
            except (OSError, ValueError) as error:
                problems = [str(error)]
            for problem in problems:
                yield Problem(artifact, f"{path.name}: {problem}")


def _values(context: CheckContext, artifact: Artifact, column: str) -> Sequence:
    return context.lake.read(artifact, [column]).column(column).to_pylist()


def _every_plot_written(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        for dialect, plots in record.statistics.get("left_out", {}).items():
            if plots:
                named = ", ".join(map(repr, plots[:5]))
                yield Problem(
                    artifact,
                    f"{artifact}: the file of dialect {dialect} lacks {len(plots)} plots, whose names it cannot hold "
                    f"({named}); rename their photographs, or use the other dialect",
                )


def _species_per_plot(context: CheckContext) -> Iterable[Problem]:
    least, most = _USUAL_SPECIES_PER_PLOT
    for artifact, record in context.records.items():
        mean = record.statistics.get("species_per_plot", 0.0)
        if not least <= mean <= most:
            yield Problem(artifact, f"{artifact}: {mean:.2f} species per plot on average")


def _prior_has_effect(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        changed, kept = record.statistics.get("plots_changed"), record.statistics.get("pairs_kept")
        if changed == 0:
            yield Problem(artifact, f"{artifact}: its prior or list of species changes no plot")
        elif kept == 0:
            yield Problem(artifact, f"{artifact}: its prior or list of species keeps no predicted species")


def _agreement_valid(context: CheckContext) -> Iterable[Problem]:
    for artifact in context.records:
        for row in context.lake.read(artifact).to_pylist():
            if not 0 <= row["jaccard"] <= 1:
                yield Problem(artifact, f"{artifact}: that of {row['run_a']} and {row['run_b']} is {row['jaccard']}")


def _scores_valid(context: CheckContext) -> Iterable[Problem]:
    for artifact in context.records:
        for row in context.lake.read(artifact).to_pylist():
            for name in _SCORES:
                if row[name] is not None and not 0 <= row[name] <= 1:
                    yield Problem(artifact, f"{artifact}: {name} of {row['run']} is {row[name]}")
