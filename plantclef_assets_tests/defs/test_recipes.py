"""What the recipes record of how a model is run."""

from pathlib import Path

import pytest

from plantclef_assets.defs.graph import build_graph
from plantclef_assets_tests.tiny import tiny_settings


@pytest.mark.parametrize(("compile", "compiled"), [("auto", False), ("off", False), ("on", True)])
def test_embeddings_record_precision_and_compiling(
    tiny_survey: Path, tmp_path: Path, compile: str, compiled: bool
) -> None:
    weights = str(tiny_survey / "weights.safetensors")
    finetuned = {"finetuned_model": "vit_mini_patch14_reg4_dinov2", "finetuned_weights": weights}
    settings = tiny_settings(tiny_survey, tmp_path / "lake", device="cpu", compile=compile, **finetuned)
    recipes = build_graph(settings).recipes
    embeddings = [recipe for asset, recipe in recipes.items() if asset.endswith("_embeddings")]
    assert len(embeddings) == 6
    for recipe in embeddings:
        config = recipe.config(None)
        assert (config["precision"], config["compiled"]) == ("fp32", compiled), recipe.asset
