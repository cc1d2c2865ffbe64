"""The demo as a newcomer runs it: one command without any setting but where its files go."""

import re
from itertools import product
from pathlib import Path

import pytest

from plantclef_assets.lake.catalog import open_catalog
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.classifier_files import read_classifier
from plantclef_assets_tests.cli.commands import PYTHON, file_stamps, make_instance, run_command

pytestmark = [pytest.mark.slow, pytest.mark.first]
DEMO = [str(PYTHON), "-m", "plantclef_assets"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], str]:
    """The variables of a demo that has run, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    variables = {"DAGSTER_HOME": str(make_instance(folder / "home")), "PLANTCLEF_LAKE": str(folder / "lake")}
    result = run_command(DEMO, variables)
    assert result.returncode == 0, result.stdout + result.stderr
    return variables, result.stdout


def test_it_ends_with_a_believable_leaderboard(demo: tuple[dict[str, str], str]) -> None:
    variables, printed = demo
    rows = Lake(variables["PLANTCLEF_LAKE"]).read(Artifact("leaderboard")).to_pylist()
    scores = {row["run"]: row["f1_plot"] for row in rows}
    assert scores["base_cls_3x3"] >= scores["base_cls_full"] + 0.15
    for features, rule in product(("cls", "head"), ("3x3", "4x4_max3")):
        assert scores[f"finetuned_{features}_{rule}"] > scores[f"base_cls_{rule}"]
    assert max(scores.values()) <= 0.95
    assert {row["plots_without_truth"] for row in rows} == {2}
    for run, score in scores.items():
        assert re.search(rf"^{run} .* {score:.3f} ", printed, re.MULTILINE)


def test_fine_tuning_brings_the_backbone_from_the_herbarium_to_the_field(demo: tuple[dict[str, str], str]) -> None:
    folder = Path(demo[0]["PLANTCLEF_LAKE"], "classifier")
    base, finetuned = (
        read_classifier(folder / f"{name}.safetensors").metrics["accuracy"] for name in ("base_cls", "finetuned_cls")
    )
    assert finetuned >= base + 0.05


def test_its_two_broken_photographs_are_in_quarantine(demo: tuple[dict[str, str], str]) -> None:
    with open_catalog(Lake(demo[0]["PLANTCLEF_LAKE"])) as catalog:
        reasons = catalog.sql("select asset, reason from quarantine order by reason").fetchall()
    assert reasons == [("raw_images", "not_an_image"), ("resized_images", "truncated")]


def test_asking_again_writes_nothing(demo: tuple[dict[str, str], str]) -> None:
    lake = Path(demo[0]["PLANTCLEF_LAKE"])
    before = file_stamps(lake)
    assert run_command(DEMO, demo[0]).returncode == 0
    assert file_stamps(lake) == before
