"""What a blocking check stops where the next assets have partitions of another family, and so runs of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.lake_corruption import OwnLake, rewrite, with_value

_GIVEN = (
    "profile",
    "lake",
    "training_metadata",
    "training_images",
    "plot_images",
    "plot_truth",
    "training_shards",
    "plot_shards",
    "base_model",
    "base_weights",
    "base_input_size",
    "image_size",
    "workers",
)


def as_variables(settings: Settings) -> dict[str, str]:
    """Give the environment of a process that is to have these settings."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PLANTCLEF_", "DAGSTER_"))}
    given = {f"PLANTCLEF_{name.upper()}": str(getattr(settings, name)) for name in _GIVEN}
    return outside | given | {"PLANTCLEF_CLASSIFIER": json.dumps(settings.classifier.model_dump())}


@pytest.mark.slow
def test_the_chain_stops_at_a_blocking_check_and_leaves_the_classifiers_alone(
    own_lake: OwnLake, tmp_path: Path
) -> None:
    settings = own_lake()
    home = tmp_path / "dagster_home"
    home.mkdir()
    classifiers = {
        name: Lake(settings.lake).path(Artifact("classifier", name, "safetensors")) for name in ("base_cls", "base_dct")
    }
    before = {name: path.stat().st_mtime_ns for name, path in classifiers.items()}
    rewrite(settings, Artifact("base_embeddings", "01"), lambda table: with_value(table, "dct", 0, [float("nan")] * 64))
    ended = subprocess.run(
        [sys.executable, "-m", "plantclef_assets"],
        env=as_variables(settings) | {"DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 1
    assert "training_side failed" in ended.stderr
    assert "classifiers:" not in ended.stdout, "the next run is not even begun"
    assert {name: path.stat().st_mtime_ns for name, path in classifiers.items()} == before
