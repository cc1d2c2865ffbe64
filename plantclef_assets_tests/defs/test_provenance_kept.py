"""What each artifact is a function of is recorded as it was at commit 1a22afe, so that older lakes stay up to date.

`provenance_1a22afe.json` was written at that commit from the settings below: for every artifact its configuration and
its inputs, for every asset its code version and the names of its sources (null where they cannot be read without a
lake). Change it only together with a code version, and name the asset in CHANGELOG.md.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.ingest.fetching import SourceError
from plantclef_assets.lake.provenance import Recipe
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets_tests.defs.test_checkpoint import CLASSES, checkpoint_bytes
from plantclef_assets_tests.tiny import tiny_settings, with_finetuned

RECORDED = json.loads(Path(__file__).with_name("provenance_1a22afe.json").read_text())
SMALL = "vit_mini_patch14_reg4_dinov2"
PRESETS = ("paper", "espitalier", "dsgt2025", "hamburg", "neuon")
CLASSIFIERS = {
    "base_cls_paper": {"preset": "paper", "epochs": 4},
    "finetuned_cls_lda": {"start": "lda", "epochs": 0, "stop_on": "holdout"},
    "base_dct_val": {"stop_on": "val", "calibrate": False},
}


def demo(survey: Path, folder: Path) -> Settings:
    return load_settings(profile="demo", lake=str(folder / "lake"), device="cpu")


def tiny(survey: Path, folder: Path) -> Settings:
    return tiny_settings(survey, folder / "lake", device="cpu")


def everything(survey: Path, folder: Path) -> Settings:
    """Every setting that provenance records, away from its default."""
    (folder / "list.csv").write_text("1000001\n1000003\n")
    runs = {
        "listed": {
            "feature_set": "base_cls",
            "tiling": "3x3",
            "aggregation": "mean",
            "species_per_plot": 4,
            "species_list": str(folder / "list.csv"),
        },
        "regional": {
            "feature_set": "finetuned_head",
            "tiling": "2x2-b10",
            "aggregation": "topk_union",
            "top_per_tile": 2,
            "min_score": 0.2,
            "prior": "region",
            "prior_power": 0.5,
            "revisits": "union",
        },
        "small": {"feature_set": "base_cls_paper", "tiling": "full"},
    }
    return with_finetuned(
        survey,
        folder / "lake",
        device="cpu",
        inbox=str(folder),
        inbox_shards=3,
        licenses=("cc-by", "cc0"),
        presets=PRESETS,
        classifiers=CLASSIFIERS,
        classifier={"epochs": 15, "validation_share": 0.25, "learning_rates": (0.01, 0.001)},
        runs=runs,
        cover={"run": "regional", "min_score": 0.2, "max_rank": 2},
        region_patterns=("^([A-Z]+)",),
        transect_patterns=("^(.*)-",),
        finetuning={"epochs": 2, "blocks": 3, "holdout_share": 0.3},
        dialect="2024",
        compile="on",
        max_pixels=50_000_000,
        top_k=30,
        seed=7,
    )


def _with_checkpoint(survey: Path, folder: Path) -> dict[str, Any]:
    (folder / "checkpoint.pth.tar").write_bytes(checkpoint_bytes(1))
    (folder / "classes.txt").write_text("\n".join(map(str, CLASSES)))
    return {
        "profile": str(survey / "finetuned.toml"),
        "device": "cpu",
        "finetuned_model": SMALL,
        "finetuned_weights": str(folder / "checkpoint.pth.tar"),
        "class_mapping": str(folder / "classes.txt"),
    }


def checkpoint(survey: Path, folder: Path) -> Settings:
    """Plots and an inbox, and a checkpoint in place of training photographs."""
    return load_settings(
        lake=str(folder / "lake"),
        plot_images=str(survey / "plots"),
        finetuned_input_size=56,
        base_weights=str(survey / "weights.safetensors"),
        inbox=str(folder),
        inbox_shards=2,
        **_with_checkpoint(survey, folder),
    )


def both(survey: Path, folder: Path) -> Settings:
    """A checkpoint and training photographs, no validation plots."""
    return tiny_settings(survey, folder / "lake", validation={"plots": 0}, **_with_checkpoint(survey, folder))


def described(recipe: Recipe) -> dict[str, Any]:
    """Describe a recipe in the plain values of the recorded file."""
    try:
        sources = sorted(recipe.sources())
    except (OSError, SourceError):
        sources = None
    artifacts = {
        str(artifact): {
            "config": json.loads(json.dumps(dict(recipe.config(artifact.partition)))),
            "inputs": sorted(str(one) for one in recipe.inputs(artifact.partition)),
        }
        for artifact in recipe.artifacts
    }
    return {"code_version": recipe.code_version, "suffix": recipe.suffix, "sources": sources, "artifacts": artifacts}


@pytest.mark.parametrize("make", [demo, tiny, everything, checkpoint, both])
def test_provenance_is_that_of_earlier_lakes(
    make: Callable[[Path, Path], Settings], tiny_survey: Path, tmp_path: Path
) -> None:
    recipes = build_graph(make(tiny_survey, tmp_path)).recipes
    recorded = RECORDED[make.__name__]
    for asset in recorded.values():
        for artifact in asset["artifacts"].values():
            artifact["inputs"].sort()
    assert {name: described(recipes[name]) for name in recorded} == recorded
