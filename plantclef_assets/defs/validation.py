"""Validation: labelled plots for any data set, and the sweep that finds the best rule on them.

What belongs here: assets that help to choose settings without a leaderboard, with their checks.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pyarrow as pa
from dagster import AssetExecutionContext

from plantclef_assets.defs.families import Families
from plantclef_assets.defs.jobs import RULE_SWEEP, VALIDATION_SIDE
from plantclef_assets.defs.naming import PlotSource, plot_sources, runs_by_feature_set_and_tiling
from plantclef_assets.defs.source_files import demo_survey_of, file_digest, reviewed_label, source_file
from plantclef_assets.defs.submissions import scored_runs
from plantclef_assets.ingest.fetching import Log
from plantclef_assets.ingest.validation_plots import CompositionConfig, ValidationPlots, read_truth, species_seen
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.models.feature_sets import feature_set
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem, count_is_zero
from plantclef_assets.orchestration.declaration import Asset, every, platform_asset, some
from plantclef_assets.orchestration.materialization import MakeShards, in_parallel, in_this_process
from plantclef_assets.orchestration.pictures import contact_sheet, metadata_table
from plantclef_assets.orchestration.resources import EngineResource, LakeResource
from plantclef_assets.orchestration.table_checks import labels_in_class_map
from plantclef_assets.scoring.leaderboard import read_plot_truth
from plantclef_assets.scoring.sweep import CHOOSE, REPORT, SURVEY, LabelledPlots, Sweep, best_settings
from plantclef_assets.settings import Settings

_NAMED = 5
_BEST_SETTINGS = 15
_SCORES = ("f1_plot", "f1_transect", "f1_species", "f1_micro")
_LARGEST_LOSS = 0.15
"""F1 that a chosen rule may lose on plots that did not choose it: more than the luck of the best of hundreds."""


def validation_assets(settings: Settings, families: Families) -> list[Asset]:
    """Declare the validation plots and the sweep; none without plots whose species are known."""
    plots = [_validation_plots(settings, families)] if settings.composes_plots else []
    return [*plots, _sweep(settings)] if settings.sweeps else plots


def _validation_plots(settings: Settings, families: Families) -> Asset:
    config = CompositionConfig(
        **settings.validation.model_dump(), validation_share=settings.classifier.validation_share, seed=settings.seed
    )

    @platform_asset(
        group="images",
        jobs=[VALIDATION_SIDE],
        kinds={"pillow", "parquet"},
        partitions=families.validation_plots,
        code_version="1",
        inputs=[every("raw_images"), every("resized_images"), "class_map"],
        config=config,
        describe=contact_sheet,
        checks=[
            labels_in_class_map(),
            Check(
                "truth_as_pasted",
                "The true species of a plot are those of which half of a pasted photograph is visible.",
                _truth_as_pasted,
                blocking=True,
            ),
            Check(
                "held_out_photographs",
                "No photograph on a plot, and no other one of its observation, was used for training.",
                count_is_zero(
                    "not_held_out", "{artifact}: {count} photographs are not held out ({named})", "first_not_held_out"
                ),
                blocking=True,
            ),
            Check("species_covered", "Every held-out species is on some plot.", _species_covered),
        ],
    )
    def validation_plots(context: AssetExecutionContext, lake: LakeResource, engine: EngineResource) -> MakeShards:
        """Plots composed of photographs that were not used for training, with the species that are visible.

        Some plots show the same place as another one.
        """
        return in_parallel(
            engine,
            ValidationPlots(lake.lake, shard_keys(settings.training_shards), config, settings.max_pixels),
        )

    return validation_plots


def _sweep(settings: Settings) -> Asset:
    sources, pairs = _swept_sources(settings), runs_by_feature_set_and_tiling(settings)
    backbones = sorted({feature_set(name).backbone for name, _ in pairs})
    used = {name for name, _ in pairs}

    @platform_asset(
        group="reports",
        jobs=[RULE_SWEEP],
        kinds={"parquet"},
        code_version="1",
        inputs=[
            *(every(source.tile_embeddings(backbone)) for source in sources for backbone in backbones),
            *([every("validation_plots")] if settings.composes_plots else []),
            some("classifier", lambda _: sorted(used)),
            "class_map",
            *demo_survey_of(settings.plot_truth),
        ],
        config=lambda _: {
            "grid": settings.sweep.grid,
            "runs": {name: [run.feature_set, run.tiling, run.rule.label] for name, run in settings.active_runs.items()},
            "transect_patterns": list(settings.transect_patterns),
            "region_patterns": list(settings.region_patterns),
        },
        sources=lambda: {"plot_truth": file_digest(settings, settings.plot_truth)},
        describe=partial(_best_settings, settings),
        results=[f"chosen_f1_{part}" for part in (CHOOSE, REPORT, SURVEY)],
        checks=[
            Check("scores_valid", "Every score lies in [0, 1].", _scores_valid, blocking=True),
            Check(
                "choice_holds",
                f"On plots that were not used to choose it, the chosen rule loses at most {_LARGEST_LOSS} of its F1.",
                _choice_holds,
            ),
        ],
    )
    def sweep(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The scores of every rule of a grid, for each feature set and tiling in use, on plots with known species.

        A rule is chosen on one half of the labelled plots, and measured on the other half and on the survey.
        """
        return in_this_process(
            Sweep(
                lake.lake,
                _labelled_plots(settings, lake.lake, context.log.info),
                scored_runs(settings, context.log.info),
                settings.sweep.rules,
                settings.transect_patterns,
                settings.region_patterns,
                context.log.info,
            )
        )

    return sweep


def _swept_sources(settings: Settings) -> list[PlotSource]:
    """Return the sources of plots whose species are known: composed plots first, then a survey with ground truth."""
    known = [*(["validation_plots"]), *(["plot_images"] if settings.plot_truth else [])]
    found = {source.plots: source for source in plot_sources(settings)}
    return [found[plots] for plots in known if plots in found]


def _labelled_plots(settings: Settings, lake: Lake, log: Log) -> list[LabelledPlots]:
    """Return the plots that are scored; only the first source chooses rules."""
    truth_of = {"validation_plots": partial(read_truth, lake, settings.validation.shard_keys)}
    truth = source_file(settings, settings.plot_truth, log)
    if truth is not None:
        truth_of["plot_images"] = partial(read_plot_truth, truth)
    return [
        LabelledPlots(
            embeddings=source.tiles,
            shards=source.family.keys,
            truth=truth_of[source.plots],
            divided=number == 0,
        )
        for number, source in enumerate(_swept_sources(settings))
    ]


def _best_settings(settings: Settings, lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
    best = best_settings(lake.read(artifact).to_pylist(), _BEST_SETTINGS)
    return {**reviewed_label(settings), "best_settings": metadata_table(pa.Table.from_pylist(best))}


def _truth_as_pasted(context: CheckContext) -> Iterable[Problem]:
    for artifact in context.records:
        for row in context.lake.read(artifact, ["plot_id", "species_ids", "objects"]).to_pylist():
            pasted = species_seen(row["objects"])
            if not pasted or row["species_ids"] != pasted:
                said = f"its truth is {row['species_ids']}, but {pasted} are visible"
                yield Problem(artifact, f"{artifact}: plot {row['plot_id']}: {said}")


def _species_covered(context: CheckContext) -> Iterable[Problem]:
    if len(context.records) < len(context.recipe.artifacts):
        return  # only all shards together can cover all species
    statistics = [record.statistics for record in context.records.values()]
    held_out = {species for one in statistics for species in one.get("held_out_species", [])}
    missing = sorted(held_out - {species for one in statistics for species in one.get("species", [])})
    if missing:
        named = ", ".join(map(str, missing[:_NAMED]))
        yield Problem(
            next(iter(context.records)),
            f"{len(missing)} of {len(held_out)} held-out species are on no validation plot ({named}); "
            "a greater PLANTCLEF_VALIDATION__PLOTS shows more",
        )


def _scores_valid(context: CheckContext) -> Iterable[Problem]:
    for artifact in context.records:
        table = context.lake.read(artifact, ["rule", *_SCORES])
        for name in _SCORES:
            for rule, value in zip(table.column("rule").to_pylist(), table.column(name).to_pylist(), strict=True):
                if value is not None and not 0 <= value <= 1:
                    yield Problem(artifact, f"{artifact}: {name} of {rule} is {value}")


def _choice_holds(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        chosen, reported = (record.statistics.get(f"chosen_f1_{part}") for part in (CHOOSE, REPORT))
        if chosen is not None and reported is not None and chosen - reported > _LARGEST_LOSS:
            rule = record.statistics["chosen"]["rule"]
            yield Problem(
                artifact,
                f"{artifact}: {rule} was chosen for an F1 of {chosen:.3f}, and has {reported:.3f} on other plots; "
                "choose by more plots (PLANTCLEF_VALIDATION__PLOTS), or among fewer rules",
            )
