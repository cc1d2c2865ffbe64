"""Runs over a lake in which something is wrong: an asset, its checks, and one asset that is downstream of it."""

from collections.abc import Sequence
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetsDefinition,
    AssetSelection,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    asset,
    define_asset_job,
)

from plantclef_assets.definitions import build_defs
from plantclef_assets.settings import Settings

DOWNSTREAM = {
    "demo_survey": "training_metadata",
    "training_metadata": "class_map",
    "class_map": "training_manifest",
    "training_manifest": "raw_images",
    "raw_images": "resized_images",
    "resized_images": "base_embeddings",
    "base_backbone": "base_embeddings",
    "finetuned_backbone": "finetuned_embeddings",
    "plot_manifest": "plot_images",
    "plot_images": "base_tile_embeddings",
    "validation_plots": "base_validation_tile_embeddings",
    "base_tile_embeddings": "tile_predictions",
    "finetuned_tile_embeddings": "tile_predictions",
    "tile_predictions": "species_cover",
    "inbox_delivery": "inbox_plots",
    "inbox_plots": "base_inbox_tile_embeddings",
    "base_inbox_tile_embeddings": "inbox_predictions",
    "finetuned_inbox_tile_embeddings": "inbox_predictions",
    "inbox_predictions": "inbox_cover",
    "submission": "leaderboard",
}
"""What is downstream of an asset and can be in one run with it. All that follows the other assets has partitions of
another family, or takes long (embedding_map), or does not exist; an asset of the test stands there for the reports
that people add."""

PROBE = "report_of_ones_own"
FIRST = {
    "raw_images": "00",
    "resized_images": "00",
    "base_embeddings": "00",
    "finetuned_embeddings": "00",
    "plot_images": "00",
    "base_tile_embeddings": "00",
    "finetuned_tile_embeddings": "00",
    "validation_plots": "00",
    "base_validation_tile_embeddings": "00",
    "finetuned_validation_tile_embeddings": "00",
    "tile_predictions": "00",
    "tile_novelty": "00",
    "species_cover": "00",
    "inbox_delivery": "00",
    "inbox_plots": "00",
    "base_inbox_tile_embeddings": "00",
    "finetuned_inbox_tile_embeddings": "00",
    "inbox_predictions": "00",
    "inbox_novelty": "00",
    "inbox_cover": "00",
    "classifier": "base_cls",
    "val_predictions": "base_cls",
    "val_novelty": "base_cls",
    "submission": "base_cls_full",
}
"""A partition of each asset that has some."""


def materialize_with_downstream(
    settings: Settings, name: str, *, partition: str | None = None, downstream: str | None = None
) -> tuple[ExecuteInProcessResult, str]:
    """Materialize an asset and one downstream of it in one run; also gives the name of the latter."""
    after = downstream or DOWNSTREAM.get(name, PROBE)
    key = partition or FIRST.get(name) or FIRST.get(after)
    extra = [_report_of(name)] if after == PROBE else []
    return _run(settings, AssetSelection.assets(name, after), key, extra), after


def evaluate_checks(settings: Settings, name: str) -> ExecuteInProcessResult:
    """Evaluate the checks of an asset without materializing it."""
    return _run(settings, AssetSelection.checks_for_assets(name), None, [])


def evaluations(result: ExecuteInProcessResult, name: str) -> dict[str, AssetCheckEvaluation]:
    """Give the evaluations of an asset's checks by their names."""
    found = result.get_asset_check_evaluations()
    return {one.check_name: one for one in found if one.asset_key.to_user_string() == name}


def failed(result: ExecuteInProcessResult, name: str) -> set[str]:
    """Give the names of an asset's checks that did not pass."""
    return {check for check, evaluation in evaluations(result, name).items() if not evaluation.passed}


def metadata_of(evaluation: AssetCheckEvaluation) -> dict[str, Any]:
    """Give the plain values of an evaluation's metadata."""
    return {name: value.value for name, value in evaluation.metadata.items()}


def _report_of(name: str) -> AssetsDefinition:
    @asset(name=PROBE, deps=[name])
    def report() -> None: ...

    return report


def _run(
    settings: Settings, selection: AssetSelection, key: str | None, extra: Sequence[AssetsDefinition]
) -> ExecuteInProcessResult:
    defs = Definitions.merge(
        build_defs(settings), Definitions(assets=list(extra), jobs=[define_asset_job("damaged", selection)])
    )
    tags = {"dagster/asset_partition_range_start": key, "dagster/asset_partition_range_end": key} if key else {}
    with DagsterInstance.ephemeral() as instance:
        return defs.resolve_job_def("damaged").execute_in_process(
            instance=instance,
            tags=tags,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
