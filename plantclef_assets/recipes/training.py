"""Recipes of the training side: from the metadata to resized photographs."""

from collections.abc import Iterable

from plantclef_assets.ingest.locations import is_demo
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.lake.store import Artifact
from plantclef_assets.recipes.identities import (
    demo_survey_of,
    file_digest,
    images_identity,
    only,
    origin_of,
    same_shard,
)
from plantclef_assets.settings import Settings


def class_map_of_checkpoint(settings: Settings) -> Recipe:
    """Make the recipe of a class map that comes with a checkpoint."""
    return Recipe(
        "class_map",
        "1",
        inputs=only(Artifact("finetuned_backbone", suffix="safetensors")),
        origin=origin_of(settings, "training_metadata"),
    )


def training_recipes(settings: Settings) -> Iterable[Recipe]:
    """Make the recipes from the metadata to the resized photographs."""
    shards = tuple(shard_keys(settings.training_shards))
    metadata, images = settings.training_metadata or "", settings.training_images or ""
    licenses = {"licenses": sorted(settings.licenses)} if settings.licenses else {}
    yield Recipe(
        "training_metadata",
        "1",
        inputs=only(*demo_survey_of(settings, metadata)),
        sources=lambda: {"training_metadata": file_digest(settings, metadata)},
        origin=origin_of(settings, "training_metadata"),
    )
    yield Recipe(
        "class_map",
        "1",
        inputs=only(Artifact("training_metadata")),
        sources=lambda: {
            "class_mapping": file_digest(settings, settings.class_mapping),
            "species_names": file_digest(settings, settings.species_names),
        },
        # Training photographs of one's own may take the place of a checkpoint's class list; the demo's may not.
        origin=origin_of(settings, "training_metadata") if is_demo(metadata) else None,
    )
    yield Recipe(
        "training_manifest",
        "2",
        inputs=only(Artifact("training_metadata"), Artifact("class_map"), *demo_survey_of(settings, images)),
        config=lambda _: {"shards": len(shards)} | licenses,
        sources=lambda: {"training_images": images_identity(settings, images)},
        origin=origin_of(settings, "training_images"),
    )
    yield Recipe(
        "raw_images",
        "2",
        inputs=only(Artifact("training_manifest")),
        config=lambda _: {"max_pixels": settings.max_pixels},
        partitions=shards,
    )
    yield Recipe(
        "resized_images",
        "2",
        inputs=same_shard("raw_images"),
        config=lambda _: {"image_size": settings.image_size, "max_pixels": settings.max_pixels},
        partitions=shards,
    )
