"""Fixtures of the Spark engine's tests: Java, sessions, and a cluster on loopback."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from plantclef_assets.engines.spark_session import SparkUnavailableError, require_spark
from plantclef_assets_tests.engines.spark_cluster import Cluster, open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def java() -> None:
    """Java, which Spark runs on; tests that need it are skipped where it is absent, with what to do about it."""
    try:
        require_spark("local[2]", None)
    except SparkUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def local_session(java: None) -> "Iterator[SparkSession]":
    """A session with two cores of this machine."""
    yield from open_session("local[2]", {})


@pytest.fixture(scope="module")
def cluster(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A standalone master with two workers."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
