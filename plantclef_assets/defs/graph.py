"""The whole graph: the assets of all stages that the settings ask for."""

from functools import partial

from plantclef_assets.defs.backbones import backbone_assets
from plantclef_assets.defs.classifiers import classifier_assets
from plantclef_assets.defs.embeddings import embedding_assets
from plantclef_assets.defs.families import build_families
from plantclef_assets.defs.figures import figure_assets
from plantclef_assets.defs.images import image_assets
from plantclef_assets.defs.inbox import inbox_assets
from plantclef_assets.defs.plot_report import plot_report_assets
from plantclef_assets.defs.predictions import prediction_assets
from plantclef_assets.defs.reports import report_assets
from plantclef_assets.defs.sources import source_assets
from plantclef_assets.defs.submissions import submission_assets
from plantclef_assets.defs.validation import validation_assets
from plantclef_assets.orchestration.declaration import Graph
from plantclef_assets.settings import Settings


def build_graph(settings: Settings) -> Graph:
    """Declare all assets that the settings ask for, in the order of the chain's stages."""
    families = build_families(settings)
    assets = [
        *source_assets(settings),
        *image_assets(settings, families),
        *backbone_assets(settings),
        *embedding_assets(settings, families),
        *classifier_assets(settings, families),
        *report_assets(settings),
        *prediction_assets(settings),
        *submission_assets(settings, families),
        *inbox_assets(settings, families),
        *plot_report_assets(settings, partial(build_graph, settings)),
        *validation_assets(settings, families),
    ]
    return Graph.of([*assets, *figure_assets(settings, assets)])
