"""The report: a static site with a page for each plot.

What belongs here: what the report covers, and what it is made from. The pages are in `report/site/`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dagster import AssetExecutionContext, MetadataValue

from plantclef_assets.defs.jobs import REPORT
from plantclef_assets.defs.naming import PlotSource, backbones, plot_sources
from plantclef_assets.defs.source_files import demo_survey_of, file_digest, has_reviewed_truth, source_file
from plantclef_assets.engines.progress import Progress
from plantclef_assets.ingest.deliveries import keys_in_lake
from plantclef_assets.ingest.fetching import Log
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.sites import site_digest
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.lake.tables import Shard
from plantclef_assets.orchestration.check_runner import failing_checks
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem
from plantclef_assets.orchestration.declaration import Asset, Graph, Input, every, platform_asset, some
from plantclef_assets.orchestration.materialization import MakeShards, in_this_process
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.report.site.scope import FailedCheck, PlotShards, Run, Scope
from plantclef_assets.settings import Settings


def plot_report_assets(settings: Settings, graph: Callable[[], Graph]) -> list[Asset]:
    """Declare the report; none without plots. `graph` returns all assets.

    The report evaluates the checks of the assets that it is made from. Others, such as the sweep, may come after it.
    """
    if not settings.has_plots:
        return []

    @platform_asset(
        group="reports",
        jobs=[REPORT],
        kinds={"html"},
        suffix="html",
        code_version="1",
        inputs=_inputs(settings),
        config=lambda _: {
            "runs": {name: [run.feature_set, run.tiling, run.rule.label] for name, run in settings.active_runs.items()},
            "cover_run": settings.cover_run_name,
            "region_patterns": list(settings.region_patterns),
            "title": settings.report_title,
            "rank_precision": settings.rank_precision,
        },
        sources=lambda: _truth(settings),
        describe=_link,
        checks=[Check("pages_complete", "All pages exist and are unchanged.", _pages_complete)],
    )
    def plot_report(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """A static site with a page for each plot, its tiles and its species, and with pages of species, runs,
        classifiers and quarantine. Open plot_report/index.html.
        """
        from plantclef_assets.report.site.build import PlotReport

        def failed() -> list[FailedCheck]:
            found = graph()
            ancestors = found.ancestors("plot_report")
            assets = [name for name in found.assets if name in ancestors]
            return [FailedCheck(*one) for one in failing_checks(found, lake.lake, assets)]

        scope, set_aside = _scope(settings, context.log.info), _set_aside(settings)

        def make(shard: Shard) -> None:
            plots = sum(record.rows or 0 for record in _records_of_plots(lake.lake, scope))
            with Progress("report", plots, "plots", context.log.info) as progress:
                PlotReport(lake.lake, scope, set_aside, failed, progress.advance)(shard)

        return in_this_process(make)

    return [plot_report]


def _inputs(settings: Settings) -> list[str | Input]:
    classifiers = list(settings.feature_sets)
    inputs: list[str | Input] = [every("submission"), "leaderboard", "run_agreement", "class_map"]
    for source in _sources(settings):
        for asset in filter(None, (source.plots, source.predictions, source.cover, source.novelty)):
            inputs.append(some(asset, partial(_keys, settings, source)) if source.family.reserve else every(asset))
    inputs.append(some("classifier", lambda _: classifiers))
    if settings.has_training:
        inputs += [some("val_predictions", lambda _: classifiers), every("resized_images")]
    return [*inputs, *demo_survey_of(settings.plot_truth)]


def _truth(settings: Settings) -> dict[str, Any]:
    label = {"reviewed": True} if has_reviewed_truth(settings) else {}
    return {"plot_truth": file_digest(settings, settings.plot_truth), **label}


def _sources(settings: Settings) -> list[PlotSource]:
    return [source for source in plot_sources(settings) if source.predictions and source.cover]


def _keys(settings: Settings, source: PlotSource, key: str | None = None) -> Sequence[str]:
    """Return the shards of a source that are in the report; of a reserve, those that are finished."""
    if not source.family.reserve:
        return source.family.keys
    return keys_in_lake(Lake(settings.lake, settings.cache), source.cover or "", source.family.keys)


def _scope(settings: Settings, log: Log) -> Scope:
    return Scope(
        title=settings.report_title,
        runs=tuple(
            Run(name, run.feature_set, run.tiling, run.rule.label) for name, run in settings.active_runs.items()
        ),
        cover_run=settings.cover_run_name,
        sources=tuple(
            PlotShards(
                "inbox" if source.family.reserve else "survey",
                source.plots,
                source.predictions or "",
                source.cover or "",
                tuple(_keys(settings, source)),
                has_lists=not source.family.reserve,
                novelty=source.novelty,
            )
            for source in _sources(settings)
        ),
        training_shards=shard_keys(settings.training_shards) if settings.has_training else (),
        feature_sets=settings.feature_sets,
        region_patterns=settings.region_patterns,
        max_pixels=settings.max_pixels,
        truth=source_file(settings, settings.plot_truth, log),
        reviewed=has_reviewed_truth(settings),
        rank_precision=settings.rank_precision,
        facts=_facts(settings),
    )


def _records_of_plots(lake: Lake, scope: Scope) -> Iterator[Record]:
    for source in scope.sources:
        for key in source.keys:
            record = lake.record(Artifact(source.plots, key))
            if record is not None:
                yield record


def _facts(settings: Settings) -> list[tuple[str, Any]]:
    """Return what was run, in words."""
    facts: list[tuple[str, Any]] = [("Profile", settings.profile)]
    for backbone in backbones(settings):
        made = "fine-tuned here" if backbone.trained else "as published"
        side = f", {backbone.input_size} px" if backbone.input_size else ""
        facts.append((f"Backbone {backbone.name}", f"{backbone.model}{side}, {made}"))
    facts.append(("Classifiers", ", ".join(settings.feature_sets)))
    facts.append(("Tilings", ", ".join(dict.fromkeys(run.tiling for run in settings.active_runs.values()))))
    return facts


def _set_aside(settings: Settings) -> list[Artifact]:
    """Return the artifacts whose quarantine the report shows."""
    training = shard_keys(settings.training_shards) if settings.has_training else []
    found = [Artifact(name) for name in ("training_metadata", "training_manifest", "plot_manifest")]
    found += [Artifact(name, key) for name in ("raw_images", "resized_images") for key in training]
    for source in _sources(settings):
        assets = [source.plots, *(source.tile_embeddings(backbone.name) for backbone in backbones(settings))]
        found += [Artifact(name, key) for name in assets for key in _keys(settings, source)]
    return found


def _link(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
    page = lake.path(artifact)
    return {"report": MetadataValue.path(str(page)) if isinstance(page, Path) else MetadataValue.url(str(page))}


def _pages_complete(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        if site_digest(context.lake, artifact, record.fingerprint) != record.fingerprint:
            yield Problem(
                artifact, f"{artifact}: its pages are not those that were written; delete its folder and make it again"
            )
