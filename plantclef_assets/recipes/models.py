"""Recipes of backbones, of the features they make, and of what learns from these."""

from collections.abc import Iterable, Mapping
from typing import Any

from plantclef_assets.lake.keys import delivery_keys, is_checkpoint_head, shard_keys
from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.lake.store import Artifact
from plantclef_assets.models import separation as maps
from plantclef_assets.orchestration.computation import computation, precision
from plantclef_assets.recipes.identities import file_digest, only, weights_identity
from plantclef_assets.report.embedding_map import map_picture
from plantclef_assets.settings import Settings

_TILES_BEGIN = {"validation_plots": "validation_", "inbox_plots": "inbox_"}
"""How the names of tile embeddings tell whose plots they are of; those of the survey say nothing."""


def backbone_recipes(backbone: str, settings: Settings) -> Iterable[Recipe]:
    """Make the recipes of a backbone and of its features."""
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
        return {"class_mapping": file_digest(settings, settings.class_mapping)} if headed else {}

    return Recipe(
        f"{backbone}_backbone",
        "2",
        config=lambda _: {"model": model, "input_size": input_size} | with_head,
        sources=lambda: {"weights": weights_identity(settings, source)} | class_list(),
        suffix="safetensors",
    )


def _finetuning_recipe(settings: Settings) -> Recipe:
    images = (Artifact("resized_images", shard) for shard in shard_keys(settings.training_shards))
    return Recipe(
        "finetuned_backbone",
        "1",
        inputs=only(Artifact("base_backbone", suffix="safetensors"), *images),
        config=lambda _: {
            **settings.finetuning.model_dump(),
            "validation_share": settings.classifier.validation_share,
            "precision": precision(settings),
            "seed": settings.seed,
        },
        suffix="safetensors",
    )


def classifier_recipe(settings: Settings) -> Recipe:
    """Make the recipe of the classifiers, one for each feature set."""
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


def embedding_map_recipe(settings: Settings) -> Recipe:
    """Make the recipe of the map of two backbones."""
    shards = shard_keys(settings.training_shards)
    return Recipe(
        "embedding_map",
        "1",
        inputs=only(
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
