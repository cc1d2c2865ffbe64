"""Recipes of plots: the survey, validation plots, and what is answered and scored."""

from collections.abc import Iterable, Mapping
from typing import Any

from plantclef_assets.lake.keys import delivery_keys, shard_keys
from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.lake.store import Artifact
from plantclef_assets.models.features import split_feature_set
from plantclef_assets.recipes.identities import (
    demo_survey_of,
    file_digest,
    images_identity,
    only,
    origin_of,
    same_shard,
)
from plantclef_assets.recipes.models import tile_embeddings_of, tiled_sources
from plantclef_assets.scoring.cover_files import cover_files
from plantclef_assets.scoring.submissions import submission_files
from plantclef_assets.settings import Settings
from plantclef_assets.settings.tables import RunSettings


def plot_recipes(settings: Settings) -> Iterable[Recipe]:
    """Make the recipes of the plot side and of what is answered and scored."""
    shards = tuple(shard_keys(settings.plot_shards))
    images, runs = settings.plot_images or "", settings.active_runs
    yield Recipe(
        "plot_manifest",
        "2",
        inputs=only(*demo_survey_of(settings, images)),
        config=lambda _: {"shards": len(shards)},
        sources=lambda: {"plot_images": images_identity(settings, images)},
        origin=origin_of(settings, "plot_images"),
    )
    yield Recipe(
        "plot_images",
        "1",
        inputs=only(Artifact("plot_manifest")),
        config=lambda _: {"max_pixels": settings.max_pixels},
        partitions=shards,
    )
    yield _predictions_recipe("plot_images", shards, settings)
    yield _cover_recipe("plot_images", shards, settings)
    yield Recipe(
        "submission",
        "1",
        inputs=lambda run: (
            *_seen_in_tiles(runs[run or ""], shards),
            Artifact("plot_manifest"),
            Artifact("class_map"),
        ),
        config=lambda run: {"dialect": settings.dialect, **_run_config(runs[run or ""], settings)},
        beside=lambda lake, artifact: tuple(submission_files(lake, artifact, settings.dialect).values()),
        partitions=tuple(runs),
    )
    yield Recipe(
        "leaderboard",
        "1",
        inputs=lambda _: (
            *(Artifact("submission", run) for run in runs),
            *demo_survey_of(settings, settings.plot_truth or ""),
        ),
        config=lambda _: {"transect_patterns": list(settings.transect_patterns)},
        sources=lambda: {"plot_truth": file_digest(settings, settings.plot_truth)},
    )
    yield Recipe("run_agreement", "1", inputs=only(*(Artifact("submission", run) for run in runs)))
    if settings.sweeps:
        yield _sweep_recipe(settings)


def inbox_recipes(settings: Settings) -> Iterable[Recipe]:
    """Make the recipes of what is delivered into the inbox."""
    keys = tuple(delivery_keys(settings.inbox_shards))
    yield Recipe("inbox_delivery", "1", partitions=keys)
    yield Recipe(
        "inbox_plots",
        "1",
        inputs=same_shard("inbox_delivery"),
        config=lambda _: {"max_pixels": settings.max_pixels},
        partitions=keys,
    )
    yield _predictions_recipe("inbox_plots", keys, settings)
    yield _cover_recipe("inbox_plots", keys, settings)


def predictions_of(source: str) -> str:
    """Name the asset of the tile predictions of the plots of a source."""
    return "inbox_predictions" if source == "inbox_plots" else "tile_predictions"


def cover_of(source: str) -> str:
    """Name the asset of the cover of species of the plots of a source."""
    return "inbox_cover" if source == "inbox_plots" else "species_cover"


def _predictions_recipe(source: str, shards: tuple[str, ...], settings: Settings) -> Recipe:
    runs = settings.active_runs.values()
    pairs = sorted({(run.feature_set, run.tiling) for run in runs})
    classifiers = sorted({run.feature_set for run in runs})
    return Recipe(
        predictions_of(source),
        "1",
        inputs=lambda shard: (
            *(Artifact(tile_embeddings_of(source, backbone), shard) for backbone in settings.backbones),
            *(Artifact("classifier", name, "safetensors") for name in classifiers),
            Artifact("class_map"),
        ),
        config=lambda _: {"top_k": settings.top_k, "feature_sets_and_tilings": [list(pair) for pair in pairs]},
        partitions=shards,
    )


def _cover_recipe(source: str, shards: tuple[str, ...], settings: Settings) -> Recipe:
    return Recipe(
        cover_of(source),
        "1",
        inputs=lambda shard: (Artifact(predictions_of(source), shard), Artifact(source, shard), Artifact("class_map")),
        config=lambda _: {
            "feature_set": settings.cover_run.feature_set,
            "tiling": settings.cover_run.tiling,
            "min_score": settings.cover.min_score,
            "max_rank": settings.cover.max_rank,
        },
        beside=cover_files,
        partitions=shards,
    )


def _sweep_recipe(settings: Settings) -> Recipe:
    runs = settings.active_runs
    pairs = sorted({(run.feature_set, run.tiling) for run in runs.values()})
    backbones = sorted({split_feature_set(feature_set)[0] for feature_set, _ in pairs})
    features = [
        Artifact(tile_embeddings_of(source, backbone), shard)
        for source in swept_sources(settings)
        for backbone in backbones
        for shard in tiled_sources(settings)[source]
    ]
    composed = settings.validation.shard_keys if settings.composes_plots else ()
    return Recipe(
        "sweep",
        "1",
        inputs=only(
            *features,
            *(Artifact("validation_plots", shard) for shard in composed),
            *(Artifact("classifier", name, "safetensors") for name in sorted({name for name, _ in pairs})),
            Artifact("class_map"),
            *demo_survey_of(settings, settings.plot_truth or ""),
        ),
        config=lambda _: {
            "grid": settings.sweep.grid,
            "runs": {name: [run.feature_set, run.tiling, run.rule.label] for name, run in runs.items()},
            "transect_patterns": list(settings.transect_patterns),
            "region_patterns": list(settings.region_patterns),
        },
        sources=lambda: {"plot_truth": file_digest(settings, settings.plot_truth)},
    )


def swept_sources(settings: Settings) -> tuple[str, ...]:
    """Give the assets whose plots a sweep scores: those whose species are known."""
    composed = ("validation_plots",) if settings.composes_plots else ()
    return (*composed, "plot_images") if settings.plot_truth else composed


def _seen_in_tiles(run: RunSettings, shards: Iterable[str]) -> tuple[Artifact, ...]:
    """Give what a run's probabilities come from: the best species of each tile, or features and classifier."""
    if not run.needs_all_classes:
        return tuple(Artifact("tile_predictions", shard) for shard in shards)
    backbone, _ = split_feature_set(run.feature_set)
    features = (Artifact(f"{backbone}_tile_embeddings", shard) for shard in shards)
    return (*features, Artifact("classifier", run.feature_set, "safetensors"))


def _run_config(run: RunSettings, settings: Settings) -> Mapping[str, Any]:
    """Give what matters of a run; a list of species is known by its sha256, wherever it lies."""
    config = run.model_dump()
    if run.prior == "region":
        config["region_patterns"] = list(settings.region_patterns)
    if run.species_list is not None:
        config["species_list"] = file_digest(settings, run.species_list)
    return config


def validation_plots_recipe(settings: Settings) -> Recipe:
    """Make the recipe of the plots that are composed of held-out photographs."""
    photographs = [
        Artifact(asset, shard)
        for asset in ("raw_images", "resized_images")
        for shard in shard_keys(settings.training_shards)
    ]
    return Recipe(
        "validation_plots",
        "1",
        inputs=only(*photographs, Artifact("class_map")),
        config=lambda _: {
            **settings.validation.model_dump(mode="json"),
            "validation_share": settings.classifier.validation_share,
            "seed": settings.seed,
        },
        partitions=settings.validation.shard_keys,
    )
