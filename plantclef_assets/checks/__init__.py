"""Checks: one module for each asset module; they read figures from footers and judge them.

(https://docs.dagster.io/guides/test/asset-checks)
"""

from collections.abc import Mapping

from dagster import AssetChecksDefinition

from plantclef_assets.checks import (
    backbones,
    classifiers,
    cover,
    embeddings,
    images,
    inbox,
    predictions,
    reports,
    sources,
    submissions,
    sweeps,
    validation,
)
from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.orchestration.checks import Check, checks_of
from plantclef_assets.settings import Settings

_MODULES = (
    sources,
    images,
    inbox,
    backbones,
    embeddings,
    classifiers,
    predictions,
    cover,
    validation,
    submissions,
    sweeps,
    reports,
)


def build_checks(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetChecksDefinition]:
    """Make the checks of every asset that exists."""
    by_asset: dict[str, list[Check]] = {}
    for module in _MODULES:
        by_asset |= module.checks(settings)
    return [checks_of(asset, checks, recipes) for asset, checks in by_asset.items() if asset in recipes]
