"""The shipped weights: they load, they carry their recipe, and they tell species apart that they never saw."""

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from plantclef_assets import demo
from plantclef_assets.demo.survey import write_survey
from plantclef_assets.models.small_vit import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    SMALL_VIT,
    vit_mini_patch14_reg4_dinov2,
)
from tools.pretrain_demo_backbone import Recipe, augment, draw_pool, pretrain

WEIGHTS = Path(demo.__file__).with_name("vit_mini.safetensors")


def _model() -> torch.nn.Module:
    model = vit_mini_patch14_reg4_dinov2(num_classes=0)
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()}, strict=True)
    return model.eval()


def test_weights_fit_the_model_and_carry_their_recipe() -> None:
    assert WEIGHTS.stat().st_size <= 6e6
    assert all(tensor.isfinite().all() for tensor in _model().state_dict().values())
    with safe_open(WEIGHTS, framework="np") as file:
        header = file.metadata()
    assert (header["model"], header["license"]) == (SMALL_VIT, "Apache-2.0")
    assert json.loads(header["recipe"]) == json.loads(json.dumps(asdict(Recipe())))


@pytest.mark.slow
def test_the_recipe_runs_and_repeats() -> None:
    recipe = Recipe(cycles=((2, 2), (3, 1)), photographs=2, batch=4)
    pool = draw_pool(recipe, workers=1)
    assert pool.shape == (3, 2, 3, 128, 128)
    first, second = (pretrain(recipe, pool) for _ in range(2))
    assert first.keys() == _model().state_dict().keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_views_have_the_size_asked_for_and_repeat() -> None:
    images = torch.randint(0, 256, (5, 3, 128, 128), dtype=torch.uint8)
    first, second = (augment(images, 84, 0.3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (5, 3, 84, 84) and first.dtype == torch.float32
    assert torch.equal(first, second)


def _crop_resize(path: Path) -> Image.Image:
    """Do what the platform does: the centre square, area-averaged to 128 px, stored as JPEG of quality 95."""
    with Image.open(path) as image:
        side = min(image.size)
        left, top = image.width // 2 - side // 2, image.height // 2 - side // 2
        small = image.resize((128, 128), Image.Resampling.BOX, (left, top, left + side, top + side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=95)
    return Image.open(buffer)


def _embed(model: torch.nn.Module, images: list[Image.Image]) -> np.ndarray:
    pixels = [np.asarray(image.resize((126, 126), Image.Resampling.BICUBIC), np.float32) for image in images]
    inputs = (np.stack(pixels) / 255 - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD
    batches = torch.from_numpy(inputs.astype(np.float32)).permute(0, 3, 1, 2).split(64)
    with torch.inference_mode():
        return torch.cat([model.forward_features(batch)[:, 0] for batch in batches]).numpy()


def _colour_histogram(image: Image.Image) -> np.ndarray:
    red, green, blue = np.asarray(image).reshape(-1, 3).astype(int).T // 32
    return np.bincount(64 * red + 8 * green + blue, minlength=512) / red.size


@pytest.mark.slow
def test_features_name_unseen_species_and_colour_does_not(tmp_path: Path) -> None:
    write_survey(tmp_path / "survey", plots=0)
    rows, images = [], []
    with (tmp_path / "survey" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter=";"):
            path = tmp_path / "survey" / "images" / row["learn_tag"] / row["species_id"] / row["image_name"]
            try:
                images.append(_crop_resize(path))
            except OSError:
                continue
            rows.append(row)
    species = np.array([row["species_id"] for row in rows])
    train = np.array([row["learn_tag"] == "train" for row in rows])

    def accuracy(features: np.ndarray, c: float) -> float:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500))
        return float(classifier.fit(features[train], species[train]).score(features[~train], species[~train]))

    by_form = accuracy(_embed(_model(), images), 0.03)
    by_colour = accuracy(np.stack([_colour_histogram(image) for image in images]), 0.1)
    assert by_form >= 0.45, "one in 24 would be right by chance"
    assert by_form - by_colour >= 0.25
