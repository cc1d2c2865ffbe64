"""Settings of models: several classifiers, presets, fine-tuning, and the part of them that provenance records."""

import dataclasses
from pathlib import Path

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.models.finetuning_config import FinetuningConfig
from plantclef_assets.models.training_config import TrainingConfig
from plantclef_assets.settings.runs import RunSettings, check_runs
from plantclef_assets.settings.training import ClassifierSettings, check_classifiers
from plantclef_assets_tests.cli.commands import PROJECT
from plantclef_assets_tests.settings.documentation import first_cells, toml_blocks
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


def test_several_classifiers_can_be_declared(with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text(CENTROID)
    settings = with_sources(with_variables, files, PROFILE="own.toml", CLASSIFIER__PATIENCE=3)
    assert settings.feature_sets == ("base_dct", "base_cls", "base_cls_centroid")
    assert list(settings.active_runs) == ["centroid_full"]
    assert settings.trained_by("base_cls").patience == 3
    centroid = settings.trained_by("base_cls_centroid").training_config(seed=1)
    assert (centroid.start, centroid.epochs, centroid.patience) == ("centroids", 0, 10), "nothing is inherited"
    with_finetuned = with_variables(FINETUNED_WEIGHTS="train")
    assert with_finetuned.feature_sets[2:] == (
        "finetuned_cls",
        "base_cls_centroid",
        "finetuned_cls_paper",
        "finetuned_head",
    )
    assert list(with_finetuned.active_runs) == ["centroid_full", "paper_full"]


def test_values_beside_a_preset_win(with_variables: Set) -> None:
    chosen = with_variables(CLASSIFIER='{"preset": "paper", "epochs": 3}').classifier
    config = chosen.training_config(seed=0)
    assert (config.epochs, config.min_images, config.stop_on) == (3, 100, "val")
    assert ClassifierSettings(**chosen.model_dump()) == chosen
    assert ClassifierSettings(learning_rate=0.1).training_config(seed=0).learning_rates == (0.1,)


def test_unset_values_of_a_classifier_are_not_in_its_provenance(with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text(CENTROID)
    settings = with_sources(with_variables, files, PROFILE="own.toml", FINETUNED_WEIGHTS="train")
    config = build_graph(settings).recipes["classifier"].config
    shares = {"validation_share": 0.2, "holdout_share": 0.1, "seed": 42}
    assert config("base_cls") == shares
    assert config("base_cls_centroid") == {"start": "centroids", "epochs": 0, **shares}
    paper = {"epochs": 10, "min_images": 100, "calibrate": False, "stop_on": "val", "validation_share": 0.2, "seed": 42}
    assert config("finetuned_cls_paper") == paper
    assert config("finetuned_head") == {}


def test_a_classifier_without_settings_has_the_default_configuration() -> None:
    assert ClassifierSettings().training_config(seed=42) == TrainingConfig()
    assert ClassifierSettings().model_dump() == {}


def test_every_option_of_a_classifier_is_a_setting_with_its_default() -> None:
    options = {field.name: field.default for field in dataclasses.fields(TrainingConfig) if field.name != "seed"}
    settings = {name: field.default for name, field in ClassifierSettings.model_fields.items()}
    assert settings == options | {"preset": None, "learning_rate": None, "validation_share": 0.2}


def test_the_classifiers_in_the_documentation_can_be_declared() -> None:
    text = (PROJECT / "docs" / "classifiers.md").read_text()
    (tables,) = toml_blocks(text)
    declared = {name: ClassifierSettings(**one) for name, one in tables["classifiers"].items()}
    check_runs({name: RunSettings(**run) for name, run in tables["runs"].items()}, check_classifiers(declared))
    assert len(declared) == 2
    options = set(first_cells(text, "| option |"))
    assert options == set(ClassifierSettings.model_fields) - {"validation_share"}


def test_fine_tuning_is_configured_by_variables_and_the_profile(with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text("[finetuning]\nepochs = 3\npaste = 0.8\n" + CENTROID)
    settings = with_sources(
        with_variables, files, PROFILE="own.toml", FINETUNING__PASTE="0.6", FINETUNING__BLOCKS="2"
    ).finetuning
    assert (settings.epochs, settings.paste, settings.blocks) == (3, 0.6, 2)
    config = FinetuningConfig(**dataclasses.asdict(settings), seed=7)
    assert config == FinetuningConfig(epochs=3, paste=0.6, blocks=2, seed=7)
    assert with_variables(FINETUNING__BLOCKS="none").finetuning.blocks is None
