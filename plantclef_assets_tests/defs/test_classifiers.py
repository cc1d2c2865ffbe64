"""The classifiers as assets: what they say of themselves, several side by side, and runs that use them."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from dagster import DagsterInstance

from plantclef_assets.ingest.validation_split import split_rows, split_sides
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.classifier_files import read_classifier
from plantclef_assets.models.feature_sets import feature_set
from plantclef_assets.models.features import read_features
from plantclef_assets.models.finetuning_config import FinetuningConfig, split_holdout
from plantclef_assets.models.shuffled_photographs import open_photographs
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.test_materialization import materialization_metadata
from plantclef_assets_tests.tiny import SPECIES, failed_checks, materialize

OwnLake = Callable[..., Settings]
VARIANTS = {
    "base_cls_centroid": {"start": "centroids", "epochs": 0},
    "base_cls_two_layers": {"hidden": 8, "epochs": 3, "learning_rates": [0.002, 0.01]},
    "base_cls_paper": {"preset": "paper", "min_images": 1},
}


def classifier_file(settings: Settings, name: str) -> Path:
    return Lake(settings.lake).path(Artifact("classifier", name, "safetensors"))


def test_several_classifiers_are_made_from_one_feature_set(own_lake: OwnLake) -> None:
    settings = own_lake(classifiers=VARIANTS)
    before = classifier_file(settings, "base_cls").stat().st_mtime_ns
    with DagsterInstance.ephemeral() as instance:
        result = materialize(settings, "classifier", first="base_cls", last="base_cls_paper", instance=instance)
        shown = materialization_metadata(instance, "classifier")
    assert set(shown) == {"base_cls", *VARIANTS}
    assert classifier_file(settings, "base_cls").stat().st_mtime_ns == before, "its own table has not changed"
    for name in VARIANTS:
        assert read_classifier(classifier_file(settings, name)).species_ids.tolist() == sorted(SPECIES)
        assert {"accuracy", "macro_f1", "ece", "majority_rate"} <= set(shown[name])
    curves = "Nothing was trained: the closed form 'centroids' is the classifier."
    assert shown["base_cls_centroid"]["learning_curves"] == curves
    assert "data:image/png;base64," in shown["base_cls_two_layers"]["learning_curves"]
    assert shown["base_cls_two_layers"]["learning_rate"] in (0.002, 0.01)
    assert shown["base_cls_centroid"]["temperature"] > 0
    assert (shown["base_cls_paper"]["decided_by"], shown["base_cls_paper"]["holdout_rows"]) == ("val", 0)
    assert result.success or {check for _, check in failed_checks(result)} >= {"better_than_majority"}


def test_a_run_names_one_of_several_classifiers(own_lake: OwnLake) -> None:
    plain = own_lake()
    runs = {name: run.model_dump() for name, run in plain.runs.items()}
    settings = own_lake(
        classifiers={"base_cls_lda": {"start": "lda", "epochs": 0}},
        runs=runs | {"lda_2x2": {"feature_set": "base_cls_lda", "tiling": "2x2"}},
    )
    assert materialize(settings, "classifier", first="base_cls_lda").success
    assert materialize(settings, "tile_predictions", first="00", last="01").success
    assert materialize(settings, "submission", first="lda_2x2").success
    predicted = Lake(settings.lake).read(Artifact("tile_predictions", "00")).to_pylist()
    assert {row["feature_set"] for row in predicted} == {"base_cls", "base_dct", "base_cls_lda"}
    answers = Lake(settings.lake).read(Artifact("submission", "lda_2x2"))
    assert answers.num_rows == 4


def test_classifiers_and_fine_tuning_set_the_same_photographs_aside(finetuned_lake: Settings) -> None:
    lake, shards = Lake(finetuned_lake.lake), shard_keys(finetuned_lake.training_shards)
    config = FinetuningConfig(**asdict(finetuned_lake.finetuning), seed=finetuned_lake.seed)
    with open_photographs(lake, [Artifact("resized_images", shard) for shard in shards]) as photographs:
        train, _ = split_rows(photographs.learn_tag, photographs.obs_id, seed=config.seed)
        _, held = split_holdout(photographs, train, config)
        names = {photographs.obs_id[row] for row in held}
    for name in ("base_cls", "finetuned_cls"):
        features = feature_set(name)
        embeddings = [Artifact(f"{features.backbone}_embeddings", shard) for shard in shards]
        matrix = read_features(lake, embeddings, features.column)
        sides = split_sides(
            matrix.learn_tag,
            matrix.obs_id,
            matrix.species_id,
            validation_share=0.2,
            holdout_share=config.holdout_share,
            seed=config.seed,
        )
        assert {matrix.obs_id[row] for row in sides.holdout.nonzero()[0]} == names
        record = lake.record(Artifact("classifier", name, "safetensors"))
        assert record is not None
        assert record.statistics["holdout_rows"] == len(names) > 0
