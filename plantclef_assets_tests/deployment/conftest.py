"""Fixtures of the deployment: the platform over the tiny survey, and a lake made without it to compare with."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.settings import Settings
from plantclef_assets_tests.cli.test_command_line import environment
from plantclef_assets_tests.deployment.platform import Platform, running_platform
from plantclef_assets_tests.deployment.postgres import postgres_folder
from plantclef_assets_tests.tiny import copy_lake, materialize, tiny_settings

_SLOW = {"training_shards": 8, "batch_size": 1, "base_input_size": 252}
"""Shards enough, and each slow enough, to be interrupted in the middle."""


@pytest.fixture(scope="session")
def _postgres() -> None:
    """What the platform needs of the machine."""
    if postgres_folder() is None:
        pytest.skip("Postgres is not installed: apt-get install postgresql")
    if find_spec("dagster_postgres") is None:
        pytest.skip("dagster-postgres is not installed: pip install 'plantclef-assets[dev]'")


@pytest.fixture(scope="session")
def local_lake(_postgres: None, tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a lake that was made in this process, to the embeddings of the photographs."""
    lake = tmp_path_factory.mktemp("local") / "lake"
    without_plots = {"plot_images": None, "plot_truth": None, "validation": {"plots": 0}}
    settings = tiny_settings(tiny_survey, lake, **_SLOW, **without_plots)
    assert materialize(settings, "training_metadata,class_map,training_manifest,base_backbone").success
    assert materialize(settings, "raw_images,resized_images,base_embeddings", first="00", last="07").success
    return settings


@pytest.fixture(scope="session")
def platform(local_lake: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The deployed platform over a copy of that lake without embeddings; its schedule is every minute, switched off."""
    folder = tmp_path_factory.mktemp("platform")
    settings = local_lake.model_copy(update={"lake": str(copy_lake(Path(local_lake.lake), folder / "lake"))})
    variables = environment(settings, Path(), **_SLOW, schedule="* * * * *", plot_images="none", plot_truth="none")
    with running_platform(folder, settings, variables | {"PLANTCLEF_VALIDATION__PLOTS": "0"}) as running:
        running.forget_embeddings()
        for source in ("training_metadata", "class_map", "training_manifest", "base_backbone"):
            running.report(source)
        for images in ("raw_images", "resized_images"):
            running.report(images, shard_keys(settings.training_shards))
        yield running
