"""Sources: what exists before any photograph is read: metadata, classes, manifests, and the demo's survey.

What belongs here: assets that look at files outside the lake and list what is in them, with their checks.
(https://docs.dagster.io/guides/build/assets)
"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from dagster import AssetExecutionContext

from plantclef_assets.defs.jobs import CHECKPOINT, PLOT_SIDE, PLOT_SOURCES, TRAINING_SIDE
from plantclef_assets.defs.source_files import (
    demo_survey_of,
    file_digest,
    image_source,
    images_identity,
    origin_of,
    source_file,
)
from plantclef_assets.ingest.class_map import write_class_map
from plantclef_assets.ingest.locations import is_demo
from plantclef_assets.ingest.manifests import write_plot_manifest, write_training_manifest
from plantclef_assets.ingest.metadata import write_training_metadata
from plantclef_assets.lake.catalog import create_table
from plantclef_assets.lake.store import Artifact, Lake, Record
from plantclef_assets.lake.tables import Shard
from plantclef_assets.orchestration.checks import Check, CheckContext, Problem, count_is_zero
from plantclef_assets.orchestration.declaration import Asset, platform_asset
from plantclef_assets.orchestration.materialization import MakeShards, in_this_process
from plantclef_assets.orchestration.pictures import metadata_table
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.settings import Settings
from plantclef_assets.settings.sources import PublishedSettings

_SHARED_OBSERVATIONS = """
select obs_id from training_manifest where learn_tag in ('train', 'val') and obs_id is not null
group by obs_id having count(distinct learn_tag) > 1 order by obs_id
"""


def source_assets(settings: Settings) -> list[Asset]:
    """Declare the sources that the settings ask for."""
    assets = [_demo_survey(settings)] if settings.uses_demo_survey else []
    assets += _training_sources(settings) if settings.has_training else [_class_map_of_checkpoint(settings)]
    return [*assets, _plot_manifest(settings)] if settings.has_plots else assets


def _demo_survey(settings: Settings) -> Asset:
    @platform_asset(
        group="sources",
        jobs=[*([PLOT_SOURCES] if settings.has_plots else []), *([TRAINING_SIDE] if settings.has_training else [])],
        kinds={"pillow", "csv"},
        code_version="2",
        sidecars=lambda lake, _: (lake.folder / "demo_survey",),
    )
    def demo_survey(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """Generated photographs and vegetation plots of a procedural flora, with ground truth."""
        from plantclef_assets.demo.survey import write_demo_survey

        return in_this_process(partial(write_demo_survey, lake.lake, log=context.log.info))

    return demo_survey


def _plot_manifest(settings: Settings) -> Asset:
    plots = settings.plot_images or ""

    @platform_asset(
        group="sources",
        jobs=[PLOT_SOURCES, PLOT_SIDE],
        kinds={"duckdb", "parquet"},
        code_version="2",
        inputs=demo_survey_of(plots),
        config={"shards": settings.plot_shards},
        sources=lambda: {"plot_images": images_identity(settings, plots)},
        origin=origin_of(settings, "plot_images"),
        advice=["plot_images"],
        checks=[_files_used(), _complete(_published(settings).plots, "plots")],
    )
    def plot_manifest(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The plot photographs of the survey, divided into shards of equal bytes."""

        def make(shard: Shard) -> None:
            source = image_source(settings, plots, context.log.info)
            write_plot_manifest(lake.lake, shard, source=source, shards=settings.plot_shards)

        return in_this_process(make)

    return plot_manifest


def _training_sources(settings: Settings) -> list[Asset]:
    metadata, images = settings.training_metadata or "", settings.training_images or ""
    published = _published(settings)

    @platform_asset(
        group="sources",
        jobs=[TRAINING_SIDE],
        kinds={"csv", "parquet"},
        code_version="1",
        inputs=demo_survey_of(metadata),
        sources=lambda: {"training_metadata": file_digest(settings, metadata)},
        origin=origin_of(settings, "training_metadata"),
        advice=["training_metadata"],
        checks=[
            Check(
                "rows_usable",
                "Every row of the CSV can be used.",
                count_is_zero("quarantined", "{count} rows cannot be used and {rows} can; the quarantine names them"),
            ),
            Check("readable_numbers", "Every number of the CSV could be read.", _readable_numbers),
            _complete(published.training_rows, "rows"),
        ],
    )
    def training_metadata(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """One row for each training photograph: the columns of the organisers' CSV, with types."""

        def make(shard: Shard) -> None:
            file = source_file(settings, metadata, context.log.info)
            write_training_metadata(lake.lake, shard, file or Path(), context.log.warning)

        return in_this_process(make)

    @platform_asset(
        group="sources",
        jobs=[TRAINING_SIDE],
        kinds={"duckdb", "parquet"},
        code_version="1",
        inputs=["training_metadata"],
        sources=lambda: {
            "class_mapping": file_digest(settings, settings.class_mapping),
            "species_names": file_digest(settings, settings.species_names),
        },
        # Own training photographs may replace the class list of a checkpoint; those of the demo may not.
        origin=origin_of(settings, "training_metadata") if is_demo(metadata) else None,
        advice=["class_mapping", "species_names", "training_metadata"],
        checks=_class_map_checks(),
    )
    def class_map(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The species with their class indices, which all classifiers, masks and priors use."""

        def make(shard: Shard) -> None:
            class_mapping = source_file(settings, settings.class_mapping, context.log.info)
            species_names = source_file(settings, settings.species_names, context.log.info)
            write_class_map(lake.lake, shard, class_mapping=class_mapping, species_names=species_names)

        return in_this_process(make)

    @platform_asset(
        group="sources",
        jobs=[TRAINING_SIDE],
        kinds={"duckdb", "parquet"},
        code_version="2",
        inputs=["training_metadata", "class_map", *demo_survey_of(images)],
        config={"shards": settings.training_shards}
        | ({"licenses": sorted(settings.licenses)} if settings.licenses else {}),
        sources=lambda: {"training_images": images_identity(settings, images)},
        origin=origin_of(settings, "training_images"),
        advice=["training_images", "training_metadata"],
        describe=_licence_table,
        checks=[
            Check(
                "no_shared_observation",
                "No observation (obs_id) is in both train and val.",
                _no_shared_observation,
                blocking=True,
            ),
            Check(
                "photographs_found",
                "Every metadata row has its photograph.",
                count_is_zero("without_image", "{count} metadata rows have no photograph; the quarantine names them"),
            ),
            Check("balanced_shards", "No shard is more than 10 % larger than the mean.", _balanced_shards),
            _files_used(),
            _complete(published.training_rows, "photographs"),
        ],
    )
    def training_manifest(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The photographs with a file and a metadata row, in the order of the source, in shards of equal bytes."""

        def make(shard: Shard) -> None:
            source = image_source(settings, images, context.log.info)
            write_training_manifest(
                lake.lake, shard, source=source, shards=settings.training_shards, licenses=settings.licenses
            )

        return in_this_process(make)

    return [training_metadata, class_map, training_manifest]


def _class_map_of_checkpoint(settings: Settings) -> Asset:
    @platform_asset(
        group="sources",
        jobs=[CHECKPOINT],
        kinds={"duckdb", "parquet"},
        code_version="1",
        inputs=["finetuned_backbone"],
        origin=origin_of(settings, "training_metadata"),
        advice=["finetuned_weights"],
        checks=_class_map_checks(),
    )
    def class_map(context: AssetExecutionContext, lake: LakeResource) -> MakeShards:
        """The species that the checkpoint can predict, in the order of its class list."""
        from plantclef_assets.models.backbone_files import write_class_map_of_backbone

        return in_this_process(partial(write_class_map_of_backbone, lake.lake, backbone="finetuned"))

    return class_map


def _published(settings: Settings) -> PublishedSettings:
    return settings.published or PublishedSettings()


def _licence_table(lake: Lake, artifact: Artifact, record: Record) -> Mapping[str, Any]:
    """Return how many photographs and authors there are under each licence."""
    rows = record.statistics["licences"]
    return {"licences": metadata_table(pa.Table.from_pylist(rows))} if rows else {}


def _class_map_checks() -> list[Check]:
    return [
        Check("contiguous_classes", "Class indices count from 0 without a gap.", _contiguous, blocking=True),
        Check(
            "classes_have_images",
            "Every class has at least one photograph.",
            count_is_zero("without_images", "{count} of {rows} classes have no photograph, so none can be predicted"),
        ),
        Check("species_listed", "Every species of the metadata is in the official class list.", _species_listed),
    ]


def _complete(expected: int | None, what: str) -> Check:
    """Return a check that a source has as many rows as its organisers publish; without such a number it passes."""

    def problems(context: CheckContext) -> Iterable[Problem]:
        for artifact, record in context.records.items():
            found = record.statistics.get("rows_in", 0)
            if expected is not None and found < expected:
                yield Problem(
                    artifact,
                    f"{found:,} of {expected:,} published {what} are there; complete the source, or set "
                    "PLANTCLEF_PUBLISHED=none where it is your own",
                )

    return Check("complete", "The source has at least as many rows as the organisers have published.", problems)


def _files_used() -> Check:
    """Return a check that warns of files in a source that may hold photographs but are not used."""

    def problems(context: CheckContext) -> Iterable[Problem]:
        for artifact, record in context.records.items():
            for unused in record.statistics.get("unused", []):
                yield Problem(
                    artifact,
                    f"{unused['files']} {unused['ending']} files are not used ({unused['reason']}); "
                    f"the quarantine of {artifact} names them and says why",
                )

    return Check("files_used", "Every file of the source that may contain photographs is used.", problems)


def _readable_numbers(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        for column, count in record.statistics.get("unreadable", {}).items():
            yield Problem(artifact, f"{count} values of {column} are no numbers and became null")


def _contiguous(context: CheckContext) -> Iterable[Problem]:
    for artifact in context.records:
        indices = sorted(context.lake.read(artifact, ["class_index"]).column("class_index").to_pylist())
        wrong = next((place for place, index in enumerate(indices) if place != index), None)
        if wrong is not None:
            yield Problem(artifact, f"class index {wrong} is missing or there twice")


def _species_listed(context: CheckContext) -> Iterable[Problem]:
    for artifact, record in context.records.items():
        unlisted = record.statistics.get("unlisted", [])
        if unlisted:
            named = ", ".join(map(str, unlisted[:5]))
            yield Problem(artifact, f"{len(unlisted)} species are not in the official class list ({named})")


def _no_shared_observation(context: CheckContext) -> Iterable[Problem]:
    import duckdb

    for artifact in context.records:
        manifest = context.lake.read(artifact, ["obs_id", "learn_tag"])
        with duckdb.connect() as catalog:
            create_table(catalog, "training_manifest", manifest.schema, manifest.to_batches())
            shared = [row[0] for row in catalog.sql(_SHARED_OBSERVATIONS).fetchall()]
        if shared:
            yield Problem(artifact, f"{len(shared)} observations are in train and val ({', '.join(shared[:5])})")


def _balanced_shards(context: CheckContext) -> Iterable[Problem]:
    shards = context.recipe.config(None)["shards"]
    for artifact in context.records:
        sizes = context.lake.read(artifact, ["shard", "bytes"]).group_by("shard").aggregate([("bytes", "sum")])
        total = sum(sizes.column("bytes_sum").to_pylist())
        for row in sizes.to_pylist():
            if row["bytes_sum"] > 1.1 * total / shards:
                share = row["bytes_sum"] * shards / total
                yield Problem(
                    artifact, f"shard {row['shard']} has {share:.0%} of the mean bytes; fewer shards fit better"
                )
