"""Settings: every variable of the contract, and one sentence for each that cannot be used."""

import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.profile_tables import ClassifierSettings, RunSettings
from plantclef_assets.recipes import backbone_settings, build_recipes, tile_size, tilings_of
from plantclef_assets.refusals import SettingsError
from plantclef_assets.settings import Settings, load_download_settings, load_settings
from plantclef_assets_tests.tiny import PROFILE

PACKAGED = ("demo", "plantclef2024", "plantclef2025")
PLOTS = {"plantclef2024": 1695, "plantclef2025": 2105}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file and a folder of each kind that settings can name; the lake goes there too."""
    for name in ("metadata.csv", "truth.csv", "classes.txt", "names.txt", "weights.safetensors"):
        (tmp_path / name).write_text("x")
    for name, mode in (("images.tar", "w"), ("images.tar.gz", "w:gz")):
        tarfile.open(tmp_path / name, mode).close()
    for name in ("images", "plots"):
        (tmp_path / name).mkdir()
    (tmp_path / "own.toml").write_text(PROFILE + "base_dct_full = { feature_set = 'base_dct' }\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLANTCLEF_LAKE", str(tmp_path / "lake"))
    return tmp_path


Set = Callable[..., Settings]


@pytest.fixture
def with_variables(files: Path, monkeypatch: pytest.MonkeyPatch) -> Set:
    """Load the settings from variables, given without their prefix."""

    def load(**variables: object) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(f"PLANTCLEF_{name}", str(value))
        return load_settings()

    return load


def refusal(load: Callable[[], object]) -> list[str]:
    """Give the sentences with which settings are refused; each is of one line and begins with its variable."""
    with pytest.raises(SettingsError) as caught:
        load()
    sentences = str(caught.value).splitlines()
    for sentence in sentences:
        assert re.match(r"PLANTCLEF_[A-Z0-9_]+: .+\.$", sentence), sentence
    return sentences


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
    project = Path(__file__).parents[1]
    assert Path(settings.lake) == project / "lake", "beside pyproject.toml, wherever one stands"


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
        ("LICENSES", '["cc-by", "cc0"]', ("cc-by", "cc0")),
    ],
)
def test_every_variable_of_the_contract_is_taken(
    variable: str, value: str, expected: object, with_variables: Set, files: Path
) -> None:
    if variable == "PROFILE":
        with_sources(with_variables, files)
    settings = with_variables(**{variable: value.replace("{here}", str(files))})
    if isinstance(expected, str):
        expected = expected.format(here=files)
    assert getattr(settings, variable.lower()) == expected


def with_sources(with_variables: Set, files: Path, **more: object) -> Settings:
    """Load settings whose sources are one's own."""
    return with_variables(
        TRAINING_METADATA=files / "metadata.csv", TRAINING_IMAGES=files / "images", PLOT_IMAGES=files / "plots", **more
    )


def test_finetuned_weights_bring_their_side_of_the_graph(with_variables: Set, files: Path) -> None:
    settings = with_variables(
        FINETUNED_MODEL="vit_base_patch14_reg4_dinov2", FINETUNED_WEIGHTS=files / "weights.safetensors"
    )
    assert settings.backbones == ("base", "finetuned")
    assert settings.feature_sets == ("base_dct", "base_cls", "finetuned_cls")


def test_paths_may_be_relative_and_of_ones_home(
    with_variables: Set, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(files))
    settings = with_variables(TRAINING_METADATA="metadata.csv", TRAINING_IMAGES="~/images", LAKE="here/lake")
    assert settings.training_metadata == str(files / "metadata.csv")
    assert settings.training_images == str(files / "images")
    assert settings.lake == str(files / "here" / "lake")


def test_a_lake_may_be_in_a_bucket_and_its_local_files_are_in_the_cache(with_variables: Set, files: Path) -> None:
    settings = with_variables(LAKE="gs://my-bucket/some/lake/", CACHE=str(files / "cache"))
    assert settings.lake == "gs://my-bucket/some/lake", "nobody asks whether there is one before it is used"
    assert settings.resolve("demo:plots") == str(files / "cache/buckets/my-bucket/some/lake/demo_survey/plots")


def test_an_empty_variable_is_as_good_as_none(with_variables: Set) -> None:
    assert with_variables(PLOT_TRUTH="", TRAINING_SHARDS="").training_shards == 4


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LAKE", "s3://bucket/lake", "'s3://bucket/lake' is neither a folder nor an address like gs://"),
        ("LAKE", "gs://Bucket/lake", "'gs://Bucket/lake' is neither a folder nor"),
        ("LAKE", "gs://bucket/a/../lake", "'gs://bucket/a/../lake' is neither a folder nor"),
        ("LAKE", "gs://bucket//lake", "'gs://bucket//lake' is neither a folder nor"),
        ("CACHE", "gs://bucket/cache", "a local folder is needed"),
        ("BASE_WEIGHTS", "train", "'train' is for PLANTCLEF_FINETUNED_WEIGHTS"),
    ],
)
def test_what_is_not_available_yet_is_said_in_one_sentence(
    variable: str, value: str, said: str, with_variables: Set, files: Path
) -> None:
    (sentence,) = refusal(lambda: with_variables(**{variable: value.format(here=files)}))
    assert sentence.startswith(f"PLANTCLEF_{variable}: ")
    assert said in sentence


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PROFILE", "plantclef1999", "no profile 'plantclef1999'; use one of demo, plantclef2024, plantclef2025"),
        ("PROFILE", "{here}/absent.toml", "no profile '"),
        ("TRAINING_METADATA", "{here}/absent.csv", "there is no file '"),
        ("TRAINING_METADATA", "{here}/images", "there is no file '"),
        ("TRAINING_IMAGES", "{here}/absent", "there is no folder or archive '"),
        ("TRAINING_IMAGES", "{here}/metadata.csv", "is a file, but no tar archive; give a tar, or the folder"),
        ("TRAINING_IMAGES", "https://example.org/images/", "does not end with the name of a file"),
        ("TRAINING_IMAGES", "https://example.org/images", "does not end with the name of a tar archive"),
        ("TRAINING_IMAGES", "https://example.org/images.tar#sha256=12", "'12' is no sha256"),
        ("TRAINING_IMAGES", "s3://bucket/images", "is an address of a kind that cannot be read; use a path, gs://"),
        ("TRAINING_IMAGES", "gs://", "names no bucket"),
        ("TRAINING_IMAGES", "published", "'published' is of no use here, since the profile knows no published"),
        ("TRAINING_METADATA", "https://example.org", "does not end with the name of a file"),
        ("TRAINING_METADATA", "gs://bucket/", "names no object; gs://bucket/name is the form"),
        ("PLOT_IMAGES", "{here}/absent", "there is no folder or archive '"),
        ("CACHE", "{here}/metadata.csv", "cannot write to '"),
        ("LICENSES", "cc-by", "its value is no JSON"),
        ("PLOT_TRUTH", "{here}/absent.csv", "there is no file '"),
        ("CLASS_MAPPING", "{here}/absent.txt", "there is no file '"),
        ("SPECIES_NAMES", "{here}/absent.txt", "there is no file '"),
        ("BASE_WEIGHTS", "{here}/absent.pth", "there is no file '"),
        ("LAKE", "{here}/metadata.csv", "cannot write to '"),
        ("LAKE", "{here}/metadata.csv/lake", "cannot write to '"),
        ("TRAINING_SHARDS", "0", "greater than or equal to 1, not '0'"),
        ("TRAINING_SHARDS", "100000", "less than or equal to 99999"),
        ("PLOT_SHARDS", "many", "valid integer"),
        ("IMAGE_SIZE", "-128", "greater than or equal to 16, not '-128'"),
        ("BASE_INPUT_SIZE", "224.5", "valid integer"),
        ("DEVICE", "gpu", "'auto', 'cpu', 'cuda' or 'mps', not 'gpu'"),
        ("PRECISION", "int8", "'bf16' or 'fp16', not 'int8'"),
        ("ENGINE", "ray", "'local' or 'spark', not 'ray'"),
        (
            "SPARK_MASTER",
            "http://host:7077",
            "'http://host:7077' is no address of a master; say local[*], spark://host",
        ),
        ("SPARK_REMOTE", "spark://host:7077", "is no address of a Spark Connect server; say sc://host:port"),
        ("WORKERS", "0", "greater than 0, not '0'"),
        ("SHARDS_PER_RUN", "0", "greater than 0, not '0'"),
        ("SCHEDULE", "nightly", "'nightly' is no cron expression; every night at three is '0 3 * * *'"),
        ("SCHEDULE", "0 25 * * *", "'0 25 * * *' is no cron expression"),
        ("SCHEDULE_TIMEZONE", "Mars", "there is no time zone 'Mars'; use a name such as"),
        ("DIALECT", "2023", "'2024' or '2025', not '2023'"),
        ("RUNS", "everything", ""),
        ("CLASSIFIER__EPOCHS", "-1", "greater than or equal to 0, not '-1'"),
        ("CLASSIFIER__EPOCHS", "0", "the start alone answers, and zeros know nothing"),
        ("CLASSIFIER__START", "ones", "say one of zeros, centroids, lda, ridge"),
        ("CLASSIFIER__PRESET", "papers", "there is no preset 'papers'; say one of paper"),
        ("CLASSIFIER", '{{"learning_rate": 0.1, "learning_rates": [0.2]}}', "are both set; say one of them"),
        ("CLASSIFIER", '{{"preset": "paper", "calibrate": true}}', "stop_on = 'val' sets none aside"),
        ("CLASSIFIERS", '{{"centroid": {{}}}}', "named by its feature set (base_dct, base_cls, finetuned_cls)"),
        ("CLASSIFIERS", '{{"base_cls_B": {{}}}}', "lower-case letters"),
        ("CLASSIFIERS", '{{"finetuned_head_x": {{}}}}', "named by its feature set"),
        ("CLASSIFIERS", '{{"base_cls_a": {{"validation_share": 0.5}}}}', "set it in classifier, not for 'base_cls_a'"),
        ("CLASSIFIERS", '{{"base_cls_a": {{"hidden": 8, "start": "lda"}}}}', "with hidden it has to be zeros"),
        ("CLASSIFIER__EPOCS", "3", "there is no such setting"),
        ("CLASSIFIER__VALIDATION_SHARE", "1", "less than 1"),
        ("VALIDATION__PLOTS", "-1", "greater than or equal to 0, not '-1'"),
        ("VALIDATION__PLOTS", "1", "2 shards of 1 plots would leave some empty"),
        ("VALIDATION__SIDE", "20", "greater than or equal to 64"),
        ("VALIDATION__SPECIES", "[5, 3]", "species is [5, 3], but the first is the least number"),
        ("VALIDATION__SPECIES", "[0, 3]", "greater than 0"),
        ("TRANSECT_PATTERNS", '["(["]', "is no regular expression"),
        ("TRANSECT_PATTERNS", '["CBN-.*"]', "needs a group"),
        (
            "RUNS",
            '{{"a": {{"feature_set": "base_clss"}}}}',
            "'finetuned_cls' or 'finetuned_head'",
        ),
        (
            "RUNS",
            '{{"a": {{"feature_set": "base_cls_centroid"}}}}',
            "the run 'a' asks for the feature set 'base_cls_centroid'; there are 'base_dct',",
        ),
        ("RUNS", '{{"a": {{"feature_set": "base_cls", "tiling": "3by3"}}}}', "'3by3'"),
        ("RUNS", '{{"a": {{"feature_set": "base_cls", "tiling": "100x100"}}}}', "100x100"),
        ("RUNS", '{{"a": {{"feature_set": "base_cls", "aggregation": "max"}}}}', "species_per_plot"),
        ("RUNS", '{{"a": {{"feature_set": "base_cls", "species_per_plot": 3}}}}', "species_per_plot"),
        ("RUNS", '{{"a": {{"feature_set": "base_cls", "aggregation": "threshold", "min_score": 1.5}}}}', "equal to 1"),
        (
            "RUNS",
            '{{"a": {{"feature_set": "base_cls", "aggregation": "vote", "top_per_tile": 1}}}}',
            "not top_per_tile",
        ),
        (
            "RUNS",
            '{{"a": {{"feature_set": "base_cls", "aggregation": "vote", "min_species": 2, "species_per_plot": 1}}}}',
            "min_species (2) is more than species_per_plot (1)",
        ),
        ("RUNS", '{{"a": {{"feature_set": "base_cls", "revisits": "sum"}}}}', "'union', 'vote' or 'mean'"),
        ("RUNS", '{{"A run": {{"feature_set": "base_cls"}}}}', "may only have lower-case letters"),
        ("RUNS", '{{"a": {{"feature_set": "finetuned_cls"}}}}', "no run is declared whose feature set exists"),
    ],
)
def test_an_impossible_value_is_one_sentence(
    variable: str, value: str, said: str, with_variables: Set, files: Path
) -> None:
    if variable == "RUNS":  # variables are merged into the runs of the profile, so begin with one that has none
        (files / "bare.toml").write_text("")
        (sentence,) = refusal(
            lambda: with_sources(with_variables, files, PROFILE="bare.toml", RUNS=value.format(here=files))
        )
    else:
        (sentence,) = refusal(lambda: with_variables(**{variable: value.format(here=files)}))
    assert sentence.startswith(f"PLANTCLEF_{variable.split('__')[0]}")
    assert said in sentence


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_told(with_variables: Set, files: Path) -> None:
    (files / "metadata.csv").chmod(0)
    (sentence,) = refusal(lambda: with_variables(TRAINING_METADATA=files / "metadata.csv"))
    assert "no permission to read" in sentence


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("PLANTCLEF_TRAINING_SHARD", "did you mean PLANTCLEF_TRAINING_SHARDS?"),
        ("PLANTCLEF_LAK", "did you mean PLANTCLEF_LAKE?"),
        ("PLANTCLEF_PLOTS_IMAGES", "did you mean PLANTCLEF_PLOT_IMAGES?"),
        ("PLANTCLEF_COFFEE", "the README lists the variables"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_one_that_was_meant(
    variable: str, hint: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{variable}: there is no such setting; ")
    assert hint in str(caught.value)


def test_the_variable_of_the_tests_is_no_setting_and_no_mistake(with_variables: Set, files: Path) -> None:
    assert with_variables(TEST_DATA=files).profile == "demo"


def test_every_finding_has_its_own_sentence(with_variables: Set) -> None:
    sentences = refusal(lambda: with_variables(TRAINING_SHARDS="0", DEVICE="gpu", PLOT_TRUTH="/nowhere/truth.csv"))
    assert sorted(sentence.split(":")[0] for sentence in sentences) == [
        "PLANTCLEF_DEVICE",
        "PLANTCLEF_PLOT_TRUTH",
        "PLANTCLEF_TRAINING_SHARDS",
    ]


@pytest.mark.parametrize(
    ("given", "lacking"),
    [({}, "TRAINING_METADATA"), ({"TRAINING_METADATA": "metadata.csv"}, "TRAINING_IMAGES")],
)
def test_a_missing_source_is_named(given: dict[str, str], lacking: str, with_variables: Set) -> None:
    (sentence,) = refusal(lambda: with_variables(PROFILE="plantclef2024", **given))
    assert sentence.startswith(f"PLANTCLEF_{lacking}: not set")


def test_finetuned_weights_need_the_name_of_their_model(with_variables: Set, files: Path) -> None:
    (sentence,) = refusal(lambda: with_variables(FINETUNED_WEIGHTS=files / "weights.safetensors"))
    assert sentence.startswith("PLANTCLEF_FINETUNED_MODEL: not set")


@pytest.mark.parametrize("profile", PACKAGED)
def test_every_packaged_profile_loads(profile: str, with_variables: Set, files: Path) -> None:
    settings = with_sources(with_variables, files, PROFILE=profile)
    base = ["base_dct_full", "base_cls_full", "base_cls_3x3", "base_cls_4x4", "base_cls_4x4_max3"]
    assert list(settings.active_runs)[: len(base)] == base
    finetuned = set(settings.active_runs) - set(base)
    assert settings.trains_backbone == (profile == "demo")
    assert {"finetuned_cls_full", "finetuned_cls_3x3", "finetuned_head_3x3"} <= finetuned or not settings.has_head
    assert not finetuned or settings.has_head
    assert tilings_of("base", settings) == ("full", "3x3", "4x4")
    assert settings.active_runs["base_cls_4x4_max3"].aggregation_parameters == {"species_per_plot": 3}
    if profile != "demo":
        assert settings.dialect == profile.removeprefix("plantclef")
        assert (settings.training_shards, settings.plot_shards) == (512, 16)
        assert not settings.uses_demo_survey


@pytest.mark.parametrize("profile", ["plantclef2024", "plantclef2025"])
def test_what_is_published_is_fetched_only_where_one_says_so(profile: str, with_variables: Set, files: Path) -> None:
    settings = with_sources(with_variables, files, PROFILE=profile)
    assert settings.published is not None
    assert (settings.published.training_rows, settings.published.plots) == (1408033, PLOTS[profile])
    settings = with_variables(TRAINING_METADATA="published", TRAINING_IMAGES="published")
    assert settings.training_metadata == settings.published.training_metadata
    assert settings.training_images == settings.published.training_images
    assert str(settings.training_images).startswith("https://")
    assert with_sources(with_variables, files, PUBLISHED="none").published is None


def test_there_is_a_test_for_every_packaged_profile() -> None:
    import plantclef_assets

    folder = Path(plantclef_assets.__file__).parent / "profiles"
    assert sorted(file.stem for file in folder.glob("*.toml")) == sorted(PACKAGED)


def test_an_argument_beats_a_variable_beats_the_profile_beats_the_default(with_variables: Set, files: Path) -> None:
    own = files / "own.toml"
    own.write_text("training_shards = 5\nplot_shards = 6\nimage_size = 64\n" + own.read_text())
    settings = with_sources(with_variables, files, PROFILE=own, TRAINING_SHARDS=7, PLOT_SHARDS=8)
    assert (settings.training_shards, settings.plot_shards, settings.image_size, settings.top_k) == (7, 8, 64, 20)
    settings = load_settings(training_shards=9)
    assert (settings.training_shards, settings.plot_shards, settings.image_size, settings.top_k) == (9, 8, 64, 20)


def test_a_profile_of_ones_own_declares_its_runs(with_variables: Set, files: Path) -> None:
    settings = with_sources(with_variables, files, PROFILE="own.toml")
    assert list(settings.active_runs) == ["base_cls_full", "base_cls_2x2", "base_dct_2x2_max2", "base_dct_full"]
    assert tilings_of("base", settings) == ("full", "2x2")


def test_a_run_takes_the_parameters_of_its_aggregation(with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text(
        "[runs]\n"
        "a = { feature_set = 'base_cls', aggregation = 'bisection', mean_species_per_plot = 2.5, scored_by = 'mean' }\n"
        "b = { feature_set = 'base_cls', aggregation = 'topk_union', top_per_tile = 1, min_score = 0.1, "
        "revisits = 'vote' }"
    )
    runs = with_sources(with_variables, files, PROFILE="own.toml").active_runs
    assert runs["a"].aggregation_parameters == {"mean_species_per_plot": 2.5, "scored_by": "mean"}
    assert runs["b"].aggregation_parameters == {"min_score": 0.1, "top_per_tile": 1}
    assert (runs["a"].revisits, runs["b"].revisits) == (None, "vote")


def test_what_a_run_does_not_set_is_no_part_of_its_provenance() -> None:
    plain = RunSettings(feature_set="base_cls")
    names = ("feature_set", "tiling", "aggregation", "species_per_plot")
    assert plain.model_dump() == dict(zip(names, ("base_cls", "full", "argmax_union", None), strict=True))
    voted = RunSettings(feature_set="base_cls", aggregation="vote", min_votes=2)
    assert voted.model_dump() == plain.model_dump() | {"aggregation": "vote", "min_votes": 2}


def test_no_run_may_ask_for_more_of_a_tile_than_is_kept(with_variables: Set, files: Path) -> None:
    run = '{"a": {"feature_set": "base_cls", "aggregation": "topk_union", "top_per_tile": 6}}'
    assert with_variables(RUNS=run, TOP_K=6).runs["a"].top_per_tile == 6
    over_all = run.replace('"top_per_tile"', '"prior": "frequency", "top_per_tile"')
    assert with_variables(RUNS=over_all, TOP_K=5).runs["a"].needs_all_classes
    (sentence,) = refusal(lambda: with_variables(RUNS=run, TOP_K=5))
    assert sentence == "PLANTCLEF_TOP_K: 5 species are kept of each tile, but the run 'a' asks for the best 6."


def test_single_values_of_a_group_can_be_set(with_variables: Set) -> None:
    settings = with_variables(CLASSIFIER__EPOCHS=3, VALIDATION__PLOTS=0)
    assert (settings.classifier.epochs, settings.classifier.batch_size) == (3, 32)
    assert not settings.composes_plots


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
    config = build_recipes(settings)["classifier"].config
    shares = {"validation_share": 0.2, "holdout_share": 0.1, "seed": 42}
    assert config("base_cls") == shares
    assert config("base_cls_centroid") == {"start": "centroids", "epochs": 0, **shares}
    paper = {"epochs": 10, "min_images": 100, "calibrate": False, "stop_on": "val", "validation_share": 0.2, "seed": 42}
    assert config("finetuned_cls_paper") == paper
    assert config("finetuned_head") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training_shard = 3\n", "PLANTCLEF_TRAINING_SHARD"),
        ("[classifier]\nepoch = 3\n", "PLANTCLEF_CLASSIFIER__EPOCH"),
        ("training_shards = 0\n", "PLANTCLEF_TRAINING_SHARDS"),
        ("training_shards = \n", "PLANTCLEF_PROFILE"),
    ],
)
def test_a_mistake_in_a_profile_is_one_sentence(text: str, said: str, with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text(text)
    (sentence,) = refusal(lambda: with_sources(with_variables, files, PROFILE="own.toml"))
    assert sentence.startswith(f"{said}: ")


def test_training_a_backbone_needs_photographs_and_no_name_of_a_model(with_variables: Set, files: Path) -> None:
    settings = with_variables(FINETUNED_WEIGHTS="train", FINETUNING__EPOCHS=3)
    assert settings.feature_sets == ("base_dct", "base_cls", "finetuned_cls", "finetuned_head")
    assert backbone_settings("finetuned", settings) == backbone_settings("base", settings)
    assert tile_size("finetuned", settings) == settings.image_size
    assert settings.finetuning.epochs == 3
    (sentence,) = refusal(
        lambda: with_variables(PROFILE="plantclef2024", FINETUNED_WEIGHTS="train", PLOT_IMAGES=files / "plots")
    )
    assert sentence == "PLANTCLEF_FINETUNED_WEIGHTS: 'train' needs training photographs, and none are set."


def test_what_a_profile_sets_can_be_unset(with_variables: Set) -> None:
    settings = with_variables(FINETUNED_WEIGHTS="none", PLOT_IMAGES="none")
    assert settings.backbones == ("base",)
    assert not settings.has_plots


def test_a_survey_is_not_needed(with_variables: Set, files: Path) -> None:
    settings = with_variables(
        PROFILE="plantclef2024", TRAINING_METADATA=files / "metadata.csv", TRAINING_IMAGES=files / "images"
    )
    assert not settings.has_plots
    assert settings.plot_truth is None


def test_the_table_of_downloads_is_read_before_the_sources_are_there(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "own.toml").write_text("training_images = '/nowhere'\n[download]\nconnections = 8\nchunk_bytes = '1MiB'\n")
    monkeypatch.setenv("PLANTCLEF_PROFILE", "own.toml")
    monkeypatch.setenv("PLANTCLEF_DOWNLOAD__BYTES_PER_SECOND", "20M")
    monkeypatch.setenv("PLANTCLEF_PLOT_IMAGES", "/nowhere/either")
    download = load_download_settings()
    assert (download.connections, download.chunk_bytes, download.bytes_per_second) == (8, 2**20, 20_000_000)
    monkeypatch.setenv("PLANTCLEF_DOWNLOAD__CONNECTIONS", "0")
    (sentence,) = refusal(load_download_settings)
    assert sentence.startswith("PLANTCLEF_DOWNLOAD__CONNECTIONS: ")
