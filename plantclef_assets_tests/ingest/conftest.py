"""The small lake of a test, and a server to download from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plantclef_assets_tests.ingest.failing_server import CONTENT, FailingServer, serve
from plantclef_assets_tests.ingest.small_lake import SmallLake


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return SmallLake(tmp_path)


@pytest.fixture
def server() -> Iterator[FailingServer]:
    with serve(FailingServer({"/w.bin": CONTENT})) as server:
        yield server
