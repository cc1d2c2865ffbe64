"""The damages: for every check of every asset one that this check finds. `test_damages` inflicts them."""

from dataclasses import dataclass
from functools import partial

from plantclef_assets.lake.schemas import TABLES
from plantclef_assets_tests.defs.chain_runs import FIRST, PROBE
from plantclef_assets_tests.defs.corrupting import (
    COVERED,
    PREDICTED,
    Inflict,
    all_as_likely,
    as_it_was,
    changed_backbone,
    changed_classifier,
    changed_field,
    changed_rows,
    column_of_another_type,
    first_plot_lost,
    first_row_twice,
    first_two_swapped,
    foreign_label,
    heavy_shard,
    official_list,
    older,
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
class Damage:
    """A damage, and how its check is to take it."""

    inflict: Inflict
    blocking: bool = False
    checks_alone: bool = False
    """Whether only the checks are evaluated: materializing the asset again would mend it."""
    downstream: str | None = None
    names: str = ""
    """What the description has to name, where that is not the shard."""


_SCHEMA_DAMAGES = {
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
    "inbox_cover": without_column("genus"),
    "tile_predictions": column_of_another_type("height"),
    "species_cover": without_column("genus"),
    "submission": without_column("run"),
    "leaderboard": without_column("tiling"),
    "run_agreement": without_column("plots"),
    "sweep": without_column("plots"),
    "embedding_map": without_column("held_out"),
}
_LABELLED = (
    "training_manifest",
    "raw_images",
    "resized_images",
    "base_embeddings",
    "finetuned_embeddings",
    *PREDICTED,
    *COVERED,
    "embedding_map",
)
WITH_FINETUNED = (
    "finetuned_backbone",
    "finetuned_embeddings",
    "finetuned_tile_embeddings",
    "finetuned_validation_tile_embeddings",
    "embedding_map",
)
"""The assets that exist only with a fine-tuned backbone; their damages are done to a lake that has one."""
WITH_INBOX = (
    "inbox_delivery",
    "inbox_plots",
    "base_inbox_tile_embeddings",
    "finetuned_inbox_tile_embeddings",
    "inbox_predictions",
    "inbox_cover",
)
"""The assets that exist only with an inbox; likewise."""

DAMAGES: dict[tuple[str, str], Damage] = {}
"""(asset, check) → the damage."""

for _asset, _schema_damage in _SCHEMA_DAMAGES.items():
    DAMAGES[_asset, "rows_accounted"] = Damage(row_lost(_asset), blocking=True)
    DAMAGES[_asset, "schema"] = Damage(changed_rows(_asset, _schema_damage), blocking=True)
    DAMAGES[_asset, "unique_keys"] = Damage(
        changed_rows(_asset, with_first_key_twice(TABLES[_asset].key)), blocking=True
    )
for _asset in (*_SCHEMA_DAMAGES, "base_backbone", "finetuned_backbone", "classifier"):
    # A leaderboard is not made from a submission that is out of date.
    _after = PROBE if _asset == "submission" else None
    DAMAGES[_asset, "up_to_date"] = Damage(older(_asset), checks_alone=_asset not in FIRST, downstream=_after)
for _asset in _LABELLED:
    DAMAGES[_asset, "labels_in_class_map"] = Damage(changed_rows(_asset, foreign_label), blocking=True)
for _asset in ("raw_images", "resized_images", "plot_images"):
    DAMAGES[_asset, "little_quarantined"] = Damage(
        changed_rows(_asset, as_it_was, rows_in=1000, rows_out=980, quarantined=20)
    )
for _backbone_name in ("base", "finetuned"):
    _asset = f"{_backbone_name}_backbone"
    _other_model = changed_backbone(_asset, lambda tensors: None, model="vit_base_patch14_dinov2")
    DAMAGES[_asset, "model_as_set"] = Damage(_other_model, blocking=True)
    DAMAGES[_asset, "weights_finite"] = Damage(changed_backbone(_asset, with_nan), blocking=True)
    _asset = f"{_backbone_name}_embeddings"
    DAMAGES[_asset, "vectors_usable"] = Damage(changed_rows(_asset, zero_vector), blocking=True)
    DAMAGES[_asset, "classes_covered"] = Damage(partial(species_never_embedded, _asset), names="1000003")
    for _plots in ("", "validation_", "inbox_"):
        _asset = f"{_backbone_name}_{_plots}tile_embeddings"
        DAMAGES[_asset, "vectors_usable"] = Damage(changed_rows(_asset, zero_vector), blocking=True)
        DAMAGES[_asset, "every_tile"] = Damage(changed_rows(_asset, without_last_row), blocking=True)

for _asset in PREDICTED:
    DAMAGES[_asset, "probabilities_valid"] = Damage(
        changed_rows(_asset, lambda table: with_value(table, "probability", 0, 1.5)), blocking=True
    )
    DAMAGES[_asset, "probabilities_sorted"] = Damage(changed_rows(_asset, first_two_swapped), blocking=True)
    DAMAGES[_asset, "confident_somewhere"] = Damage(changed_rows(_asset, all_as_likely))
for _asset in COVERED:
    DAMAGES[_asset, "unique_keys"] = Damage(changed_rows(_asset, first_row_twice), blocking=True)
    DAMAGES[_asset, "every_plot"] = Damage(changed_rows(_asset, first_plot_lost), blocking=True)
    DAMAGES[_asset, "cover_valid"] = Damage(
        changed_rows(_asset, lambda table: with_value(table, "coverage", 0, 1.5)), blocking=True
    )

DAMAGES |= {
    ("inbox_delivery", "delivered_once"): Damage(
        changed_rows("inbox_delivery", with_first_key_twice(("digest",))), blocking=True
    ),
    ("inbox_plots", "little_quarantined"): Damage(
        changed_rows("inbox_plots", as_it_was, rows_in=2, rows_out=0, quarantined=2)
    ),
    ("inbox_plots", "whole_delivery"): Damage(
        changed_rows("inbox_plots", as_it_was, rows_in=3, rows_out=2, quarantined=1), blocking=True
    ),
    ("plot_images", "unique_keys"): Damage(partial(plot_twice, "plot_images"), blocking=True),
    ("validation_plots", "unique_keys"): Damage(partial(plot_twice, "validation_plots"), blocking=True),
    ("validation_plots", "labels_in_class_map"): Damage(
        changed_rows("validation_plots", as_it_was, species=[999]), blocking=True
    ),
    ("validation_plots", "truth_as_pasted"): Damage(
        changed_rows("validation_plots", lambda table: with_value(table, "species_ids", 0, [1000001])), blocking=True
    ),
    ("validation_plots", "held_out_photographs"): Damage(
        changed_rows("validation_plots", as_it_was, not_held_out=1, first_not_held_out=["a.jpg"]), blocking=True
    ),
    ("validation_plots", "species_covered"): Damage(
        changed_rows("validation_plots", as_it_was, held_out_species=[*SPECIES, 1000004]), names="1000004"
    ),
    ("training_metadata", "readable_numbers"): Damage(partial(changed_field, "altitude", "high")),
    ("training_metadata", "rows_usable"): Damage(partial(changed_field, "species_id", "Taxus")),
    ("class_map", "contiguous_classes"): Damage(
        changed_rows("class_map", lambda table: with_value(table, "class_index", 2, 7)), blocking=True
    ),
    ("class_map", "classes_have_images"): Damage(partial(official_list, [*SPECIES, 1000004])),
    ("class_map", "species_listed"): Damage(partial(official_list, [*SPECIES][:2])),
    ("training_manifest", "no_shared_observation"): Damage(
        changed_rows("training_manifest", one_observation_on_both_sides), blocking=True
    ),
    ("training_manifest", "photographs_found"): Damage(photograph_without_file),
    **{
        (asset, "files_used"): Damage(
            changed_rows(asset, as_it_was, unused=[{"ending": ".heic", "reason": "unsupported", "files": 2}])
        )
        for asset in ("training_manifest", "plot_manifest")
    },
    ("training_manifest", "balanced_shards"): Damage(changed_rows("training_manifest", heavy_shard)),
    ("training_metadata", "complete"): Damage(partial(published_otherwise, {"training_rows": 49})),
    ("training_manifest", "complete"): Damage(partial(published_otherwise, {"training_rows": 49})),
    ("plot_manifest", "complete"): Damage(partial(published_otherwise, {"plots": 5})),
    ("classifier", "better_than_majority"): Damage(changed_classifier(accuracy=0.2, majority_rate=0.33), blocking=True),
    ("classifier", "no_shared_observation"): Damage(
        changed_classifier(shared_observations=2, first_shared=["17", "18"]), blocking=True
    ),
    ("classifier", "stopped_early"): Damage(changed_classifier(best_epoch=15)),
    ("classifier", "calibrated"): Damage(changed_classifier(ece_uncalibrated=0.1, ece=0.13)),
    ("classifier", "every_species_a_class"): Damage(
        changed_classifier(species_without_class=2, first_without_class=[5, 6])
    ),
    ("classifier", "head_covers_classes"): Damage(changed_classifier(uncovered=2, first_uncovered=[5, 6])),
    ("classifier", "labels_in_class_map"): Damage(changed_classifier(species=[*SPECIES, 999]), blocking=True),
    ("submission", "valid_submission"): Damage(plot_missing_in_csv, blocking=True, names="base_cls_full.2024.csv"),
    ("submission", "every_plot_written"): Damage(changed_rows("submission", as_it_was, left_out={"2024": ["a;b"]})),
    ("submission", "species_per_plot"): Damage(changed_rows("submission", as_it_was, species_per_plot=0.25)),
    ("submission", "prior_has_effect"): Damage(changed_rows("submission", as_it_was, plots_changed=0, pairs_kept=1.0)),
    ("run_agreement", "agreement_valid"): Damage(
        changed_rows("run_agreement", lambda table: with_value(table, "jaccard", 0, 1.5)), blocking=True
    ),
    ("sweep", "scores_valid"): Damage(
        changed_rows("sweep", lambda table: with_value(table, "f1_plot", 0, 1.5)), blocking=True
    ),
    ("sweep", "choice_holds"): Damage(changed_rows("sweep", as_it_was, chosen_f1_choose=0.9, chosen_f1_report=0.3)),
    ("leaderboard", "scores_valid"): Damage(
        changed_rows("leaderboard", lambda table: with_value(table, "f1_plot", 0, 1.5)), blocking=True
    ),
    ("finetuned_backbone", "finetuning_helped"): Damage(
        changed_backbone("finetuned_backbone", lambda tensors: None, best_epoch=0), checks_alone=True
    ),
    ("embedding_map", "finetuned_separates_better"): Damage(
        changed_rows("embedding_map", as_it_was, separation_base=0.4, separation_finetuned=0.1)
    ),
}
