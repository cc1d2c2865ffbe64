"""Fixtures that many rooms share: the tiny survey, a lake made from it, and the real sample."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import copy_lake, materialize_chain, tiny_settings, write_tiny_survey


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """Keep the variables of whoever runs the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("PLANTCLEF_") and name != "PLANTCLEF_TEST_DATA":
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def tiny_survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny survey; to be read only."""
    return write_tiny_survey(tmp_path_factory.mktemp("tiny") / "survey")


@pytest.fixture(scope="session")
def tiny_lake(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a lake over the tiny survey in which everything is materialized; to be read only."""
    settings = tiny_settings(tiny_survey, tmp_path_factory.mktemp("lake") / "lake")
    materialize_chain(settings)
    return settings


@pytest.fixture
def own_lake(tiny_lake: Settings, tmp_path: Path) -> Callable[..., Settings]:
    """A copy of the tiny lake that a test may change; settings can be changed with it."""
    lake = copy_lake(Path(tiny_lake.lake), tmp_path / "lake")

    def settings(**changes: object) -> Settings:
        return Settings(**(tiny_lake.model_dump() | {"lake": str(lake)} | changes))

    return settings


@pytest.fixture(scope="session")
def sample() -> Path:
    """The real PlantCLEF sample; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("PLANTCLEF_TEST_DATA", "")) / "plantclef_sample"
    if not os.environ.get("PLANTCLEF_TEST_DATA") or not folder.is_dir():
        pytest.skip("PLANTCLEF_TEST_DATA does not say where the real sample is")
    return folder
