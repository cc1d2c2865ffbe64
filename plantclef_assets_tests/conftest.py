"""Fixtures that many rooms share: the tiny survey, a lake made from it, and the real sample.

The rooms that compute are tested without Dagster too, so it is imported where a fixture needs it.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plantclef_assets.settings import Settings


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
    from plantclef_assets_tests.tiny import write_tiny_survey

    return write_tiny_survey(tmp_path_factory.mktemp("tiny") / "survey")


@pytest.fixture(scope="session")
def tiny_lake(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> "Settings":
    """The settings of a lake over the tiny survey in which everything is materialized; to be read only."""
    from plantclef_assets_tests.tiny import materialize_chain, tiny_settings

    settings = tiny_settings(tiny_survey, tmp_path_factory.mktemp("lake") / "lake")
    materialize_chain(settings)
    return settings


@pytest.fixture(scope="session")
def finetuned_lake(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> "Settings":
    """Like `tiny_lake`, with a fine-tuned backbone, so that every asset is there; to be read only.

    Its embedding map is laid out without UMAP, which would take longer than all the rest: it is compiled on first use.
    """
    from plantclef_assets.learning import maps
    from plantclef_assets_tests.tiny import FINETUNED_CHAIN, materialize_chain, with_finetuned

    settings = with_finetuned(tiny_survey, tmp_path_factory.mktemp("finetuned") / "lake")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "LEAST_ROWS_FOR_UMAP", 1000)
        materialize_chain(settings, FINETUNED_CHAIN)
    return settings


@pytest.fixture(scope="session")
def inbox_lake(finetuned_lake: "Settings", tmp_path_factory: pytest.TempPathFactory) -> "Settings":
    """Like `finetuned_lake`, with an inbox from which two deliveries were taken and run through; to be read only."""
    from plantclef_assets_tests.inboxes import SETTLED_AT_ONCE, deliver
    from plantclef_assets_tests.tiny import INBOX_CHAIN, materialize_chain

    folder = tmp_path_factory.mktemp("inbox")
    (folder / "inbox").mkdir()
    ask = _own_copy(finetuned_lake, folder / "lake")
    settings = ask(inbox=str(folder / "inbox"), inbox_shards=3, inbox_settle_seconds=SETTLED_AT_ONCE)
    deliver(settings, [[1, 2], [3, 4]])
    materialize_chain(settings, INBOX_CHAIN)
    return settings


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of Cloud Storage on loopback; this process and those it starts are led there."""
    from plantclef_assets_tests.gcs_server import gcs_server, variables

    folder = tmp_path_factory.mktemp("gcs")
    (folder / "objects").mkdir()
    with gcs_server(folder / "objects") as address, pytest.MonkeyPatch.context() as patch:
        for name, value in (variables(address) | {"XDG_CACHE_HOME": str(folder / "cache")}).items():
            patch.setenv(name, value)
        yield address


@pytest.fixture
def bucket(gcs: str) -> str:
    """The address of a new bucket, `gs://…`."""
    from plantclef_assets_tests.gcs_server import make_bucket

    return make_bucket(gcs, f"bucket-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def own_lake(tiny_lake: "Settings", tmp_path: Path) -> "Callable[..., Settings]":
    """A copy of the tiny lake that a test may change; settings can be changed with it."""
    return _own_copy(tiny_lake, tmp_path / "lake")


@pytest.fixture
def own_finetuned_lake(finetuned_lake: "Settings", tmp_path: Path) -> "Callable[..., Settings]":
    """A copy of the lake with a fine-tuned backbone that a test may change."""
    return _own_copy(finetuned_lake, tmp_path / "lake")


@pytest.fixture
def own_inbox_lake(inbox_lake: "Settings", tmp_path: Path) -> "Callable[..., Settings]":
    """A copy of the lake with an inbox that a test may change; the inbox itself is to be read only."""
    return _own_copy(inbox_lake, tmp_path / "lake")


def _own_copy(of: "Settings", target: Path) -> "Callable[..., Settings]":
    from plantclef_assets.settings import Settings
    from plantclef_assets_tests.tiny import copy_lake

    lake = copy_lake(Path(of.lake), target)

    def settings(**changes: object) -> "Settings":
        return Settings(**(of.model_dump() | {"lake": str(lake)} | changes))

    return settings


@pytest.fixture(scope="session")
def sample() -> Path:
    """The real PlantCLEF sample; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("PLANTCLEF_TEST_DATA", "")) / "plantclef_sample"
    if not os.environ.get("PLANTCLEF_TEST_DATA") or not folder.is_dir():
        pytest.skip("PLANTCLEF_TEST_DATA does not say where the real sample is")
    return folder
