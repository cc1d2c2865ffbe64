"""The small lake of a test."""

from pathlib import Path

import pytest

from plantclef_assets_tests.ingest.small_lake import SmallLake


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return SmallLake(tmp_path)
