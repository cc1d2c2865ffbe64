"""The recipes: what every artifact of the platform is a function of, in one table.

What belongs here: for each asset its code version (bump it by hand when the same inputs give other bytes), the settings
that matter, and the artifacts that go in. What does not: how anything is computed.
"""

from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.recipes.models import (
    answered_sources,
    backbone_recipes,
    backbone_settings,
    brings_head,
    classifier_recipe,
    embedding_map_recipe,
    tile_embeddings_of,
    tile_size,
    tiled_sources,
    tilings_of,
)
from plantclef_assets.recipes.plots import (
    cover_of,
    inbox_recipes,
    plot_recipes,
    predictions_of,
    swept_sources,
    validation_plots_recipe,
)
from plantclef_assets.recipes.training import class_map_of_checkpoint, training_recipes
from plantclef_assets.settings import Settings

__all__ = [
    "answered_sources",
    "backbone_settings",
    "brings_head",
    "build_recipes",
    "cover_of",
    "predictions_of",
    "swept_sources",
    "tile_embeddings_of",
    "tile_size",
    "tiled_sources",
    "tilings_of",
]


def build_recipes(settings: Settings) -> dict[str, Recipe]:
    """Make the recipes of all assets that the settings give."""
    recipes = [*training_recipes(settings)] if settings.has_training else [class_map_of_checkpoint(settings)]
    for backbone in settings.backbones:
        recipes += backbone_recipes(backbone, settings)
    recipes.append(classifier_recipe(settings))
    if settings.compares_backbones:
        recipes.append(embedding_map_recipe(settings))
    if settings.has_plots:
        recipes += plot_recipes(settings)
    if settings.has_inbox:
        recipes += inbox_recipes(settings)
    if settings.composes_plots:
        recipes.append(validation_plots_recipe(settings))
    if settings.uses_demo_survey:
        recipes.append(Recipe("demo_survey", "2", beside=lambda lake, _: (lake.folder / "demo_survey",)))
    return {recipe.asset: recipe for recipe in recipes}
