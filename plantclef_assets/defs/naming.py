"""What assets are called and which of them the settings ask for: the leaf that all stages share.

What belongs here: backbones, sources of plots, and what follows for names. What does not: any asset.
"""

from dataclasses import dataclass

from plantclef_assets.defs.families import build_families
from plantclef_assets.defs.jobs import INBOX_SIDE, PLOT_SIDE, VALIDATION_SIDE
from plantclef_assets.models.feature_sets import feature_set
from plantclef_assets.orchestration.declaration import Family, Job
from plantclef_assets.settings import Settings


@dataclass(frozen=True)
class Backbone:
    """A backbone that the settings ask for.

    Attributes:
        name: `base` or `finetuned`.
        model: the timm name.
        weights: the location of its weights, or `hub`.
        input_size: the side of its input, px; None for the model's own.
        trained: whether it is fine-tuned here, starting from the base backbone, rather than read from a file.
        brings_head: whether its checkpoint brings a classifier of its own.
        tile_size: the side that tiles are resized to, px: that of the training crops, so that they are as sharp as
            those. Where the classifier of a checkpoint made elsewhere predicts, it has learned from images of the full
            input size.
        tilings: those that some run uses with its feature sets, in the order of their declaration.
    """

    name: str
    model: str
    weights: str
    input_size: int | None
    trained: bool
    brings_head: bool
    tile_size: int
    tilings: tuple[str, ...]

    @property
    def asset(self) -> str:
        """The asset of its weights."""
        return f"{self.name}_backbone"

    @property
    def embeddings(self) -> str:
        """The asset of its embeddings of the training photographs."""
        return f"{self.name}_embeddings"


def backbones(settings: Settings) -> list[Backbone]:
    """Return the backbones that the settings ask for."""
    return [_backbone(name, settings) for name in settings.backbones]


def _backbone(name: str, settings: Settings) -> Backbone:
    finetuned = name == "finetuned"
    trained = finetuned and settings.trains_backbone
    if finetuned and not trained:
        model, weights = settings.finetuned_model or "", settings.finetuned_weights or ""
        input_size = settings.finetuned_input_size
    else:
        model, weights, input_size = settings.base_model, settings.base_weights, settings.base_input_size
    brings_head = finetuned and settings.has_head
    full_size = max(settings.image_size, input_size or 0)
    runs = settings.active_runs.values()
    return Backbone(
        name,
        model,
        weights,
        input_size,
        trained,
        brings_head,
        tile_size=full_size if brings_head and not trained else settings.image_size,
        tilings=tuple(dict.fromkeys(run.tiling for run in runs if feature_set(run.feature_set).backbone == name)),
    )


@dataclass(frozen=True)
class PlotSource:
    """A source of plots whose tiles are embedded.

    Attributes:
        plots: the asset of its plots.
        family: its partition family.
        job: the job that its assets are part of.
        noun: for one of its plots, in descriptions.
        tiles: the suffix of the assets of its tile embeddings, behind the name of the backbone.
        predictions: the asset of its tile predictions; None where no species lists are made.
        cover: the asset of the cover of its species; None where none is made.
        novelty: the asset of the unknown scores of its tiles; None where none are made.
    """

    plots: str
    family: Family
    job: Job
    noun: str
    tiles: str
    predictions: str | None = None
    cover: str | None = None
    novelty: str | None = None

    def tile_embeddings(self, backbone: str) -> str:
        """Return the asset of a backbone's tile embeddings."""
        return f"{backbone}_{self.tiles}"


def plot_sources(settings: Settings) -> list[PlotSource]:
    """Return the sources of plots that the settings ask for."""
    families = build_families(settings)
    found = []
    if settings.has_plots:
        found.append(
            PlotSource(
                "plot_images",
                families.plots,
                PLOT_SIDE,
                "plot",
                "tile_embeddings",
                predictions="tile_predictions",
                cover="species_cover",
                novelty="tile_novelty" if settings.has_training else None,
            )
        )
    if settings.has_inbox:
        found.append(
            PlotSource(
                "inbox_plots",
                families.inbox,
                INBOX_SIDE,
                "plot from the inbox",
                "inbox_tile_embeddings",
                predictions="inbox_predictions",
                cover="inbox_cover",
                novelty="inbox_novelty" if settings.has_training else None,
            )
        )
    if settings.composes_plots:
        found.append(
            PlotSource(
                "validation_plots",
                families.validation_plots,
                VALIDATION_SIDE,
                "validation plot",
                "validation_tile_embeddings",
            )
        )
    return found


def runs_by_feature_set_and_tiling(settings: Settings) -> list[tuple[str, str]]:
    """Return the pairs of feature set and tiling that some run uses, sorted."""
    return sorted({(run.feature_set, run.tiling) for run in settings.active_runs.values()})
