"""Downloads of the server's file."""

from pathlib import Path

import pytest

from plantclef_assets_tests.ingest.failing_server import ONE_BY_ONE, QUICK, FailingServer, Fetch, download_file


@pytest.fixture
def fetch(server: FailingServer, tmp_path: Path) -> Fetch:
    """Download the server's file and return its bytes."""

    def fetch(limits=ONE_BY_ONE, *, retries=QUICK, **options) -> bytes:
        return download_file(
            f"{server.root}w.bin", tmp_path / "w.bin", limits=limits, retries=retries, **options
        ).read_bytes()

    return fetch
