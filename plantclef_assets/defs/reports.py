"""Reports: what people look at to compare the features.

What belongs here: assets that summarise others for the eye, and that nothing else is made from.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from dagster import AssetExecutionContext

from plantclef_assets.defs.jobs import CLASSIFIERS
from plantclef_assets.defs.naming import backbones
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.models import separation
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem
from plantclef_assets.orchestration.declaration import Asset, Extra, every, platform_asset
from plantclef_assets.orchestration.materialization import MakeShards, in_this_process
from plantclef_assets.orchestration.pictures import picture
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.report.embedding_map import EmbeddingMap, map_picture
from plantclef_assets.settings import Settings


def report_assets(settings: Settings) -> list[Asset]:
    """Declare the map of embeddings; none where there are no two backbones to compare."""
    if not settings.compares_backbones:
        return []

    @platform_asset(
        group="reports",
        jobs=[CLASSIFIERS],
        kinds={"umap", "parquet"},
        code_version="1",
        extra=Extra("umap", package="umap-learn", module="umap"),
        inputs=[*(every(backbone.embeddings) for backbone in backbones(settings)), "class_map"],
        config={
            "species": separation.SPECIES,
            "photographs_per_species": separation.PHOTOGRAPHS_PER_SPECIES,
            "validation_share": settings.classifier.validation_share,
            "seed": settings.seed,
        },
        sidecars=lambda lake, artifact: (map_picture(lake, artifact),),
        describe=_map_picture,
        results=["separation_base", "separation_finetuned"],
        checks=[
            Check(
                "finetuned_separates_better",
                "Held-out photographs are better separated by species after fine-tuning than before.",
                _finetuned_separates_better,
            )
        ],
    )
    def embedding_map(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The five most frequent species before and after fine-tuning: maps of the features, and their separation."""
        return in_this_process(
            EmbeddingMap(
                lake.lake,
                settings.backbones,
                shard_keys(settings.training_shards),
                settings.classifier.validation_share,
                settings.seed,
                context.log.info,
            )
        )

    return [embedding_map]


def _map_picture(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
    return {"embedding_map": picture(map_picture(lake, artifact).read_bytes(), "embedding map", "png")}


def _finetuned_separates_better(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        base, finetuned = (record.statistics.get(f"separation_{name}") for name in ("base", "finetuned"))
        if base is not None and finetuned is not None and finetuned <= base:
            yield Problem(artifact, f"{artifact}: separation {finetuned:.3f} after fine-tuning, {base:.3f} before it")
