"""Fixtures that many packages share: the tiny survey, lakes made from it, a Cloud Storage server, the real sample.

The packages that compute are tested without Dagster too, so it is imported where a fixture needs it.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from plantclef_assets.settings import Settings

pytest_plugins = ["plantclef_assets_tests.scheduling"]

BuildOnce = Callable[[str, Callable[[Path], object]], Path]
"""Takes the name of a folder and the function that fills it, and returns the filled folder."""


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """Keep the variables of whoever runs the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("PLANTCLEF_") and name != "PLANTCLEF_TEST_DATA":
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """Build a folder once for all workers of a test run: the first that needs it builds, the others wait."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def folder_of(name: str, build: Callable[[Path], object]) -> Path:
        folder = root / f"shared_{name}"
        with FileLock(root / f"shared_{name}.lock"):
            built = folder / ".built"
            if not built.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                build(folder)
                built.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def tiny_survey(build_once: BuildOnce) -> Path:
    """The folder of the tiny survey; read-only."""
    from plantclef_assets_tests.tiny import write_tiny_survey

    return build_once("survey", lambda folder: write_tiny_survey(folder / "survey")) / "survey"


@pytest.fixture(scope="session")
def tiny_lake(tiny_survey: Path, build_once: BuildOnce) -> "Settings":
    """The settings of a lake over the tiny survey in which everything is materialized; read-only."""
    from plantclef_assets_tests.tiny import materialize_chain, tiny_settings

    folder = build_once("lake", lambda folder: materialize_chain(tiny_settings(tiny_survey, folder / "lake")))
    return tiny_settings(tiny_survey, folder / "lake")


@pytest.fixture(scope="session")
def finetuned_lake(tiny_survey: Path, build_once: BuildOnce) -> "Settings":
    """Like `tiny_lake`, with a fine-tuned backbone, so that every asset exists; read-only.

    Its embedding map is laid out without UMAP, which would take longer than all the rest: it is compiled on first use.
    """
    from plantclef_assets.models import separation as maps
    from plantclef_assets_tests.tiny import materialize_chain, with_finetuned

    def build(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(maps, "LEAST_ROWS_FOR_UMAP", 1000)
            materialize_chain(with_finetuned(tiny_survey, folder / "lake"))

    return with_finetuned(tiny_survey, build_once("finetuned", build) / "lake")


@pytest.fixture(scope="session")
def inbox_lake(finetuned_lake: "Settings", build_once: BuildOnce) -> "Settings":
    """Like `finetuned_lake`, with an inbox from which two deliveries were taken and processed; read-only."""
    from plantclef_assets_tests.inboxes import SETTLED_AT_ONCE, deliver
    from plantclef_assets_tests.tiny import materialize_chain

    def settings_in(folder: Path) -> "Settings":
        changes = {"lake": str(folder / "lake"), "inbox": str(folder / "inbox"), "inbox_shards": 3}
        return _changed(finetuned_lake, changes | {"inbox_settle_seconds": SETTLED_AT_ONCE})

    def build(folder: Path) -> None:
        (folder / "inbox").mkdir()
        shutil.copytree(finetuned_lake.lake, folder / "lake")
        deliver(settings_in(folder), [[1, 2], [3, 4]])
        materialize_chain(settings_in(folder), inbox=True)

    return settings_in(build_once("inbox", build))


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
    from plantclef_assets_tests.tiny import copy_lake

    lake = copy_lake(Path(of.lake), target)

    def settings(**changes: object) -> "Settings":
        return _changed(of, {"lake": str(lake)} | changes)

    return settings


def _changed(settings: "Settings", changes: Mapping[str, object]) -> "Settings":
    from plantclef_assets.settings import Settings

    return Settings(**(settings.model_dump() | changes))


@pytest.fixture
def browser(tmp_path: Path) -> "Iterator[Chrome]":
    """Chromium without a screen."""
    from plantclef_assets_tests.browser import open_browser

    with open_browser(tmp_path) as chrome:
        yield chrome


@pytest.fixture(scope="session")
def sample() -> Path:
    """The real PlantCLEF sample; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("PLANTCLEF_TEST_DATA", "")) / "plantclef_sample"
    if not os.environ.get("PLANTCLEF_TEST_DATA") or not folder.is_dir():
        pytest.skip("the real sample is missing: set PLANTCLEF_TEST_DATA to the folder that holds plantclef_sample/")
    return folder
