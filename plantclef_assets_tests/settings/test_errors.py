"""Errors: one sentence for each value, variable or profile that cannot be used."""

import os
from pathlib import Path

import pytest

from plantclef_assets.settings import load_settings
from plantclef_assets.settings.errors import SettingsError
from plantclef_assets_tests.settings.fixtures import Set, refusal, with_sources


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
def test_an_unusable_location_is_one_sentence(
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
        (
            "TRAINING_IMAGES",
            "{here}/metadata.csv",
            "is a file, but not a tar archive; set a tar archive, or",
        ),
        ("TRAINING_IMAGES", "https://example.org/images/", "does not end with the name of a file"),
        ("TRAINING_IMAGES", "https://example.org/images", "does not end with the name of a tar archive"),
        ("TRAINING_IMAGES", "https://example.org/images.tar#sha256=12", "'12' is not a sha256"),
        ("TRAINING_IMAGES", "s3://bucket/images", "is an address of a kind that is not supported; use a path, gs://"),
        ("TRAINING_IMAGES", "gs://", "does not name a bucket"),
        ("TRAINING_IMAGES", "published", "'published' cannot be used here, since the profile has no published"),
        ("TRAINING_METADATA", "https://example.org", "does not end with the name of a file"),
        ("TRAINING_METADATA", "gs://bucket/", "does not name an object; the form is gs://bucket/name"),
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
        ("DEVICE", "gpu", "'gpu' names no device; use auto, cpu, cuda, cuda:0 or mps, or a list of one kind"),
        ("DEVICE", "cpu,cuda:0", "'cpu,cuda:0' names no device"),
        ("DEVICE", "cuda:0,auto", "'cuda:0,auto' names no device"),
        ("DEVICE", "cpu:0", "'cpu:0' names no device"),
        ("PRECISION", "int8", "'bf16' or 'fp16', not 'int8'"),
        ("ENGINE", "ray", "'local' or 'spark', not 'ray'"),
        (
            "SPARK_MASTER",
            "http://host:7077",
            "'http://host:7077' is not the address of a Spark master; use local[*], spark://host",
        ),
        ("SPARK_REMOTE", "spark://host:7077", "is not the address of a Spark Connect server; use sc://host:port"),
        ("WORKERS", "0", "greater than 0, not '0'"),
        ("SHARDS_PER_RUN", "0", "greater than 0, not '0'"),
        ("SCHEDULE", "nightly", "'nightly' is no cron expression; every night at three is '0 3 * * *'"),
        ("SCHEDULE", "0 25 * * *", "'0 25 * * *' is no cron expression"),
        ("SCHEDULE_TIMEZONE", "Mars", "there is no time zone 'Mars'; use a name such as"),
        ("DIALECT", "2023", "'2024' or '2025', not '2023'"),
        ("RUNS", "everything", ""),
        ("CLASSIFIER__EPOCHS", "-1", "greater than or equal to 0, not '-1'"),
        ("CLASSIFIER__EPOCHS", "0", "the start is the classifier, and zeros cannot be one"),
        ("CLASSIFIER__START", "ones", "use one of zeros, centroids, lda, ridge"),
        ("CLASSIFIER__PRESET", "papers", "there is no preset 'papers'; use one of paper"),
        ("CLASSIFIER", '{{"learning_rate": 0.1, "learning_rates": [0.2]}}', "are both set; set one of them"),
        ("CLASSIFIER", '{{"preset": "paper", "calibrate": true}}', "stop_on = 'val' holds none out"),
        ("CLASSIFIERS", '{{"centroid": {{}}}}', "named by its feature set (base_dct, base_cls, finetuned_cls)"),
        ("CLASSIFIERS", '{{"base_cls_B": {{}}}}', "lower-case letters"),
        ("CLASSIFIERS", '{{"finetuned_head_x": {{}}}}', "named by its feature set"),
        ("CLASSIFIERS", '{{"base_cls_a": {{"validation_share": 0.5}}}}', "set it in classifier, not for 'base_cls_a'"),
        ("CLASSIFIERS", '{{"base_cls_a": {{"hidden": 8, "start": "lda"}}}}', "with hidden it has to be zeros"),
        ("CLASSIFIER__EPOCS", "3", "did you mean PLANTCLEF_CLASSIFIER__EPOCHS?"),
        ("CLASSIFIER__VALIDATION_SHARE", "1", "less than 1"),
        ("VALIDATION__PLOTS", "-1", "greater than or equal to 0, not '-1'"),
        ("VALIDATION__PLOTS", "1", "2 shards of 1 plots would leave some empty"),
        ("VALIDATION__SIDE", "20", "greater than or equal to 64"),
        ("VALIDATION__SPECIES", "[5, 3]", "species is [5, 3], but the first is the least number"),
        ("VALIDATION__SPECIES", "[0, 3]", "greater than 0"),
        ("VALIDATION__SPECIES", "many", "its value is no JSON"),
        ("FINETUNING__EPOCHS", "0", "greater than 0, not '0'"),
        ("FINETUNING__AVERAGE", "1", "less than 1"),
        ("FINETUNING__EPOCS", "3", "did you mean PLANTCLEF_FINETUNING__EPOCHS?"),
        ("FINETUNING__SEED", "3", "there is no such setting"),
        ("FINETUNING", "[]", "a dictionary or an instance of FinetuningSettings"),
        ("DOWNLOAD__CONNECTIONS", "33", "less than or equal to 32"),
        ("DOWNLOAD__CHUNK_BYTES", "20K", "greater than or equal to 65536"),
        ("DOWNLOAD__MAX_BYTES", "many", "could not parse value and unit"),
        ("DOWNLOAD__CONECTIONS", "3", "did you mean PLANTCLEF_DOWNLOAD__CONNECTIONS?"),
        ("CLASSIFIER__LEARNING_RATES", "fast", "its value is no JSON"),
        ("CLASSIFIER__SEED", "3", "there is no such setting"),
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
            "the run 'a' has the feature set 'base_cls_centroid'; use 'base_dct',",
        ),
        (
            "RUNS",
            '{{"a": {{"feature_set": "base_cls", "tilling": "3x3"}}}}',
            "the table [runs.a] has no key tilling; did you mean tiling?",
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


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything: run as another user"
)
def test_a_file_without_permission_is_an_error(with_variables: Set, files: Path) -> None:
    (files / "metadata.csv").chmod(0)
    (sentence,) = refusal(lambda: with_variables(TRAINING_METADATA=files / "metadata.csv"))
    assert "no permission to read" in sentence


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("PLANTCLEF_TRAINING_SHARD", "did you mean PLANTCLEF_TRAINING_SHARDS?"),
        ("PLANTCLEF_LAK", "did you mean PLANTCLEF_LAKE?"),
        ("PLANTCLEF_PLOTS_IMAGES", "did you mean PLANTCLEF_PLOT_IMAGES?"),
        ("PLANTCLEF_COFFEE", "docs/settings.md lists the variables"),
        ("PLANTCLEF_TRANING_IMAGES", "did you mean PLANTCLEF_TRAINING_IMAGES?"),
        ("plantclef_traning_images", "did you mean PLANTCLEF_TRAINING_IMAGES?"),
        ("PLANTCLEF_CLASSIFIER_EPOCHS", "did you mean PLANTCLEF_CLASSIFIER__EPOCHS?"),
        ("PLANTCLEF_FINETUNING_EPOCHS", "did you mean PLANTCLEF_FINETUNING__EPOCHS?"),
        ("PLANTCLEF_DOWNLOAD_MAX_BYTES", "did you mean PLANTCLEF_DOWNLOAD__MAX_BYTES?"),
        ("PLANTCLEF_VALIDATION_PLOTS", "did you mean PLANTCLEF_VALIDATION__PLOTS?"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_setting(
    variable: str, hint: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{variable}: there is no such setting; ")
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "variable", ["PLANCLEF_TRAINING_IMAGES", "PLANTCLEFF_LAKE", "PLANT_CLEF_LAKE", "PLANTCELF_LAKE"]
)
def test_a_misspelt_prefix_is_refused(variable: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError, match=f"^{variable}: settings begin with PLANTCLEF_; did you mean PLANTCLEF_"):
        load_settings()


@pytest.mark.parametrize("variable", ["PLANTNET_LAKE", "LAKE", "TRAINING_IMAGES", "CLEF_TRAINING", "DAGSTER_HOME"])
def test_other_variables_are_ignored(variable: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    assert load_settings().profile == "demo"


def test_the_variable_of_the_tests_is_ignored(with_variables: Set, files: Path) -> None:
    assert with_variables(TEST_DATA=files).profile == "demo"


@pytest.mark.parametrize("variable", ["VALIDATION__SPECIES", "CLASSIFIER__LEARNING_RATES", "PRESETS"])
def test_a_value_that_is_no_json_is_an_error_of_its_own_variable(variable: str, with_variables: Set) -> None:
    (sentence,) = refusal(lambda: with_variables(**{variable: "many"}))
    assert sentence == f"PLANTCLEF_{variable}: its value is no JSON, and this setting needs JSON."


def test_every_error_has_its_own_sentence(with_variables: Set) -> None:
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training_shard = 3\n", "PLANTCLEF_TRAINING_SHARD"),
        ("[classifier]\nepoch = 3\n", "PLANTCLEF_CLASSIFIER__EPOCH"),
        ("[finetuning]\nepoch = 3\n", "PLANTCLEF_FINETUNING__EPOCH"),
        ("[download]\nrate = '20M'\n", "PLANTCLEF_DOWNLOAD__RATE"),
        ("training_shards = 0\n", "PLANTCLEF_TRAINING_SHARDS"),
        ("training_shards = \n", "PLANTCLEF_PROFILE"),
        (
            "[published]\nplots = 3\ntraining_images = 'https://example.org/a.tar'\n",
            "PLANTCLEF_PUBLISHED__TRAINING_IMAGES",
        ),
    ],
)
def test_a_mistake_in_a_profile_is_one_sentence(text: str, said: str, with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text(text)
    (sentence,) = refusal(lambda: with_sources(with_variables, files, PROFILE="own.toml"))
    assert sentence.startswith(f"{said}: ")


def test_a_published_file_needs_address_and_size(with_variables: Set, files: Path) -> None:
    (files / "own.toml").write_text("[published]\ntraining_images = 'https://example.org/a.tar'\n")
    given = {"TRAINING_METADATA": files / "metadata.csv", "TRAINING_IMAGES": "published"}
    (sentence,) = refusal(lambda: with_variables(PROFILE="own.toml", **given))
    assert sentence.startswith("PLANTCLEF_TRAINING_IMAGES: 'published' cannot be used here")


@pytest.mark.parametrize(
    ("given", "demo", "own"),
    [
        ({"PLOT_IMAGES": "plots"}, "TRAINING_METADATA", "PLOT_IMAGES"),
        ({"PLOT_IMAGES": "gs://bucket/plots"}, "TRAINING_METADATA", "PLOT_IMAGES"),
        ({"PLOT_TRUTH": "truth.csv"}, "TRAINING_METADATA", "PLOT_TRUTH"),
        ({"INBOX": "plots"}, "TRAINING_METADATA", "INBOX"),
        ({"TRAINING_METADATA": "metadata.csv"}, "TRAINING_IMAGES", "TRAINING_METADATA"),
        ({"TRAINING_METADATA": "metadata.csv", "TRAINING_IMAGES": "images"}, "PLOT_IMAGES", "TRAINING_METADATA"),
        (
            {"TRAINING_METADATA": "metadata.csv", "TRAINING_IMAGES": "images", "PLOT_IMAGES": "plots"},
            "PLOT_TRUTH",
            "TRAINING_METADATA",
        ),
        (
            {"TRAINING_METADATA": "metadata.csv", "TRAINING_IMAGES": "images", "PLOT_IMAGES": "none"},
            "PLOT_TRUTH",
            "TRAINING_METADATA",
        ),
    ],
)
def test_the_demo_cannot_be_mixed_with_other_sources(
    given: dict[str, str], demo: str, own: str, with_variables: Set, files: Path
) -> None:
    (sentence,) = refusal(lambda: with_variables(**given))
    assert sentence.startswith(f"PLANTCLEF_{demo}: 'demo:")
    assert f"lies in the demo, but PLANTCLEF_{own} is your own" in sentence
    for name in {"TRAINING_METADATA", "TRAINING_IMAGES", "PLOT_IMAGES", "PLOT_TRUTH"} - set(given):
        assert f"PLANTCLEF_{name}" in sentence, "the sentence names every variable that has to be set"


def test_a_profile_cannot_be_mixed_with_the_demo_either(with_variables: Set, files: Path) -> None:
    (sentence,) = refusal(lambda: with_sources(with_variables, files, PROFILE="own.toml", PLOT_TRUTH="demo:truth.csv"))
    assert sentence.startswith("PLANTCLEF_PLOT_TRUTH: 'demo:truth.csv' lies in the demo")


def test_the_demo_profile_can_be_used_with_all_sources_replaced(with_variables: Set, files: Path) -> None:
    settings = with_sources(with_variables, files, PROFILE="demo", FINETUNED_WEIGHTS="none", INBOX="plots")
    assert not settings.uses_demo_survey


def test_the_demo_may_be_used_in_part(with_variables: Set) -> None:
    assert with_variables(PLOT_IMAGES="none", PLOT_TRUTH="none").uses_demo_survey


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OWNERS", '["botany"]', "'botany' is neither an email address nor a team such as 'team:botany'"),
        ("OWNERS", '["team:"]', "'team:' is neither"),
        ("TAGS", '{"a b": "c"}', "'a b' is no name of a tag; use at most 63"),
        ("TAGS", '{"dagster/kind": "c"}', "'dagster/kind' is no name of a tag"),
        ("TAGS", '{"domain": "wet meadows"}', "'wet meadows' is no value of the tag 'domain'"),
        ("FRESH_WITHIN_HOURS", "0", "greater than 0"),
    ],
)
def test_owners_tags_and_hours_that_the_ui_cannot_use_are_refused(
    variable: str, value: str, said: str, with_variables: Set
) -> None:
    (sentence,) = refusal(lambda: with_variables(**{variable: value}))
    assert sentence.startswith(f"PLANTCLEF_{variable}")
    assert said in sentence


def test_unprintable_characters_of_a_value_are_escaped(with_variables: Set) -> None:
    (sentence,) = refusal(lambda: with_variables(BASE_INPUT_SIZE="\x1b[2J\x1e\n"))
    assert "\\x1b[2J\\x1e\\n" in sentence
