"""The damages: for every check of every asset one that this check finds. `test_damages` inflicts them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.lake.beside import BESIDE, publish_beside
from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.checks.chain_runs import FIRST, PROBE
from plantclef_assets_tests.checks.lake_damage import (
    Change,
    OwnLake,
    record_of,
    restamp_classifier,
    rewrite,
    rewrite_backbone,
    with_column,
    with_demo_survey,
    with_first_key_twice,
    with_value,
    without_last_row,
)
from plantclef_assets_tests.tiny import COLUMNS, SPECIES, materialize, metadata_row, write_metadata

_PREDICTED = ("tile_predictions", "inbox_predictions")
_COVERED = ("species_cover", "inbox_cover")

Inflict = Callable[[OwnLake, Path], Settings]
"""Damages a lake (given also the folder of its survey) and gives the settings to go on with."""


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


def _rows(asset: str, change: Change, partition: str | None = None, **figures: Any) -> Inflict:
    """Change the rows or figures of an asset in the partition that is materialized again, or in another."""
    artifact = Artifact(asset, partition or FIRST.get(asset))

    def inflict(own_lake: OwnLake, survey: Path) -> Settings:
        settings = with_demo_survey(own_lake, survey) if asset == "demo_survey" else own_lake()
        rewrite(settings, artifact, change, figures=figures)
        return settings

    return inflict


def _same(table: pa.Table) -> pa.Table:
    return table


def _row_lost(asset: str) -> Inflict:
    artifact = Artifact(asset, FIRST.get(asset))

    def inflict(own_lake: OwnLake, survey: Path) -> Settings:
        settings = own_lake()
        rewrite(settings, artifact, figures={"rows_in": record_of(settings, artifact).figures["rows_in"] + 1})
        return settings

    # These do not count rows but photographs or plots, whose number only the figures know.
    counted = asset in ("class_map", *_PREDICTED, *_COVERED) or asset.endswith("_tile_embeddings")
    return inflict if counted else _rows(asset, without_last_row)


def _older(asset: str) -> Inflict:
    """Let an artifact look as if older code had made it; of several partitions one that the run leaves alone."""
    others = {"00": "01", "base_cls": "base_dct", "base_cls_full": "base_cls_2x2"}
    partition = others[FIRST[asset]] if asset in FIRST else None

    def inflict(own_lake: OwnLake, survey: Path) -> Settings:
        settings = with_demo_survey(own_lake, survey) if asset == "demo_survey" else own_lake()
        if asset == "classifier":
            restamp_classifier(settings, partition or "", code_version="0")
        elif asset.endswith("_backbone"):
            rewrite_backbone(settings, asset, code_version="0")
        else:
            rewrite(settings, Artifact(asset, partition), provenance={"code_version": "0"})
        return settings

    return inflict


def _classifier(**figures: Any) -> Inflict:
    def inflict(own_lake: OwnLake, survey: Path) -> Settings:
        settings = own_lake()
        restamp_classifier(settings, FIRST["classifier"], figures=figures)
        return settings

    return inflict


def _backbone(asset: str, change: Callable[[dict[str, Any]], None], **figures: Any) -> Inflict:
    def inflict(own_lake: OwnLake, survey: Path) -> Settings:
        settings = own_lake()
        rewrite_backbone(settings, asset, change, figures=figures)
        return settings

    return inflict


def _with_nan(tensors: dict[str, Any]) -> None:
    tensors["norm.weight"][0] = float("nan")


def _unreadable_altitude(own_lake: OwnLake, survey: Path) -> Settings:
    lines = (survey / "metadata.csv").read_text().splitlines()
    fields = lines[1].split(";")
    fields[COLUMNS.index("altitude")] = '"high"'
    settings = own_lake()
    file = Path(settings.lake).parent / "metadata.csv"
    file.write_text("\n".join([lines[0], ";".join(fields), *lines[2:]]) + "\n")
    return own_lake(training_metadata=str(file))


def _official_list(species: list[int], own_lake: OwnLake, survey: Path) -> Settings:
    file = Path(own_lake().lake).parent / "class_mapping.txt"
    file.write_text("".join(f"{one}\n" for one in species))
    return own_lake(class_mapping=str(file))


def _published(numbers: dict[str, int], own_lake: OwnLake, survey: Path) -> Settings:
    return own_lake(published=numbers)


def _one_observation_on_both_sides(table: pa.Table) -> pa.Table:
    tags = table.column("learn_tag").to_pylist()
    shared = table.column("obs_id")[tags.index("train")].as_py()
    return with_value(table, "obs_id", tags.index("val"), shared)


def _photograph_without_file(own_lake: OwnLake, survey: Path) -> Settings:
    file = Path(own_lake().lake).parent / "metadata.csv"
    file.write_bytes((survey / "metadata.csv").read_bytes())
    write_metadata(absent := file.with_name("absent.csv"), [metadata_row("absent.jpg", 1000001, "train", "1")])
    file.write_text(file.read_text() + absent.read_text().splitlines()[1] + "\n")
    settings = own_lake(training_metadata=str(file))
    assert materialize(settings, "training_metadata,class_map").success
    return settings


def _heavy_shard(table: pa.Table) -> pa.Table:
    heavy = pc.equal(table.column("shard"), "01")
    size = table.column("bytes")
    return with_column(table, "bytes", pc.if_else(heavy, pc.multiply(size, 10), size).combine_chunks())


def _species_never_embedded(asset: str, own_lake: OwnLake, survey: Path) -> Settings:
    def change(table: pa.Table) -> pa.Table:
        species = table.column("species_id")
        others = pc.if_else(pc.equal(species, 1000003), 1000001, species)
        return with_column(table, "species_id", others.combine_chunks())

    settings = own_lake()
    for shard in ("00", "01", "02"):
        rewrite(settings, Artifact(asset, shard), change)
    return settings


def _zero_vector(table: pa.Table) -> pa.Table:
    return with_value(table, "cls", 0, [0.0] * table.schema.field("cls").type.list_size)


def _first_two_swapped(table: pa.Table) -> pa.Table:
    first, second = table.column("probability").to_pylist()[:2]
    return with_value(with_value(table, "probability", 0, second), "probability", 1, first)


def _all_as_likely(table: pa.Table) -> pa.Table:
    return with_column(table, "probability", pa.array([1 / len(SPECIES)] * table.num_rows, pa.float32()))


def _plot_missing_in_csv(own_lake: OwnLake, survey: Path) -> Settings:
    """Let a file be invalid, and be vouched for by its table: one that is changed behind its back would be mended."""
    settings, artifact = own_lake(), Artifact("submission", FIRST["submission"])
    file = Path(settings.lake) / "submission" / f"{artifact.partition}.2024.csv"
    shorter = "".join(file.read_text().splitlines(keepends=True)[:-1]).encode()
    known = record_of(settings, artifact).figures[BESIDE]
    rewrite(settings, artifact, figures={BESIDE: known | publish_beside(Lake(settings.lake), {file: shorter})[BESIDE]})
    return settings


def _without(column: str) -> Change:
    return lambda table: table.drop_columns([column])


def _of_another_type(column: str) -> Change:
    return lambda table: with_column(table, column, table.column(column).cast(pa.int64()))


def _plot_twice(asset: str, own_lake: OwnLake, survey: Path) -> Settings:
    settings, artifact = own_lake(), Artifact(asset, FIRST[asset])
    rows = record_of(settings, artifact).figures["rows_in"] + 1
    rewrite(settings, artifact, _first_row_twice, figures={"rows_in": rows})
    return settings


def _first_row_twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)])


def _first_plot_lost(table: pa.Table) -> pa.Table:
    return table.filter(pc.not_equal(table.column("plot_id"), table.column("plot_id")[0]))


def _foreign_label(table: pa.Table) -> pa.Table:
    return with_value(table, "species_id", 0, 999)


_SCHEMA_DAMAGES = {
    "demo_survey": _without("bytes"),
    "training_metadata": _without("url"),
    "class_map": _without("genus"),
    "training_manifest": _without("organ"),
    "plot_manifest": _without("bytes"),
    "raw_images": _without("organ"),
    "resized_images": _without("organ"),
    "plot_images": _without("width"),
    "base_embeddings": _without("obs_id"),
    "finetuned_embeddings": _without("obs_id"),
    "base_tile_embeddings": _without("height"),
    "finetuned_tile_embeddings": _without("height"),
    "validation_plots": _without("width"),
    "base_validation_tile_embeddings": _without("height"),
    "finetuned_validation_tile_embeddings": _without("height"),
    "inbox_delivery": _without("bytes"),
    "inbox_plots": _without("width"),
    "base_inbox_tile_embeddings": _without("height"),
    "finetuned_inbox_tile_embeddings": _without("height"),
    "inbox_predictions": _of_another_type("height"),
    "inbox_cover": _without("genus"),
    "tile_predictions": _of_another_type("height"),
    "species_cover": _without("genus"),
    "submission": _without("run"),
    "leaderboard": _without("tiling"),
    "run_agreement": _without("plots"),
    "sweep": _without("plots"),
    "embedding_map": _without("held_out"),
}
_LABELLED = (
    "training_manifest",
    "raw_images",
    "resized_images",
    "base_embeddings",
    "finetuned_embeddings",
    *_PREDICTED,
    *_COVERED,
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
    DAMAGES[_asset, "rows_accounted"] = Damage(_row_lost(_asset), blocking=True)
    DAMAGES[_asset, "schema"] = Damage(_rows(_asset, _schema_damage), blocking=True)
    DAMAGES[_asset, "unique_keys"] = Damage(_rows(_asset, with_first_key_twice(TABLES[_asset].key)), blocking=True)
for _asset in (*_SCHEMA_DAMAGES, "base_backbone", "finetuned_backbone", "classifier"):
    # A leaderboard is not made from a submission that is out of date.
    _after = PROBE if _asset == "submission" else None
    DAMAGES[_asset, "up_to_date"] = Damage(_older(_asset), checks_alone=_asset not in FIRST, downstream=_after)
for _asset in _LABELLED:
    DAMAGES[_asset, "labels_in_class_map"] = Damage(_rows(_asset, _foreign_label), blocking=True)
for _asset in ("raw_images", "resized_images", "plot_images"):
    DAMAGES[_asset, "little_quarantined"] = Damage(_rows(_asset, _same, rows_in=1000, rows_out=980, quarantined=20))
for _backbone_name in ("base", "finetuned"):
    _asset = f"{_backbone_name}_backbone"
    _other_model = _backbone(_asset, lambda tensors: None, model="vit_base_patch14_dinov2")
    DAMAGES[_asset, "model_as_set"] = Damage(_other_model, blocking=True)
    DAMAGES[_asset, "weights_finite"] = Damage(_backbone(_asset, _with_nan), blocking=True)
    _asset = f"{_backbone_name}_embeddings"
    DAMAGES[_asset, "vectors_usable"] = Damage(_rows(_asset, _zero_vector), blocking=True)
    DAMAGES[_asset, "classes_covered"] = Damage(partial(_species_never_embedded, _asset), names="1000003")
    for _plots in ("", "validation_", "inbox_"):
        _asset = f"{_backbone_name}_{_plots}tile_embeddings"
        DAMAGES[_asset, "vectors_usable"] = Damage(_rows(_asset, _zero_vector), blocking=True)
        DAMAGES[_asset, "every_tile"] = Damage(_rows(_asset, without_last_row), blocking=True)

for _asset in _PREDICTED:
    DAMAGES[_asset, "probabilities_valid"] = Damage(
        _rows(_asset, lambda table: with_value(table, "probability", 0, 1.5)), blocking=True
    )
    DAMAGES[_asset, "probabilities_sorted"] = Damage(_rows(_asset, _first_two_swapped), blocking=True)
    DAMAGES[_asset, "confident_somewhere"] = Damage(_rows(_asset, _all_as_likely))
for _asset in _COVERED:
    DAMAGES[_asset, "unique_keys"] = Damage(_rows(_asset, _first_row_twice), blocking=True)
    DAMAGES[_asset, "every_plot"] = Damage(_rows(_asset, _first_plot_lost), blocking=True)
    DAMAGES[_asset, "cover_valid"] = Damage(
        _rows(_asset, lambda table: with_value(table, "coverage", 0, 1.5)), blocking=True
    )

DAMAGES |= {
    ("inbox_delivery", "delivered_once"): Damage(
        _rows("inbox_delivery", with_first_key_twice(("digest",))), blocking=True
    ),
    ("inbox_plots", "little_quarantined"): Damage(_rows("inbox_plots", _same, rows_in=2, rows_out=0, quarantined=2)),
    ("inbox_plots", "whole_delivery"): Damage(
        _rows("inbox_plots", _same, rows_in=3, rows_out=2, quarantined=1), blocking=True
    ),
    ("plot_images", "unique_keys"): Damage(partial(_plot_twice, "plot_images"), blocking=True),
    ("validation_plots", "unique_keys"): Damage(partial(_plot_twice, "validation_plots"), blocking=True),
    ("validation_plots", "labels_in_class_map"): Damage(_rows("validation_plots", _same, species=[999]), blocking=True),
    ("validation_plots", "truth_as_pasted"): Damage(
        _rows("validation_plots", lambda table: with_value(table, "species_ids", 0, [1000001])), blocking=True
    ),
    ("validation_plots", "held_out_photographs"): Damage(
        _rows("validation_plots", _same, not_held_out=1, first_not_held_out=["a.jpg"]), blocking=True
    ),
    ("validation_plots", "species_covered"): Damage(
        _rows("validation_plots", _same, held_out_species=[*SPECIES, 1000004]), names="1000004"
    ),
    ("training_metadata", "readable_numbers"): Damage(_unreadable_altitude),
    ("class_map", "contiguous_classes"): Damage(
        _rows("class_map", lambda table: with_value(table, "class_index", 2, 7)), blocking=True
    ),
    ("class_map", "classes_have_images"): Damage(partial(_official_list, [*SPECIES, 1000004])),
    ("class_map", "species_listed"): Damage(partial(_official_list, [*SPECIES][:2])),
    ("training_manifest", "no_shared_observation"): Damage(
        _rows("training_manifest", _one_observation_on_both_sides), blocking=True
    ),
    ("training_manifest", "photographs_found"): Damage(_photograph_without_file),
    ("training_manifest", "balanced_shards"): Damage(_rows("training_manifest", _heavy_shard)),
    ("training_metadata", "complete"): Damage(partial(_published, {"training_rows": 49})),
    ("training_manifest", "complete"): Damage(partial(_published, {"training_rows": 49})),
    ("plot_manifest", "complete"): Damage(partial(_published, {"plots": 5})),
    ("classifier", "better_than_majority"): Damage(_classifier(accuracy=0.2, majority_rate=0.33), blocking=True),
    ("classifier", "no_shared_observation"): Damage(
        _classifier(shared_observations=2, first_shared=["17", "18"]), blocking=True
    ),
    ("classifier", "stopped_early"): Damage(_classifier(best_epoch=15)),
    ("classifier", "calibrated"): Damage(_classifier(ece_uncalibrated=0.1, ece=0.13)),
    ("classifier", "every_species_a_class"): Damage(_classifier(species_without_class=2, first_without_class=[5, 6])),
    ("classifier", "head_covers_classes"): Damage(_classifier(uncovered=2, first_uncovered=[5, 6])),
    ("classifier", "labels_in_class_map"): Damage(_classifier(species=[*SPECIES, 999]), blocking=True),
    ("submission", "valid_submission"): Damage(_plot_missing_in_csv, blocking=True, names="base_cls_full.2024.csv"),
    ("submission", "species_per_plot"): Damage(_rows("submission", _same, species_per_plot=0.25)),
    ("submission", "prior_has_effect"): Damage(_rows("submission", _same, plots_changed=0, pairs_kept=1.0)),
    ("run_agreement", "agreement_valid"): Damage(
        _rows("run_agreement", lambda table: with_value(table, "jaccard", 0, 1.5)), blocking=True
    ),
    ("sweep", "scores_valid"): Damage(
        _rows("sweep", lambda table: with_value(table, "f1_plot", 0, 1.5)), blocking=True
    ),
    ("sweep", "choice_holds"): Damage(_rows("sweep", _same, chosen_f1_choose=0.9, chosen_f1_report=0.3)),
    ("leaderboard", "scores_valid"): Damage(
        _rows("leaderboard", lambda table: with_value(table, "f1_plot", 0, 1.5)), blocking=True
    ),
    ("finetuned_backbone", "finetuning_helped"): Damage(
        _backbone("finetuned_backbone", lambda tensors: None, best_epoch=0), checks_alone=True
    ),
    ("embedding_map", "finetuned_separates_better"): Damage(
        _rows("embedding_map", _same, separation_base=0.4, separation_finetuned=0.1)
    ),
}
