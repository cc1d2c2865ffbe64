"""Fixtures of the Spark engine's tests: Java, sessions, and a cluster on loopback."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from plantclef_assets_tests.engines.spark_cluster import QUICK, Cluster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def java() -> None:
    """Java, which Spark runs on; tests that need it are skipped where it is absent."""
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        pytest.skip("Spark needs Java, and there is none: apt-get install openjdk-17-jre-headless (17 or newer)")


@pytest.fixture(scope="module")
def local_session(java: None) -> "Iterator[SparkSession]":
    """A session with two cores of this machine."""
    yield from _session("local[2]", {})


@pytest.fixture(scope="module")
def executors_session(java: None, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """A session with two executors, which are processes of their own and have a GPU each, as far as Spark knows."""
    discovery = tmp_path_factory.mktemp("gpus") / "discover.sh"
    discovery.write_text("""#!/bin/sh\necho '{"name": "gpu", "addresses": ["0", "1"]}'\n""")
    discovery.chmod(0o755)
    gpus = {
        "spark.worker.resource.gpu.amount": "2",
        "spark.worker.resource.gpu.discoveryScript": str(discovery),
        "spark.executor.resource.gpu.amount": "1",
        "spark.task.resource.gpu.amount": "1",
    }
    yield from _session("local-cluster[2,1,1024]", gpus)


@pytest.fixture(scope="module")
def cluster(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A standalone master with two workers."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def _session(master: str, config: dict[str, str]) -> "Iterator[SparkSession]":
    from plantclef_assets.resources import SparkEngine

    session = SparkEngine(master=master, remote=None, config=QUICK | config).open().spark_session
    yield session
    session.stop()
