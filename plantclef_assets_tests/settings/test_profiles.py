"""Profiles: the packaged ones load, and others are merged with variables and arguments."""

import re
from pathlib import Path

import pytest

from plantclef_assets.defs.naming import backbones
from plantclef_assets.ingest.downloads import Limits
from plantclef_assets.settings import load_download_settings, load_published_settings, load_settings
from plantclef_assets_tests.settings.fixtures import Set, refusal, with_sources

PACKAGED = ("demo", "plantclef2024", "plantclef2025")
PLOTS = {"plantclef2024": 1695, "plantclef2025": 2105}


@pytest.mark.parametrize("profile", PACKAGED)
def test_every_packaged_profile_loads(profile: str, with_variables: Set, files: Path) -> None:
    settings = with_sources(with_variables, files, PROFILE=profile)
    base = ["base_dct_full", "base_cls_full", "base_cls_3x3", "base_cls_4x4", "base_cls_4x4_max3"]
    assert list(settings.active_runs)[: len(base)] == base
    finetuned = set(settings.active_runs) - set(base)
    assert settings.trains_backbone == (profile == "demo")
    assert settings.scaled_decoding == (profile != "demo")
    assert {"finetuned_cls_full", "finetuned_cls_3x3", "finetuned_head_3x3"} <= finetuned or not settings.has_head
    assert not finetuned or settings.has_head
    assert backbones(settings)[0].tilings == ("full", "3x3", "4x4")
    assert settings.active_runs["base_cls_4x4_max3"].rule.parameters == {"species_per_plot": 3}
    if profile != "demo":
        assert settings.dialect == profile.removeprefix("plantclef")
        assert (settings.training_shards, settings.plot_shards) == (512, 16)
        assert not settings.uses_demo_survey


@pytest.mark.parametrize("profile", ["plantclef2024", "plantclef2025"])
def test_published_files_are_used_only_on_request(profile: str, with_variables: Set, files: Path) -> None:
    settings = with_sources(with_variables, files, PROFILE=profile)
    assert settings.published is not None
    assert (settings.published.training_rows, settings.published.plots) == (1408033, PLOTS[profile])
    known = settings.published.files
    assert ("plot_images" in known) == (profile == "plantclef2025"), "the plots of 2024 need signing in"
    named = [name for name in known if not name.endswith("_full")]
    settings = with_variables(**{name.upper(): "published" for name in named})
    for name in named:
        assert getattr(settings, name) == known[name].address
        assert known[name].address.startswith("https://")
    assert settings.has_head, "the published archive has a classifier"
    assert with_variables(TRAINING_IMAGES="published_full").training_images == known["training_images_full"].address


def test_published_can_be_unset(with_variables: Set, files: Path) -> None:
    assert with_sources(with_variables, files, PROFILE="plantclef2025", PUBLISHED="none").published is None
    assert load_published_settings().files == {}


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


def test_a_profile_declares_its_runs(with_variables: Set, files: Path) -> None:
    settings = with_sources(with_variables, files, PROFILE="own.toml")
    assert list(settings.active_runs) == ["base_cls_full", "base_cls_2x2", "base_dct_2x2_max2", "base_dct_full"]
    assert backbones(settings)[0].tilings == ("full", "2x2")


def test_values_of_a_profile_can_be_unset(with_variables: Set) -> None:
    settings = with_variables(FINETUNED_WEIGHTS="none", PLOT_IMAGES="none")
    assert settings.backbones == ("base",)
    assert not settings.has_plots


def test_the_table_of_downloads_loads_without_sources(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "own.toml").write_text("training_images = '/nowhere'\n[download]\nconnections = 8\nchunk_bytes = '1MiB'\n")
    monkeypatch.setenv("PLANTCLEF_PROFILE", "own.toml")
    monkeypatch.setenv("PLANTCLEF_DOWNLOAD__BYTES_PER_SECOND", "20M")
    monkeypatch.setenv("PLANTCLEF_PLOT_IMAGES", "/nowhere/either")
    download = load_download_settings()
    assert (download.connections, download.chunk_bytes, download.bytes_per_second) == (8, 2**20, 20_000_000)
    monkeypatch.setenv("PLANTCLEF_DOWNLOAD__CONNECTIONS", "0")
    (sentence,) = refusal(load_download_settings)
    assert sentence.startswith("PLANTCLEF_DOWNLOAD__CONNECTIONS: ")
    monkeypatch.delenv("PLANTCLEF_DOWNLOAD__CONNECTIONS")
    (files / "own.toml").write_text("[download]\nconections = 8\n")
    (sentence,) = refusal(load_download_settings)
    assert sentence.startswith("PLANTCLEF_DOWNLOAD__CONECTIONS: there is no such setting")


def test_downloads_have_the_same_limits_with_all_settings(with_variables: Set) -> None:
    assert load_download_settings() == with_variables().download == Limits()
    sizes = {"DOWNLOAD__BYTES_PER_SECOND": "20M", "DOWNLOAD__CHUNK_BYTES": "16MiB", "DOWNLOAD__MAX_BYTES": "1GB"}
    expected = Limits(bytes_per_second=20_000_000, chunk_bytes=2**24, max_bytes=10**9)
    assert with_variables(**sizes).download == expected


@pytest.mark.parametrize("page", ["README.md", "docs/own-photographs.md"])
def test_the_profile_of_a_survey_in_the_documentation_is_complete(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / page).read_text()
    (profile,) = re.findall(r"```toml\n(# ~/survey/survey\.toml\n.*?)```", text, re.DOTALL)
    survey = tmp_path / "survey"
    for name in ("photographs", "plots"):
        (survey / name).mkdir(parents=True)
    (survey / "photographs.csv").write_text("x")
    (survey / "survey.toml").write_text(profile)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PLANTCLEF_PROFILE", "~/survey/survey.toml")
    settings = load_settings()
    assert settings.lake == str(survey / "lake")
    assert settings.training_images == str(survey / "photographs")
    assert not settings.uses_demo_survey
    assert settings.cover_run.tiling == "4x4"
