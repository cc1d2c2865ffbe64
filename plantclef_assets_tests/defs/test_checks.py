"""What a check says of its findings, and in whose run they block."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import AssetCheckSeverity

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets_tests.defs.chain_runs import (
    evaluate_checks,
    evaluations,
    failed,
    materialize_with_downstream,
    metadata_of,
)
from plantclef_assets_tests.defs.lake_corruption import (
    OwnLake,
    record_of,
    restamp_classifier,
    rewrite,
    rewrite_backbone,
    with_column,
    with_value,
)
from plantclef_assets_tests.tiny import materialize, materialized


def test_a_failing_check_names_the_shard_and_the_first_rows(own_lake: OwnLake) -> None:
    settings, artifact = own_lake(), Artifact("base_embeddings", "01")
    names: list[str] = []

    def seven_without_numbers(table: pa.Table) -> pa.Table:
        names.extend(table.column("image_name").to_pylist()[:7])
        width = table.schema.field("cls").type.list_size
        for row in range(7):
            table = with_value(table, "cls", row, [float("nan")] * width)
        return table

    rewrite(settings, artifact, seven_without_numbers)
    result, _ = materialize_with_downstream(settings, "base_embeddings", partition="01")
    found = evaluations(result, "base_embeddings")["vectors_usable"]
    assert found.description == f"base_embeddings/01: 7 cls vectors are non-finite ({', '.join(names[:5])})"
    metadata = metadata_of(found)
    assert metadata["failed"] == "base_embeddings/01"
    assert metadata["artifacts_failed"] == 1
    assert "Delete the files" in metadata["to_mend"]


def test_a_finding_in_another_shard_only_warns(own_lake: OwnLake) -> None:
    settings = own_lake()
    rewrite(settings, Artifact("raw_images", "02"), lambda table: with_value(table, "species_id", 0, 999))
    result, after = materialize_with_downstream(settings, "raw_images", partition="00")
    found = evaluations(result, "raw_images")["labels_in_class_map"]
    assert (found.passed, found.severity) == (False, AssetCheckSeverity.WARN)
    assert found.description == "raw_images/02: 1 species are not in the class map (999)"
    assert "to_mend" not in found.metadata
    assert result.success
    assert after in materialized(result)
    blocked, after = materialize_with_downstream(settings, "raw_images", partition="02")
    assert not blocked.success
    assert after not in materialized(blocked)


def test_a_range_blocks_for_each_of_its_shards(own_lake: OwnLake) -> None:
    settings = own_lake()
    rewrite(settings, Artifact("raw_images", "01"), lambda table: with_value(table, "species_id", 0, 999))
    result = materialize(settings, "raw_images,resized_images", first="00", last="01")
    assert not result.success
    assert materialized(result) == {"raw_images"}


def test_checks_evaluated_alone_judge_all_shards_as_their_own(own_lake: OwnLake) -> None:
    settings = own_lake()
    rewrite(settings, Artifact("raw_images", "02"), lambda table: with_value(table, "species_id", 0, 999))
    found = evaluations(evaluate_checks(settings, "raw_images"), "raw_images")["labels_in_class_map"]
    assert found.severity == AssetCheckSeverity.ERROR


def test_missing_shards_are_counted(own_lake: OwnLake) -> None:
    settings = own_lake()
    for shard in ("01", "02"):
        Lake(settings.lake).path(Artifact("resized_images", shard)).unlink()
    result = evaluate_checks(settings, "resized_images")
    assert result.success
    for found in evaluations(result, "resized_images").values():
        assert (metadata_of(found)["artifacts_judged"], metadata_of(found)["artifacts_missing"]) == (1, 2)


def test_of_many_findings_five_are_told_and_the_rest_counted(own_lake: OwnLake) -> None:
    settings = own_lake()
    names = Lake(settings.lake).read(Artifact("training_metadata")).column("image_name").to_pylist()
    twice = pa.array([*names[:8], *names[:8], *names[16:]], pa.string())
    rewrite(settings, Artifact("training_metadata"), lambda table: with_column(table, "image_name", twice))
    result, _ = materialize_with_downstream(settings, "training_metadata")
    text = evaluations(result, "training_metadata")["unique_keys"].description
    assert text
    assert text.endswith(" … and 3 more")
    assert [name for name in names if name in text] == names[:5]


def test_a_key_that_two_shards_have_is_found(own_lake: OwnLake) -> None:
    settings = own_lake()
    name = Lake(settings.lake).read(Artifact("raw_images", "00")).column("image_name")[0].as_py()
    rewrite(settings, Artifact("raw_images", "01"), lambda table: with_value(table, "image_name", 3, name))
    result, after = materialize_with_downstream(settings, "raw_images", partition="01")
    found = evaluations(result, "raw_images")["unique_keys"]
    assert found.description == f"raw_images/01: image_name {name} occurs 2 times"
    assert after not in materialized(result)


@pytest.mark.parametrize(
    ("value", "kind"), [(float("nan"), "non-finite"), (float("inf"), "non-finite"), (0.0, "zero"), (0.5, "constant")]
)
def test_vectors_that_say_nothing_are_found(value: float, kind: str, own_lake: OwnLake) -> None:
    settings = own_lake()
    rewrite(settings, Artifact("base_tile_embeddings", "00"), lambda table: with_value(table, "dct", 1, [value] * 64))
    found = evaluations(evaluate_checks(settings, "base_tile_embeddings"), "base_tile_embeddings")["vectors_usable"]
    assert f"1 dct vectors are {kind} (PLOT-" in str(found.description)


def test_vectors_of_two_widths_are_found(own_lake: OwnLake) -> None:
    settings = own_lake()

    def narrower(table: pa.Table) -> pa.Table:
        rows = [row[:8] for row in table.column("cls").to_pylist()]
        return with_column(table, "cls", pa.array(rows, pa.list_(pa.float32(), 8)))

    rewrite(settings, Artifact("base_embeddings", "01"), narrower)
    result = evaluate_checks(settings, "base_embeddings")
    assert failed(result, "base_embeddings") == {"vectors_usable"}
    text = evaluations(result, "base_embeddings")["vectors_usable"].description
    assert str(text).startswith("base_embeddings/01: cls is 8 wide, but ")


def test_a_required_column_that_may_hold_nulls_is_a_finding_of_the_schema(own_lake: OwnLake) -> None:
    settings, artifact = own_lake(), Artifact("raw_images", "00")
    path = Lake(settings.lake).path(artifact)
    table = pq.read_table(path)
    position = table.schema.get_field_index("species_id")
    nullable = table.schema.set(position, table.schema.field(position).with_nullable(True))
    footer = pq.read_metadata(path).metadata
    pq.write_table(table.cast(nullable).replace_schema_metadata(footer), path)
    result, after = materialize_with_downstream(settings, "raw_images")
    assert failed(result, "raw_images") == {"schema"}
    text = evaluations(result, "raw_images")["schema"].description
    assert text == "raw_images/00: column species_id may hold nulls"
    assert after not in materialized(result)


def test_a_table_that_does_not_say_how_many_rows_went_in_is_not_accounted_for(own_lake: OwnLake) -> None:
    settings, artifact = own_lake(), Artifact("plot_images", "00")
    rewrite(settings, artifact, figures={"rows_in": None})
    result, after = materialize_with_downstream(settings, "plot_images")
    text = evaluations(result, "plot_images")["rows_accounted"].description
    assert text == "plot_images/00 does not say how many rows went in"
    assert after not in materialized(result)


@pytest.mark.parametrize(
    ("asset", "partition", "column"),
    [
        ("class_map", None, "class_index"),
        ("training_manifest", None, "obs_id"),
        ("training_manifest", None, "bytes"),
        ("resized_images", "00", "data"),
        ("tile_predictions", "00", "height"),
        ("species_cover", "00", "plot_id"),
        ("species_cover", "00", "positions"),
        ("submission", "base_cls_full", "species_ids"),
        ("leaderboard", None, "f1_plot"),
    ],
)
def test_a_missing_column_is_named_even_if_others_need_it(
    asset: str, partition: str | None, column: str, own_lake: OwnLake
) -> None:
    settings = own_lake()
    rewrite(settings, Artifact(asset, partition), lambda table: table.drop_columns([column]))
    result, after = materialize_with_downstream(settings, asset)
    found = evaluations(result, asset)
    assert "schema" in found, "a column that is missing is no reason to end before it is judged"
    assert f"column {column} is missing" in str(found["schema"].description)
    assert len(found) == len(build_checks_of(asset)), "every check gives its verdict"
    assert after not in materialized(result)


def build_checks_of(asset: str) -> set[str]:
    """Give the names of the checks that an asset has."""
    from plantclef_assets_tests.defs.corruption_cases import CORRUPTIONS

    return {check for name, check in CORRUPTIONS if name == asset}


def test_a_source_that_changed_is_named_by_up_to_date(own_lake: OwnLake, tiny_survey: Path) -> None:
    settings = own_lake()
    changed = Path(settings.lake).parent / "changed.csv"
    changed.write_text((tiny_survey / "metadata.csv").read_text().replace("Planta", "Herba"))
    result = evaluate_checks(own_lake(training_metadata=str(changed)), "training_metadata")
    found = evaluations(result, "training_metadata")["up_to_date"]
    assert (found.passed, found.severity) == (False, AssetCheckSeverity.WARN)
    assert str(found.description).startswith("training_metadata was made with training_metadata '")
    assert " instead of '" in str(found.description)


@pytest.mark.parametrize(
    ("base", "finetuned", "finding"),
    [
        (0.1, 0.4, None),
        (-0.2, -0.1, None),
        (None, None, None),
        (0.4, 0.1, "embedding_map: separation 0.100 after fine-tuning, 0.400 before it"),
        (0.4, 0.4, "embedding_map: separation 0.400 after fine-tuning, 0.400 before it"),
    ],
)
def test_fine_tuning_that_does_not_separate_better_is_a_warning(
    base: float | None, finetuned: float | None, finding: str | None, own_finetuned_lake: OwnLake
) -> None:
    settings = own_finetuned_lake()
    figures = {"separation_base": base, "separation_finetuned": finetuned}
    rewrite(settings, Artifact("embedding_map"), figures=figures)
    found = evaluations(evaluate_checks(settings, "embedding_map"), "embedding_map")["finetuned_separates_better"]
    assert found.description == finding
    assert found.passed is (finding is None)
    assert found.severity == AssetCheckSeverity.WARN


@pytest.mark.parametrize(("best_epoch", "helped"), [(0, False), (1, True), (8, True)])
def test_fine_tuning_helped_where_an_epoch_of_the_backbone_was_kept(
    own_finetuned_lake: OwnLake, best_epoch: int, helped: bool
) -> None:
    settings = own_finetuned_lake()
    rewrite_backbone(settings, "finetuned_backbone", figures={"best_epoch": best_epoch})
    found = evaluations(evaluate_checks(settings, "finetuned_backbone"), "finetuned_backbone")["finetuning_helped"]
    assert found.passed is helped
    assert found.severity == AssetCheckSeverity.WARN


def test_figures_are_judged_by_the_record_and_not_remembered(own_lake: OwnLake) -> None:
    settings, artifact = own_lake(), Artifact("raw_images", "00")
    rows = record_of(settings, artifact).statistics["rows_in"]
    rewrite(settings, artifact, figures={"rows_in": rows + 1})
    assert failed(evaluate_checks(settings, "raw_images"), "raw_images") == {"rows_accounted"}
    rewrite(settings, artifact, figures={"rows_in": rows})
    assert not failed(evaluate_checks(settings, "raw_images"), "raw_images")


@pytest.mark.parametrize(
    ("check", "figures", "finding"),
    [
        ("stopped_early", {"best_epoch": 0, "epochs_at_most": 0}, None),
        ("stopped_early", {"best_epoch": 7, "epochs_at_most": 7}, "the last of 7 epochs is the best; more may help"),
        ("calibrated", {"ece": 0.119, "ece_uncalibrated": 0.1}, None),
        ("calibrated", {"ece": 0.3, "ece_uncalibrated": None, "calibration": "off"}, None),
        ("calibrated", {"calibration": "impossible"}, "no photograph could be held out"),
        ("every_species_a_class", {"species_without_class": 0}, None),
        (
            "every_species_a_class",
            {"species_without_class": 3009, "first_without_class": [4, 5]},
            "can never predict 3009 species that have training photographs (4, 5)",
        ),
    ],
)
def test_a_classifier_is_judged_by_its_own_figures(
    check: str, figures: dict[str, Any], finding: str | None, own_lake: OwnLake
) -> None:
    settings = own_lake()
    for feature_set in ("base_cls", "base_dct"):
        quiet = {"best_epoch": 1, "ece": 0.1, "ece_uncalibrated": 0.1, "calibration": "fitted"}
        restamp_classifier(settings, feature_set, figures=quiet)
    restamp_classifier(settings, "base_dct", figures=figures)
    found = evaluations(evaluate_checks(settings, "classifier"), "classifier")[check]
    assert found.passed is (finding is None)
    if finding is not None:
        assert str(found.description).startswith("classifier/base_dct")
        assert finding in str(found.description)
