"""The recipes: what every artifact of the platform is a function of, in one table.

What belongs here: for each asset its code version (bump it by hand when the same inputs give other bytes), the settings
that matter, and the artifacts that go in. What does not: how anything is computed.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from plantclef_assets.computation import computation, precision
from plantclef_assets.ingest.fetching import file_identity
from plantclef_assets.ingest.sources import open_source
from plantclef_assets.lake.keys import delivery_keys, is_checkpoint_head, shard_keys
from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.lake.store import Artifact
from plantclef_assets.learning import maps
from plantclef_assets.learning.features import split_feature_set
from plantclef_assets.locations import HUB, is_demo, is_download
from plantclef_assets.profile_tables import RunSettings
from plantclef_assets.report.artifacts import map_picture
from plantclef_assets.scoring.artifacts import submission_files
from plantclef_assets.scoring.cover_files import cover_files
from plantclef_assets.settings import Settings

_TILES_BEGIN = {"validation_plots": "validation_", "inbox_plots": "inbox_"}
"""How the names of tile embeddings tell whose plots they are of; those of the survey say nothing."""

Inputs = Callable[[str | None], tuple[Artifact, ...]]


def build_recipes(settings: Settings) -> dict[str, Recipe]:
    """Make the recipes of all assets that the settings give."""
    recipes = [*_training_recipes(settings)] if settings.has_training else [_class_map_of_checkpoint()]
    for backbone in settings.backbones:
        recipes += _backbone_recipes(backbone, settings)
    recipes.append(_classifier_recipe(settings))
    if settings.compares_backbones:
        recipes.append(_embedding_map_recipe(settings))
    if settings.has_plots:
        recipes += _plot_recipes(settings)
    if settings.has_inbox:
        recipes += _inbox_recipes(settings)
    if settings.composes_plots:
        recipes.append(_validation_plots_recipe(settings))
    if settings.uses_demo_survey:
        recipes.append(Recipe("demo_survey", "1", beside=lambda lake, _: (lake.folder / "demo_survey",)))
    return {recipe.asset: recipe for recipe in recipes}


def _class_map_of_checkpoint() -> Recipe:
    return Recipe("class_map", "1", inputs=_only(Artifact("finetuned_backbone", suffix="safetensors")))


def _training_recipes(settings: Settings) -> Iterable[Recipe]:
    shards = tuple(shard_keys(settings.training_shards))
    metadata, images = settings.training_metadata or "", settings.training_images or ""
    licenses = {"licenses": sorted(settings.licenses)} if settings.licenses else {}
    yield Recipe(
        "training_metadata",
        "1",
        inputs=_only(*_demo(settings, metadata)),
        sources=lambda: {"training_metadata": _file_digest(settings, metadata)},
    )
    yield Recipe(
        "class_map",
        "1",
        inputs=_only(Artifact("training_metadata")),
        sources=lambda: {
            "class_mapping": _file_digest(settings, settings.class_mapping),
            "species_names": _file_digest(settings, settings.species_names),
        },
    )
    yield Recipe(
        "training_manifest",
        "2",
        inputs=_only(Artifact("training_metadata"), Artifact("class_map"), *_demo(settings, images)),
        config=lambda _: {"shards": len(shards)} | licenses,
        sources=lambda: {"training_images": _images_identity(settings, images)},
    )
    yield Recipe(
        "raw_images",
        "2",
        inputs=_only(Artifact("training_manifest")),
        config=lambda _: {"max_pixels": settings.max_pixels},
        partitions=shards,
    )
    yield Recipe(
        "resized_images",
        "2",
        inputs=_same_shard("raw_images"),
        config=lambda _: {"image_size": settings.image_size, "max_pixels": settings.max_pixels},
        partitions=shards,
    )


def _backbone_recipes(backbone: str, settings: Settings) -> Iterable[Recipe]:
    weights = Artifact(f"{backbone}_backbone", suffix="safetensors")
    trained = backbone == "finetuned" and settings.trains_backbone
    yield _finetuning_recipe(settings) if trained else _weights_recipe(backbone, settings)
    version = {"base": "1", "finetuned": "2"}[backbone]
    if settings.has_training:
        yield Recipe(
            f"{backbone}_embeddings",
            version,
            inputs=lambda shard: (Artifact("resized_images", shard), weights),
            config=lambda _: {**computation(settings)},
            partitions=tuple(shard_keys(settings.training_shards)),
        )
    for source, shards in tiled_sources(settings).items():
        yield Recipe(
            tile_embeddings_of(source, backbone),
            version,
            inputs=lambda shard, source=source: (Artifact(source, shard), weights),
            config=lambda _: {
                **computation(settings),
                "tilings": list(tilings_of(backbone, settings)),
                "tile_size": tile_size(backbone, settings),
                "max_pixels": settings.max_pixels,
            },
            partitions=shards,
        )


def _weights_recipe(backbone: str, settings: Settings) -> Recipe:
    model, source, input_size = backbone_settings(backbone, settings)
    headed = brings_head(backbone, settings)
    with_head = {"with_head": True} if headed else {}

    def class_list() -> dict[str, str | None]:
        return {"class_mapping": _file_digest(settings, settings.class_mapping)} if headed else {}

    return Recipe(
        f"{backbone}_backbone",
        "2",
        config=lambda _: {"model": model, "input_size": input_size} | with_head,
        sources=lambda: {"weights": _weights_identity(settings, source)} | class_list(),
        suffix="safetensors",
    )


def _finetuning_recipe(settings: Settings) -> Recipe:
    images = (Artifact("resized_images", shard) for shard in shard_keys(settings.training_shards))
    return Recipe(
        "finetuned_backbone",
        "1",
        inputs=_only(Artifact("base_backbone", suffix="safetensors"), *images),
        config=lambda _: {
            **settings.finetuning.model_dump(),
            "validation_share": settings.classifier.validation_share,
            "precision": precision(settings),
            "seed": settings.seed,
        },
        suffix="safetensors",
    )


def _classifier_recipe(settings: Settings) -> Recipe:
    shards = shard_keys(settings.training_shards) if settings.has_training else []

    def inputs(name: str | None) -> tuple[Artifact, ...]:
        backbone = (name or "").partition("_")[0]
        embeddings = tuple(Artifact(f"{backbone}_embeddings", shard) for shard in shards)
        weights = (Artifact(f"{backbone}_backbone", suffix="safetensors"),) if is_checkpoint_head(name) else ()
        return (*embeddings, *weights, Artifact("class_map"))

    def config(name: str | None) -> Mapping[str, Any]:
        if is_checkpoint_head(name):
            return {}
        training = settings.trained_by(name or "").training_config(settings.seed)
        shares = {"validation_share": settings.classifier.validation_share}
        if training.stop_on == "holdout":
            shares["holdout_share"] = settings.finetuning.holdout_share
        return {**training.changes(), **shares, "seed": settings.seed}

    return Recipe("classifier", "2", inputs, config, partitions=settings.feature_sets, suffix="safetensors")


def _embedding_map_recipe(settings: Settings) -> Recipe:
    shards = shard_keys(settings.training_shards)
    return Recipe(
        "embedding_map",
        "1",
        inputs=_only(
            *(Artifact(f"{backbone}_embeddings", shard) for backbone in settings.backbones for shard in shards),
            Artifact("class_map"),
        ),
        config=lambda _: {
            "species": maps.SPECIES,
            "photographs_per_species": maps.PHOTOGRAPHS_PER_SPECIES,
            "validation_share": settings.classifier.validation_share,
            "seed": settings.seed,
        },
        beside=lambda lake, artifact: (map_picture(lake, artifact),),
    )


def _plot_recipes(settings: Settings) -> Iterable[Recipe]:
    shards = tuple(shard_keys(settings.plot_shards))
    images, runs = settings.plot_images or "", settings.active_runs
    yield Recipe(
        "plot_manifest",
        "2",
        inputs=_only(*_demo(settings, images)),
        config=lambda _: {"shards": len(shards)},
        sources=lambda: {"plot_images": _images_identity(settings, images)},
    )
    yield Recipe(
        "plot_images",
        "1",
        inputs=_only(Artifact("plot_manifest")),
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
        inputs=lambda _: (*(Artifact("submission", run) for run in runs), *_demo(settings, settings.plot_truth or "")),
        config=lambda _: {"transect_patterns": list(settings.transect_patterns)},
        sources=lambda: {"plot_truth": _file_digest(settings, settings.plot_truth)},
    )
    yield Recipe("run_agreement", "1", inputs=_only(*(Artifact("submission", run) for run in runs)))
    if settings.sweeps:
        yield _sweep_recipe(settings)


def _inbox_recipes(settings: Settings) -> Iterable[Recipe]:
    keys = tuple(delivery_keys(settings.inbox_shards))
    yield Recipe("inbox_delivery", "1", partitions=keys)
    yield Recipe(
        "inbox_plots",
        "1",
        inputs=_same_shard("inbox_delivery"),
        config=lambda _: {"max_pixels": settings.max_pixels},
        partitions=keys,
    )
    yield _predictions_recipe("inbox_plots", keys, settings)
    yield _cover_recipe("inbox_plots", keys, settings)


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
        inputs=_only(
            *features,
            *(Artifact("validation_plots", shard) for shard in composed),
            *(Artifact("classifier", name, "safetensors") for name in sorted({name for name, _ in pairs})),
            Artifact("class_map"),
            *_demo(settings, settings.plot_truth or ""),
        ),
        config=lambda _: {
            "grid": settings.sweep.grid,
            "runs": {name: [run.feature_set, run.tiling, run.rule.label] for name, run in runs.items()},
            "transect_patterns": list(settings.transect_patterns),
            "region_patterns": list(settings.region_patterns),
        },
        sources=lambda: {"plot_truth": _file_digest(settings, settings.plot_truth)},
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
        config["species_list"] = _file_digest(settings, run.species_list)
    return config


def _validation_plots_recipe(settings: Settings) -> Recipe:
    photographs = [
        Artifact(asset, shard)
        for asset in ("raw_images", "resized_images")
        for shard in shard_keys(settings.training_shards)
    ]
    return Recipe(
        "validation_plots",
        "1",
        inputs=_only(*photographs, Artifact("class_map")),
        config=lambda _: {
            **settings.validation.model_dump(mode="json"),
            "validation_share": settings.classifier.validation_share,
            "seed": settings.seed,
        },
        partitions=settings.validation.shard_keys,
    )


def tiled_sources(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Give the assets whose plots are cut into tiles and embedded, each with the keys of its shards."""
    composed = {"validation_plots": settings.validation.shard_keys} if settings.composes_plots else {}
    return answered_sources(settings) | composed


def answered_sources(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Give the assets whose plots are told in species and cover, each with the keys of its shards."""
    plots = {"plot_images": tuple(shard_keys(settings.plot_shards))} if settings.has_plots else {}
    return plots | ({"inbox_plots": tuple(delivery_keys(settings.inbox_shards))} if settings.has_inbox else {})


def tile_embeddings_of(source: str, backbone: str) -> str:
    """Name the asset of a backbone's tile embeddings of the plots of a source."""
    return f"{backbone}_{_TILES_BEGIN.get(source, '')}tile_embeddings"


def predictions_of(source: str) -> str:
    """Name the asset of the tile predictions of the plots of a source."""
    return "inbox_predictions" if source == "inbox_plots" else "tile_predictions"


def cover_of(source: str) -> str:
    """Name the asset of the cover of species of the plots of a source."""
    return "inbox_cover" if source == "inbox_plots" else "species_cover"


def backbone_settings(backbone: str, settings: Settings) -> tuple[str, str, int | None]:
    """Give timm name, weights and input size of a backbone, base or finetuned; what is trained here begins as base."""
    if backbone == "base" or settings.trains_backbone:
        return settings.base_model, settings.base_weights, settings.base_input_size
    return settings.finetuned_model or "", settings.finetuned_weights or "", settings.finetuned_input_size


def brings_head(backbone: str, settings: Settings) -> bool:
    """Whether a backbone's checkpoint brings its own classifier; only the fine-tuned one's is used."""
    return backbone == "finetuned" and settings.has_head


def tile_size(backbone: str, settings: Settings) -> int:
    """Give the side that tiles are brought to, px: that of the training crops, so that they are as sharp as those.

    Where the classifier of a checkpoint made elsewhere answers, it has learned from pictures of the full input size.
    """
    _, _, input_size = backbone_settings(backbone, settings)
    elsewhere = brings_head(backbone, settings) and not settings.trains_backbone
    return max(settings.image_size, input_size or 0) if elsewhere else settings.image_size


def tilings_of(backbone: str, settings: Settings) -> tuple[str, ...]:
    """Give the tilings that some run asks of a backbone's feature sets, in the order of their declaration."""
    runs = settings.active_runs.values()
    return tuple(dict.fromkeys(run.tiling for run in runs if run.feature_set.startswith(f"{backbone}_")))


def _only(*artifacts: Artifact) -> Inputs:
    return lambda partition: artifacts


def _same_shard(asset: str) -> Inputs:
    return lambda partition: (Artifact(asset, partition),)


def _demo(settings: Settings, source: str) -> tuple[Artifact, ...]:
    return (Artifact("demo_survey"),) if is_demo(source) else ()


def _weights_identity(settings: Settings, source: str) -> str | None:
    """Give what weights are known by: those of timm's hub by their name."""
    return source if source == HUB else _file_digest(settings, source)


def _file_digest(settings: Settings, location: str | None) -> str | None:
    """Give what a source file is known by; None where the setting is not used."""
    return None if location is None else file_identity(settings.resolve(location))


def _images_identity(settings: Settings, location: str) -> str:
    """Give the digest of what lies at a source of photographs; what is downloaded is known by its address."""
    if is_download(location):
        return location
    return open_source(settings.resolve(location), Path(settings.cache)).digest()
