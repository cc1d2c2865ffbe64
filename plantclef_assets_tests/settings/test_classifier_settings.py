"""Settings of classifiers: several side by side, presets, and what of them enters the provenance."""

from pathlib import Path

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.settings.tables import ClassifierSettings
from plantclef_assets_tests.settings.fixtures import Set, with_sources

CENTROID = """
[classifiers.base_cls_centroid]
start = "centroids"
epochs = 0
[classifiers.finetuned_cls_paper]
preset = "paper"
[runs]
centroid_full = { feature_set = "base_cls_centroid" }
paper_full = { feature_set = "finetuned_cls_paper" }
"""


def test_several_classifiers_stand_side_by_side(with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text(CENTROID)
    settings = with_sources(with_variables, files, PROFILE="own.toml", CLASSIFIER__PATIENCE=3)
    assert settings.feature_sets == ("base_dct", "base_cls", "base_cls_centroid")
    assert list(settings.active_runs) == ["centroid_full"]
    assert settings.trained_by("base_cls").patience == 3
    centroid = settings.trained_by("base_cls_centroid").training_config(seed=1)
    assert (centroid.start, centroid.epochs, centroid.patience) == ("centroids", 0, 10), "each table is all there is"
    with_finetuned = with_variables(FINETUNED_WEIGHTS="train")
    assert with_finetuned.feature_sets[2:] == (
        "finetuned_cls",
        "base_cls_centroid",
        "finetuned_cls_paper",
        "finetuned_head",
    )
    assert list(with_finetuned.active_runs) == ["centroid_full", "paper_full"]


def test_what_is_said_beside_a_preset_wins(with_variables: Set) -> None:
    chosen = with_variables(CLASSIFIER='{"preset": "paper", "epochs": 3}').classifier
    config = chosen.training_config(seed=0)
    assert (config.epochs, config.min_images, config.stop_on) == (3, 100, "val")
    assert ClassifierSettings(**chosen.model_dump()) == chosen
    assert ClassifierSettings(learning_rate=0.1).training_config(seed=0).learning_rates == (0.1,)


def test_what_a_classifier_does_not_set_is_no_part_of_its_provenance(with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text(CENTROID)
    settings = with_sources(with_variables, files, PROFILE="own.toml", FINETUNED_WEIGHTS="train")
    config = build_graph(settings).recipes["classifier"].config
    shares = {"validation_share": 0.2, "holdout_share": 0.1, "seed": 42}
    assert config("base_cls") == shares
    assert config("base_cls_centroid") == {"start": "centroids", "epochs": 0, **shares}
    paper = {"epochs": 10, "min_images": 100, "calibrate": False, "stop_on": "val", "validation_share": 0.2, "seed": 42}
    assert config("finetuned_cls_paper") == paper
    assert config("finetuned_head") == {}
