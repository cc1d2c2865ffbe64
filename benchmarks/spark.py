"""A local Spark session for the arms of the reference."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.timing import CORES
from plantclef_assets.engines.spark_session import require_spark


def start_session() -> Any:
    """Start a local Spark session with a worker for each core; it ends with the process, or when it is stopped.

    Raises:
        SparkUnavailableError: pyspark or Java is missing.
    """
    require_spark(f"local[{CORES}]", None)
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    options: dict[str, Any] = {
        "spark.driver.memory": "3g",
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master(f"local[{CORES}]").config(map=options)
    return builder.getOrCreate()


@contextmanager
def spark_session() -> Iterator[Any]:
    """Start a session as `start_session` does, and stop it at the end of the block."""
    session = start_session()
    try:
        yield session
    finally:
        session.stop()
