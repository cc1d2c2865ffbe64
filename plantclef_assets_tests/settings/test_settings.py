"""Settings: every variable of the contract, and properties that follow from several settings."""

from pathlib import Path

import pytest

from plantclef_assets.defs.naming import backbones
from plantclef_assets.ingest.locations import PACKAGE_FOLDER
from plantclef_assets.settings import load_settings
from plantclef_assets.settings.runs import RunSettings
from plantclef_assets_tests.settings.fixtures import Set, refusal, with_sources


def test_nothing_needs_to_be_set_for_the_demo(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLANTCLEF_LAKE")
    settings = load_settings()
    assert (settings.profile, settings.image_size, settings.engine) == ("demo", 128, "local")
    assert (settings.training_shards, settings.plot_shards) == (4, 2)
    assert (settings.device, settings.precision, settings.spark_master) == ("auto", "auto", "local[*]")
    assert settings.workers >= 1
    assert settings.shards_per_run is None
    assert settings.uses_demo_survey
    assert settings.has_plots
    checkout = PACKAGE_FOLDER.parent
    beside = checkout if (checkout / "pyproject.toml").exists() else Path.cwd()
    assert Path(settings.lake) == beside / "lake", "in the working folder for an installed wheel"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PROFILE", "own.toml", "own.toml"),
        ("LAKE", "{here}/other", "{here}/other"),
        ("TRAINING_METADATA", "{here}/metadata.csv", "{here}/metadata.csv"),
        ("TRAINING_METADATA", "gs://bucket/metadata.csv", "gs://bucket/metadata.csv"),
        ("TRAINING_METADATA", "https://example.org/metadata.csv", "https://example.org/metadata.csv"),
        ("TRAINING_IMAGES", "{here}/images", "{here}/images"),
        ("TRAINING_IMAGES", "{here}/images.tar", "{here}/images.tar"),
        ("TRAINING_IMAGES", "{here}/images.tar.gz", "{here}/images.tar.gz"),
        ("TRAINING_IMAGES", "gs://bucket/images", "gs://bucket/images"),
        ("TRAINING_IMAGES", "https://example.org/images.TGZ", "https://example.org/images.TGZ"),
        ("PLOT_IMAGES", "gs://bucket", "gs://bucket"),
        ("PLOT_IMAGES", "{here}/plots", "{here}/plots"),
        ("PLOT_TRUTH", "{here}/truth.csv", "{here}/truth.csv"),
        ("CLASS_MAPPING", "{here}/classes.txt", "{here}/classes.txt"),
        ("SPECIES_NAMES", "{here}/names.txt", "{here}/names.txt"),
        ("TRAINING_SHARDS", "512", 512),
        ("PLOT_SHARDS", "16", 16),
        ("IMAGE_SIZE", "224", 224),
        ("BASE_MODEL", "vit_small_patch14_dinov2", "vit_small_patch14_dinov2"),
        ("BASE_WEIGHTS", "hub", "hub"),
        ("BASE_WEIGHTS", "{here}/weights.safetensors", "{here}/weights.safetensors"),
        ("BASE_WEIGHTS", "gs://bucket/weights.pth", "gs://bucket/weights.pth"),
        ("BASE_INPUT_SIZE", "224", 224),
        ("FINETUNED_MODEL", "vit_base_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2"),
        ("FINETUNED_INPUT_SIZE", "518", 518),
        ("DEVICE", "cuda", "cuda"),
        ("PRECISION", "bf16", "bf16"),
        ("ENGINE", "spark", "spark"),
        ("WORKERS", "3", 3),
        ("SPARK_MASTER", "spark://host:7077", "spark://host:7077"),
        ("SPARK_REMOTE", "sc://host:15002", "sc://host:15002"),
        ("SPARK_CONFIG", '{"spark.task.cpus": "2"}', {"spark.task.cpus": "2"}),
        ("SHARDS_PER_RUN", "8", 8),
        ("SCHEDULE", "0 3 * * *", "0 3 * * *"),
        ("SCHEDULE_TIMEZONE", "Europe/Paris", "Europe/Paris"),
        ("CACHE", "{here}/kept", "{here}/kept"),
        ("REPLACE_SOURCES", "1", True),
        ("LICENSES", '["cc-by", "cc0"]', ("cc-by", "cc0")),
    ],
)
def test_every_variable_of_the_contract_is_read(
    variable: str, value: str, expected: object, with_variables: Set, files: Path
) -> None:
    given = {variable: value.replace("{here}", str(files))}
    with_own = variable in ("PROFILE", "TRAINING_METADATA", "TRAINING_IMAGES", "PLOT_IMAGES", "PLOT_TRUTH")
    settings = with_sources(with_variables, files, **given) if with_own else with_variables(**given)
    if isinstance(expected, str):
        expected = expected.format(here=files)
    assert getattr(settings, variable.lower()) == expected


def test_finetuned_weights_add_a_backbone(with_variables: Set, files: Path) -> None:
    settings = with_variables(
        FINETUNED_MODEL="vit_base_patch14_reg4_dinov2", FINETUNED_WEIGHTS=files / "weights.safetensors"
    )
    assert settings.backbones == ("base", "finetuned")
    assert settings.feature_sets == ("base_dct", "base_cls", "finetuned_cls")


def test_paths_may_be_relative_or_in_the_home_folder(
    with_variables: Set, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(files))
    settings = with_sources(
        with_variables, files, TRAINING_METADATA="metadata.csv", TRAINING_IMAGES="~/images", LAKE="here/lake"
    )
    assert settings.training_metadata == str(files / "metadata.csv")
    assert settings.training_images == str(files / "images")
    assert settings.lake == str(files / "here" / "lake")


def test_a_lake_may_be_in_a_bucket_and_its_local_files_are_in_the_cache(with_variables: Set, files: Path) -> None:
    settings = with_variables(LAKE="gs://my-bucket/some/lake/", CACHE=str(files / "cache"))
    assert settings.lake == "gs://my-bucket/some/lake", "whether the bucket exists is not checked before it is used"
    assert settings.resolve("demo:plots") == str(files / "cache/buckets/my-bucket/some/lake/demo_survey/plots")


def test_an_empty_variable_is_ignored(with_variables: Set) -> None:
    assert with_variables(PLOT_TRUTH="", TRAINING_SHARDS="").training_shards == 4


def test_a_run_takes_the_parameters_of_its_aggregation(with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text(
        "[runs]\n"
        "a = { feature_set = 'base_cls', aggregation = 'bisection', mean_species_per_plot = 2.5, scored_by = 'mean' }\n"
        "b = { feature_set = 'base_cls', aggregation = 'topk_union', top_per_tile = 1, min_score = 0.1, "
        "revisits = 'vote' }"
    )
    runs = with_sources(with_variables, files, PROFILE="own.toml").active_runs
    assert runs["a"].rule.parameters == {"mean_species_per_plot": 2.5, "scored_by": "mean"}
    assert runs["b"].rule.parameters == {"min_score": 0.1, "top_per_tile": 1}
    assert (runs["a"].revisits, runs["b"].revisits) == (None, "vote")


def test_unset_parameters_of_a_run_are_not_in_its_provenance() -> None:
    plain = RunSettings(feature_set="base_cls")
    names = ("feature_set", "tiling", "aggregation", "species_per_plot")
    assert plain.model_dump() == dict(zip(names, ("base_cls", "full", "argmax_union", None), strict=True))
    voted = RunSettings(feature_set="base_cls", aggregation="vote", min_votes=2)
    assert voted.model_dump() == plain.model_dump() | {"aggregation": "vote", "min_votes": 2}


def test_a_run_cannot_use_more_species_of_a_tile_than_are_kept(with_variables: Set, files: Path) -> None:
    run = '{"a": {"feature_set": "base_cls", "aggregation": "topk_union", "top_per_tile": 6}}'
    assert with_variables(RUNS=run, TOP_K=6).runs["a"].top_per_tile == 6
    over_all = run.replace('"top_per_tile"', '"prior": "frequency", "top_per_tile"')
    assert with_variables(RUNS=over_all, TOP_K=5).runs["a"].needs_all_classes
    (sentence,) = refusal(lambda: with_variables(RUNS=run, TOP_K=5))
    assert sentence == "PLANTCLEF_TOP_K: 5 species are kept of each tile, but the run 'a' uses the best 6."


def test_single_values_of_a_table_can_be_set(with_variables: Set) -> None:
    settings = with_variables(CLASSIFIER__EPOCHS=3, VALIDATION__PLOTS=0)
    assert (settings.classifier.epochs, settings.classifier.batch_size) == (3, 32)
    assert not settings.composes_plots


def test_fine_tuning_needs_photographs_but_no_model_name(with_variables: Set, files: Path) -> None:
    settings = with_variables(FINETUNED_WEIGHTS="train", FINETUNING__EPOCHS=3)
    assert settings.feature_sets == ("base_dct", "base_cls", "finetuned_cls", "finetuned_head")
    base, finetuned = backbones(settings)
    of_both = [(one.model, one.weights, one.input_size) for one in (base, finetuned)]
    assert of_both[0] == of_both[1]
    assert finetuned.tile_size == settings.image_size
    assert settings.finetuning.epochs == 3
    (sentence,) = refusal(
        lambda: with_variables(PROFILE="plantclef2024", FINETUNED_WEIGHTS="train", PLOT_IMAGES=files / "plots")
    )
    assert sentence == "PLANTCLEF_FINETUNED_WEIGHTS: 'train' needs training photographs, and none are set."


def test_a_survey_is_optional(with_variables: Set, files: Path) -> None:
    settings = with_variables(
        PROFILE="plantclef2024", TRAINING_METADATA=files / "metadata.csv", TRAINING_IMAGES=files / "images"
    )
    assert not settings.has_plots
    assert settings.plot_truth is None
