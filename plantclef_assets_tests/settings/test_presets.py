"""Presets of runs, and the settings of priors and sweeps."""

from pathlib import Path
from typing import Any

import pytest

from plantclef_assets.defs.naming import backbones
from plantclef_assets.scoring.plot_names import region_of
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import SettingsError
from plantclef_assets.settings.presets import PRESETS, preset_runs
from plantclef_assets.settings.runs import RunSettings, SweepSettings


@pytest.fixture
def demo(tmp_path: Path) -> Any:
    """Return a function that loads the demo's settings with changes."""

    def load(**values: Any) -> Settings:
        return load_settings(lake=str(tmp_path / "lake"), **values)

    return load


def test_presets_add_runs_of_the_best_feature_set(demo: Any) -> None:
    plain = list(demo().active_runs)
    assert not [name for name in plain if name.endswith(tuple(PRESETS))], "none by default"
    runs = list(demo(presets=tuple(PRESETS)).active_runs)
    assert runs[: len(plain)] == plain
    assert runs[len(plain) :] == [
        "finetuned_cls_paper",
        "finetuned_head_espitalier",
        "finetuned_head_dsgt2025",
        "finetuned_head_hamburg",
        "finetuned_head_neuon",
    ]
    base = demo(presets=tuple(PRESETS), finetuned_weights=None)
    assert list(base.active_runs)[-len(PRESETS) :] == [f"base_cls_{name}" for name in PRESETS]
    assert set(backbones(base)[0].tilings) == {"full", "3x3", "4x4", "6x6+5x5+4x4+3x3+2x2+1x1", "4x4+5x5-b10"}


def test_a_declared_run_comes_before_a_preset_of_its_name(demo: Any) -> None:
    own = {"base_cls_paper": {"feature_set": "base_cls", "tiling": "5x5"}}
    settings = demo(presets=("paper",), runs=own, finetuned_weights=None)
    assert settings.active_runs["base_cls_paper"].tiling == "5x5"


def test_a_preset_without_an_existing_feature_set_has_no_run() -> None:
    assert list(preset_runs(["paper", "neuon"], ["finetuned_head"])) == ["finetuned_head_neuon"]


def test_unknown_presets_are_refused(demo: Any) -> None:
    known = "paper, espitalier, dsgt2025, hamburg, neuon"
    with pytest.raises(SettingsError) as refusal:
        demo(presets=("paper", "atlantic"))
    assert str(refusal.value) == f"PLANTCLEF_PRESETS: there is no preset 'atlantic'; use some of {known}."


def test_the_packaged_profiles_agree_on_what_a_region_is(demo: Any, tmp_path: Path) -> None:
    for folder in ("images", "plots"):
        (tmp_path / folder).mkdir()
    (tmp_path / "metadata.csv").touch()
    sources = {
        "training_metadata": str(tmp_path / "metadata.csv"),
        "training_images": str(tmp_path / "images"),
        "plot_images": str(tmp_path / "plots"),
    }
    for profile in ("plantclef2024", "plantclef2025"):
        patterns = demo(profile=profile, **sources).region_patterns
        plots = ("LISAH-BOU-12-20170613", "CBN-Pla-B1-20140721", "RNNB-1-1-20230512", "OPTMix-083-P4")
        assert [region_of(plot, patterns) for plot in plots] == ["LISAH-BOU", "CBN-Pla", "RNNB", "OPTMix"]
    with pytest.raises(SettingsError, match=r"REGION_PATTERNS: '\^CBN' needs a group .* that names the region"):
        demo(region_patterns=("^CBN",))


def test_an_unknown_prior_is_refused_by_its_variable(demo: Any) -> None:
    with pytest.raises(SettingsError, match=r"RUNS__A__PRIOR: unknown prior 'visual': use one of frequency, region"):
        demo(runs={"a": {"feature_set": "base_cls", "prior": "visual"}})


def test_a_prior_can_be_none() -> None:
    assert RunSettings.model_validate({"feature_set": "base_cls", "prior": "none"}) == RunSettings(
        feature_set="base_cls"
    )


def test_the_default_sweep_tries_hundreds_of_rules_that_runs_can_declare() -> None:
    rules = SweepSettings().rules
    assert 300 < len(rules) < 600
    for rule in rules:
        prior = {"prior": rule.prior, "prior_power": rule.prior_power} if rule.prior else {}
        declared = RunSettings(feature_set="base_cls", aggregation=rule.aggregation, **rule.parameters, **prior)
        assert declared.rule == rule
