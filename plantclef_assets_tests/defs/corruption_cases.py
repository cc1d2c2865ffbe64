"""The corruptions: for every check of every asset one that this check finds. `test_corruptions` applies them."""

from dataclasses import dataclass
from functools import partial

from plantclef_assets.lake.schemas import TABLES
from plantclef_assets_tests.defs.chain_runs import FIRST, PROBE
from plantclef_assets_tests.defs.corruptions import (
    COVERED,
    PREDICTED,
    SCORED_TILES,
    Corrupt,
    all_as_likely,
    as_it_was,
    changed_backbone,
    changed_classifier,
    changed_field,
    changed_page,
    changed_rows,
    column_of_another_type,
    first_plot_lost,
    first_row_twice,
    first_two_swapped,
    foreign_label,
    heavy_shard,
    official_list,
    older,
    older_report,
    one_observation_on_both_sides,
    photograph_without_file,
    plot_missing_in_csv,
    plot_twice,
    published_otherwise,
    row_lost,
    species_never_embedded,
    with_nan,
    without_column,
    zero_vector,
)
from plantclef_assets_tests.defs.lake_corruption import (
    with_first_key_twice,
    with_value,
    without_last_row,
)
from plantclef_assets_tests.tiny import SPECIES


@dataclass(frozen=True)
class Corruption:
    """A corruption, and how its check is to take it."""

    corrupt: Corrupt
    blocking: bool = False
    checks_alone: bool = False
    """Whether only the checks are evaluated: materializing the asset again would mend it."""
    downstream: str | None = None
    names: str = ""
    """What the description has to name, where that is not the shard."""


_SCHEMA_CORRUPTIONS = {
    "demo_survey": without_column("bytes"),
    "training_metadata": without_column("url"),
    "class_map": without_column("genus"),
    "training_manifest": without_column("organ"),
    "plot_manifest": without_column("bytes"),
    "raw_images": without_column("organ"),
    "resized_images": without_column("organ"),
    "plot_images": without_column("width"),
    "base_embeddings": without_column("obs_id"),
    "finetuned_embeddings": without_column("obs_id"),
    "base_tile_embeddings": without_column("height"),
    "finetuned_tile_embeddings": without_column("height"),
    "validation_plots": without_column("width"),
    "base_validation_tile_embeddings": without_column("height"),
    "finetuned_validation_tile_embeddings": without_column("height"),
    "inbox_delivery": without_column("bytes"),
    "inbox_plots": without_column("width"),
    "base_inbox_tile_embeddings": without_column("height"),
    "finetuned_inbox_tile_embeddings": without_column("height"),
    "inbox_predictions": column_of_another_type("height"),
    "inbox_novelty": without_column("score"),
    "inbox_cover": without_column("genus"),
    "tile_predictions": column_of_another_type("height"),
    "tile_novelty": without_column("score"),
    "species_cover": without_column("genus"),
    "submission": without_column("run"),
    "leaderboard": without_column("tiling"),
    "run_agreement": without_column("plots"),
    "sweep": without_column("plots"),
    "embedding_map": without_column("held_out"),
}
_LABELLED = {asset for asset, spec in TABLES.items() if "species_id" in spec.columns.names} - {
    "training_metadata",
    "class_map",
}
"""The tables whose labels the class map has to know."""
WITH_FINETUNED = (
    "finetuned_backbone",
    "finetuned_embeddings",
    "finetuned_tile_embeddings",
    "finetuned_validation_tile_embeddings",
    "embedding_map",
)
"""The assets that exist only with a fine-tuned backbone; their corruptions are done to a lake that has one."""
WITH_INBOX = (
    "inbox_delivery",
    "inbox_plots",
    "base_inbox_tile_embeddings",
    "finetuned_inbox_tile_embeddings",
    "inbox_predictions",
    "inbox_novelty",
    "inbox_cover",
)
"""The assets that exist only with an inbox; likewise."""

CORRUPTIONS: dict[tuple[str, str], Corruption] = {}
"""(asset, check) → the corruption."""

for _asset, _spec in TABLES.items():
    _columns = [name for name in _spec.columns.names if name not in _spec.key]
    _schema_corruption = _SCHEMA_CORRUPTIONS.get(_asset) or without_column(_columns[-1])
    CORRUPTIONS[_asset, "rows_accounted"] = Corruption(row_lost(_asset), blocking=True)
    CORRUPTIONS[_asset, "schema"] = Corruption(changed_rows(_asset, _schema_corruption), blocking=True)
    CORRUPTIONS[_asset, "unique_keys"] = Corruption(
        changed_rows(_asset, with_first_key_twice(_spec.key)), blocking=True
    )
for _asset in (*TABLES, "base_backbone", "finetuned_backbone", "classifier"):
    # A leaderboard is not made from a submission that is out of date.
    _after = PROBE if _asset == "submission" else None
    CORRUPTIONS[_asset, "up_to_date"] = Corruption(older(_asset), checks_alone=_asset not in FIRST, downstream=_after)
for _asset in _LABELLED:
    CORRUPTIONS[_asset, "labels_in_class_map"] = Corruption(changed_rows(_asset, foreign_label), blocking=True)
for _asset in ("raw_images", "resized_images", "plot_images"):
    CORRUPTIONS[_asset, "little_quarantined"] = Corruption(
        changed_rows(_asset, as_it_was, rows_in=1000, rows_out=980, quarantined=20)
    )
for _backbone_name in ("base", "finetuned"):
    _asset = f"{_backbone_name}_backbone"
    _other_model = changed_backbone(_asset, lambda tensors: None, model="vit_base_patch14_dinov2")
    CORRUPTIONS[_asset, "model_as_set"] = Corruption(_other_model, blocking=True)
    CORRUPTIONS[_asset, "weights_finite"] = Corruption(changed_backbone(_asset, with_nan), blocking=True)
    _asset = f"{_backbone_name}_embeddings"
    CORRUPTIONS[_asset, "vectors_usable"] = Corruption(changed_rows(_asset, zero_vector), blocking=True)
    CORRUPTIONS[_asset, "classes_covered"] = Corruption(partial(species_never_embedded, _asset), names="1000003")
    for _plots in ("", "validation_", "inbox_"):
        _asset = f"{_backbone_name}_{_plots}tile_embeddings"
        CORRUPTIONS[_asset, "vectors_usable"] = Corruption(changed_rows(_asset, zero_vector), blocking=True)
        CORRUPTIONS[_asset, "every_tile"] = Corruption(changed_rows(_asset, without_last_row), blocking=True)

for _asset in PREDICTED:
    CORRUPTIONS[_asset, "probabilities_valid"] = Corruption(
        changed_rows(_asset, lambda table: with_value(table, "probability", 0, 1.5)), blocking=True
    )
    CORRUPTIONS[_asset, "probabilities_sorted"] = Corruption(changed_rows(_asset, first_two_swapped), blocking=True)
    CORRUPTIONS[_asset, "confident_somewhere"] = Corruption(changed_rows(_asset, all_as_likely))
for _asset in COVERED:
    CORRUPTIONS[_asset, "unique_keys"] = Corruption(changed_rows(_asset, first_row_twice), blocking=True)
    CORRUPTIONS[_asset, "every_plot"] = Corruption(changed_rows(_asset, first_plot_lost), blocking=True)
    CORRUPTIONS[_asset, "cover_valid"] = Corruption(
        changed_rows(_asset, lambda table: with_value(table, "coverage", 0, 1.5)), blocking=True
    )

CORRUPTIONS |= {
    ("inbox_delivery", "delivered_once"): Corruption(
        changed_rows("inbox_delivery", with_first_key_twice(("digest",))), blocking=True
    ),
    ("inbox_plots", "little_quarantined"): Corruption(
        changed_rows("inbox_plots", as_it_was, rows_in=2, rows_out=0, quarantined=2)
    ),
    ("inbox_plots", "whole_delivery"): Corruption(
        changed_rows("inbox_plots", as_it_was, rows_in=3, rows_out=2, quarantined=1), blocking=True
    ),
    ("plot_images", "unique_keys"): Corruption(partial(plot_twice, "plot_images"), blocking=True),
    ("validation_plots", "unique_keys"): Corruption(partial(plot_twice, "validation_plots"), blocking=True),
    ("validation_plots", "labels_in_class_map"): Corruption(
        changed_rows("validation_plots", as_it_was, species=[999]), blocking=True
    ),
    ("validation_plots", "truth_as_pasted"): Corruption(
        changed_rows("validation_plots", lambda table: with_value(table, "species_ids", 0, [1000001])), blocking=True
    ),
    ("validation_plots", "held_out_photographs"): Corruption(
        changed_rows("validation_plots", as_it_was, not_held_out=1, first_not_held_out=["a.jpg"]), blocking=True
    ),
    ("validation_plots", "species_covered"): Corruption(
        changed_rows("validation_plots", as_it_was, held_out_species=[*SPECIES, 1000004]), names="1000004"
    ),
    ("training_metadata", "readable_numbers"): Corruption(partial(changed_field, "altitude", "high")),
    ("training_metadata", "rows_usable"): Corruption(partial(changed_field, "species_id", "Taxus")),
    ("class_map", "contiguous_classes"): Corruption(
        changed_rows("class_map", lambda table: with_value(table, "class_index", 2, 7)), blocking=True
    ),
    ("class_map", "classes_have_images"): Corruption(partial(official_list, [*SPECIES, 1000004])),
    ("class_map", "species_listed"): Corruption(partial(official_list, [*SPECIES][:2])),
    ("training_manifest", "no_shared_observation"): Corruption(
        changed_rows("training_manifest", one_observation_on_both_sides), blocking=True
    ),
    ("training_manifest", "photographs_found"): Corruption(photograph_without_file),
    **{
        (asset, "files_used"): Corruption(
            changed_rows(asset, as_it_was, unused=[{"ending": ".heic", "reason": "unsupported", "files": 2}])
        )
        for asset in ("training_manifest", "plot_manifest")
    },
    ("training_manifest", "balanced_shards"): Corruption(changed_rows("training_manifest", heavy_shard)),
    ("training_metadata", "complete"): Corruption(partial(published_otherwise, {"training_rows": 49})),
    ("training_manifest", "complete"): Corruption(partial(published_otherwise, {"training_rows": 49})),
    ("plot_manifest", "complete"): Corruption(partial(published_otherwise, {"plots": 5})),
    ("classifier", "better_than_majority"): Corruption(
        changed_classifier(accuracy=0.2, majority_rate=0.33), blocking=True
    ),
    ("classifier", "no_shared_observation"): Corruption(
        changed_classifier(shared_observations=2, first_shared=["17", "18"]), blocking=True
    ),
    ("classifier", "stopped_early"): Corruption(changed_classifier(best_epoch=15)),
    ("classifier", "calibrated"): Corruption(changed_classifier(ece_uncalibrated=0.1, ece=0.13)),
    ("classifier", "every_species_a_class"): Corruption(
        changed_classifier(species_without_class=2, first_without_class=[5, 6])
    ),
    ("classifier", "head_covers_classes"): Corruption(changed_classifier(uncovered=2, first_uncovered=[5, 6])),
    ("classifier", "labels_in_class_map"): Corruption(changed_classifier(species=[*SPECIES, 999]), blocking=True),
    **{
        (asset, "unknown_valid"): Corruption(
            changed_rows(asset, lambda table: with_value(table, "unknown", 0, 1.5)), blocking=True
        )
        for asset in SCORED_TILES
    },
    ("submission", "valid_submission"): Corruption(plot_missing_in_csv, blocking=True, names="base_cls_full.2024.csv"),
    ("submission", "every_plot_written"): Corruption(changed_rows("submission", as_it_was, left_out={"2024": ["a;b"]})),
    ("submission", "species_per_plot"): Corruption(changed_rows("submission", as_it_was, species_per_plot=0.25)),
    ("submission", "prior_has_effect"): Corruption(
        changed_rows("submission", as_it_was, plots_changed=0, pairs_kept=1.0)
    ),
    ("run_agreement", "agreement_valid"): Corruption(
        changed_rows("run_agreement", lambda table: with_value(table, "jaccard", 0, 1.5)), blocking=True
    ),
    ("sweep", "scores_valid"): Corruption(
        changed_rows("sweep", lambda table: with_value(table, "f1_plot", 0, 1.5)), blocking=True
    ),
    ("sweep", "choice_holds"): Corruption(changed_rows("sweep", as_it_was, chosen_f1_choose=0.9, chosen_f1_report=0.3)),
    ("leaderboard", "scores_valid"): Corruption(
        changed_rows("leaderboard", lambda table: with_value(table, "f1_plot", 0, 1.5)), blocking=True
    ),
    ("finetuned_backbone", "finetuning_helped"): Corruption(
        changed_backbone("finetuned_backbone", lambda tensors: None, best_epoch=0), checks_alone=True
    ),
    ("plot_report", "up_to_date"): Corruption(older_report, checks_alone=True),
    ("plot_report", "pages_complete"): Corruption(changed_page, checks_alone=True),
    ("embedding_map", "finetuned_separates_better"): Corruption(
        changed_rows("embedding_map", as_it_was, separation_base=0.4, separation_finetuned=0.1)
    ),
}
