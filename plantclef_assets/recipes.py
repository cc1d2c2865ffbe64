"""The recipes: what every artifact of the platform is a function of, in one table.

What belongs here: for each asset its code version (bump it by hand when the same inputs give other bytes), the settings
that matter, and the artifacts that go in. What does not: how anything is computed.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from plantclef_assets.ingest.manifests import listing_digest
from plantclef_assets.lake.keys import is_checkpoint_head, shard_keys
from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.lake.store import Artifact
from plantclef_assets.locations import HUB, is_demo, is_download
from plantclef_assets.scoring.artifacts import submission_files
from plantclef_assets.settings import Settings, SettingsError

Inputs = Callable[[str | None], tuple[Artifact, ...]]


def build_recipes(settings: Settings) -> dict[str, Recipe]:
    """Make the recipes of all assets that the settings give."""
    recipes = [*_training_recipes(settings)] if settings.has_training else [_class_map_of_checkpoint()]
    for backbone in settings.backbones:
        recipes += _backbone_recipes(backbone, settings)
    recipes.append(_classifier_recipe(settings))
    if settings.has_plots:
        recipes += _plot_recipes(settings)
    if settings.uses_demo_survey:
        recipes.append(Recipe("demo_survey", "1", beside=lambda lake, _: (Path(lake.root, "demo_survey"),)))
    return {recipe.asset: recipe for recipe in recipes}


def _class_map_of_checkpoint() -> Recipe:
    return Recipe("class_map", "1", inputs=_only(Artifact("finetuned_backbone", suffix="safetensors")))


def _training_recipes(settings: Settings) -> Iterable[Recipe]:
    shards = tuple(shard_keys(settings.training_shards))
    metadata, images = settings.training_metadata or "", settings.training_images or ""
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
        "1",
        inputs=_only(Artifact("training_metadata"), Artifact("class_map"), *_demo(settings, images)),
        config=lambda _: {"shards": len(shards)},
        sources=lambda: {"training_images": listing_digest(settings.resolve(images))},
    )
    yield Recipe(
        "raw_images",
        "1",
        inputs=_only(Artifact("training_manifest")),
        config=lambda _: {"max_pixels": settings.max_pixels},
        partitions=shards,
    )
    yield Recipe(
        "resized_images",
        "1",
        inputs=_same_shard("raw_images"),
        config=lambda _: {"image_size": settings.image_size, "max_pixels": settings.max_pixels},
        partitions=shards,
    )


def _backbone_recipes(backbone: str, settings: Settings) -> Iterable[Recipe]:
    weights = Artifact(f"{backbone}_backbone", suffix="safetensors")
    model, source, input_size = backbone_settings(backbone, settings)
    headed = brings_head(backbone, settings)
    with_head = {"with_head": True} if headed else {}

    def class_list() -> dict[str, str | None]:
        return {"class_mapping": _file_digest(settings, settings.class_mapping)} if headed else {}

    yield Recipe(
        weights.asset,
        "1",
        config=lambda _: {"model": model, "input_size": input_size} | with_head,
        sources=lambda: {"weights": _weights_identity(settings, source)} | class_list(),
        suffix="safetensors",
    )
    if settings.has_training:
        yield Recipe(
            f"{backbone}_embeddings",
            "1",
            inputs=lambda shard: (Artifact("resized_images", shard), weights),
            config=lambda _: {"precision": _precision(settings)},
            partitions=tuple(shard_keys(settings.training_shards)),
        )
    if settings.has_plots:
        yield Recipe(
            f"{backbone}_tile_embeddings",
            "1",
            inputs=lambda shard: (Artifact("plot_images", shard), weights),
            config=lambda _: {
                "precision": _precision(settings),
                "tilings": list(tilings_of(backbone, settings)),
                "tile_size": tile_size(backbone, settings),
                "max_pixels": settings.max_pixels,
            },
            partitions=tuple(shard_keys(settings.plot_shards)),
        )


def _classifier_recipe(settings: Settings) -> Recipe:
    shards = shard_keys(settings.training_shards) if settings.has_training else []

    def inputs(name: str | None) -> tuple[Artifact, ...]:
        backbone = (name or "").partition("_")[0]
        embeddings = tuple(Artifact(f"{backbone}_embeddings", shard) for shard in shards)
        if not is_checkpoint_head(name):
            return embeddings
        return (*embeddings, Artifact(f"{backbone}_backbone", suffix="safetensors"), Artifact("class_map"))

    def config(name: str | None) -> Mapping[str, Any]:
        return {} if is_checkpoint_head(name) else settings.classifier.model_dump() | {"seed": settings.seed}

    return Recipe("classifier", "1", inputs, config, partitions=settings.feature_sets, suffix="safetensors")


def _plot_recipes(settings: Settings) -> Iterable[Recipe]:
    shards = tuple(shard_keys(settings.plot_shards))
    images, runs = settings.plot_images or "", settings.active_runs
    pairs = sorted({(run.feature_set, run.tiling) for run in runs.values()})
    classifiers = sorted({run.feature_set for run in runs.values()})
    yield Recipe(
        "plot_manifest",
        "1",
        inputs=_only(*_demo(settings, images)),
        config=lambda _: {"shards": len(shards)},
        sources=lambda: {"plot_images": listing_digest(settings.resolve(images))},
    )
    yield Recipe(
        "plot_images",
        "1",
        inputs=_only(Artifact("plot_manifest")),
        config=lambda _: {"max_pixels": settings.max_pixels},
        partitions=shards,
    )
    yield Recipe(
        "tile_predictions",
        "1",
        inputs=lambda shard: (
            *(Artifact(f"{backbone}_tile_embeddings", shard) for backbone in settings.backbones),
            *(Artifact("classifier", name, "safetensors") for name in classifiers),
            Artifact("class_map"),
        ),
        config=lambda _: {"top_k": settings.top_k, "feature_sets_and_tilings": [list(pair) for pair in pairs]},
        partitions=shards,
    )
    yield Recipe(
        "submission",
        "1",
        inputs=lambda _: (
            *(Artifact("tile_predictions", shard) for shard in shards),
            Artifact("plot_manifest"),
            Artifact("class_map"),
        ),
        config=lambda run: {"dialect": settings.dialect, **runs[run or ""].model_dump()},
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


def backbone_settings(backbone: str, settings: Settings) -> tuple[str, str, int | None]:
    """Give timm name, weights and input size of one of the backbones, base or finetuned."""
    if backbone == "base":
        return settings.base_model, settings.base_weights, settings.base_input_size
    return settings.finetuned_model or "", settings.finetuned_weights or "", settings.finetuned_input_size


def brings_head(backbone: str, settings: Settings) -> bool:
    """Whether a backbone's checkpoint brings its own classifier; only the fine-tuned one's is used."""
    return backbone == "finetuned" and settings.has_head


def tile_size(backbone: str, settings: Settings) -> int:
    """Give the side that tiles are brought to, px: that of the training crops, so that they are as sharp as those.

    Where the checkpoint's own classifier answers, it has learned from pictures of the model's full input size.
    """
    _, _, input_size = backbone_settings(backbone, settings)
    return max(settings.image_size, input_size or 0) if brings_head(backbone, settings) else settings.image_size


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


def _precision(settings: Settings) -> str:
    """Resolve `auto` by the device at hand; asks torch, so it is called late, but before any work.

    Raises:
        SettingsError: there is no such device here, or it has no such precision.
    """
    from plantclef_assets.vision.devices import resolve_device, resolve_precision

    try:
        device = resolve_device(settings.device)
    except ValueError as error:
        raise SettingsError(f"PLANTCLEF_DEVICE: {error}.") from error
    try:
        return resolve_precision(settings.precision, device)
    except ValueError as error:
        raise SettingsError(f"PLANTCLEF_PRECISION: {error}.") from error


def _weights_identity(settings: Settings, source: str) -> str | None:
    """Give the sha256 of a weights file; what is fetched from elsewhere is known by its name or address."""
    return source if source == HUB or is_download(source) else _file_digest(settings, source)


def _file_digest(settings: Settings, location: str | None) -> str | None:
    """Give the sha256 of a source file; None where the setting is not used."""
    if location is None:
        return None
    with Path(settings.resolve(location)).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
