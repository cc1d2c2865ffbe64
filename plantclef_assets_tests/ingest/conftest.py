"""The small lake of a test, and a server to download from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plantclef_assets.ingest.downloads import download_file
from plantclef_assets.ingest.limits import Limits, Retries
from plantclef_assets_tests.ingest.failing_server import CONTENT, ONE_BY_ONE, QUICK, FailingServer, Fetch, serve
from plantclef_assets_tests.ingest.small_lake import SmallLake


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return SmallLake(tmp_path)


@pytest.fixture
def server() -> Iterator[FailingServer]:
    with serve(FailingServer({"/w.bin": CONTENT})) as server:
        yield server


@pytest.fixture
def fetch(server: FailingServer, tmp_path: Path) -> Fetch:
    """Download the file and give its bytes."""

    def fetch(limits: Limits = ONE_BY_ONE, retries: Retries = QUICK, **others: object) -> bytes:
        target = tmp_path / "w.bin"
        return download_file(f"{server.root}w.bin", target, limits=limits, retries=retries, **others).read_bytes()  # type: ignore[arg-type]

    return fetch
