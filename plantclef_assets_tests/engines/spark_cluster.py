"""A real Spark cluster on loopback, of pyspark's own classes: a standalone master, workers, a Spark Connect server.

Every process dies with the one that started it, however that ends, and a worker takes its executors with it.
Sessions of the test process are opened here too.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import plantclef_assets

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUICK = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.memory": "512m",
    "spark.log.level": "ERROR",
}
"""Spark's own settings for short work on a small machine."""
_PR_SET_PDEATHSIG = 1
_START_SECONDS = 180


def free_port() -> int:
    """Find a port of loopback that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def processes_of_session(leader: int) -> list[int]:
    """Return the processes of a session (setsid) except zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just gone
            continue
        if int(session) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def kill_session(leader: int) -> None:
    """Kill a process and all it has started, as a machine that fails does."""
    for process in processes_of_session(leader):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def open_session(master: str, config: dict[str, str]) -> "Iterator[SparkSession]":
    """Yield a session and stop it with its JVM; there is one in a process at a time.

    A later session in the same JVM would inherit the configuration of this one.
    """
    from pyspark import SparkContext

    from plantclef_assets.orchestration.resources import SparkEngine

    session = SparkEngine(master=master, remote=None, config=QUICK | config).open().spark_session
    gateway = SparkContext._gateway
    assert gateway is not None
    yield session
    session.stop()
    gateway.shutdown()
    gateway.proc.kill()  # pyright: ignore[reportAttributeAccessIssue] (pyspark adds the process; it may ignore SIGTERM)
    gateway.proc.wait()  # pyright: ignore[reportAttributeAccessIssue]
    SparkContext._gateway = SparkContext._jvm = None


class Cluster:
    """A standalone master with workers of one core each; use as a context manager.

    Attributes:
        master: its address.
        workers: the processes of its workers.
    """

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self._folder, self._count = folder, workers
        self._logs: dict[int, Path] = {}
        self._others: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.master = f"spark://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        try:
            arguments = ["--host", "127.0.0.1", "--port", self.master.rpartition(":")[2], "--webui-port", "0"]
            master = "org.apache.spark.deploy.master.Master"
            self._others.append(self._start("spark-class", master, *arguments))
            self._wait_for(self._others[0], "New state: ALIVE")
            for worker in [self.start_worker() for _ in range(self._count)]:
                self.wait_for_worker(worker)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        arguments = ["--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0"]
        arguments += ["--work-dir", str(self._folder), self.master]
        self.workers.append(self._start("spark-class", "org.apache.spark.deploy.worker.Worker", *arguments))
        return self.workers[-1]

    def wait_for_worker(self, worker: subprocess.Popen[bytes]) -> None:
        """Wait until the master knows a worker."""
        self._wait_for(worker, "Successfully registered with master")

    @contextmanager
    def connect_server(self) -> Iterator[str]:
        """Run a Spark Connect server on this cluster; gives its address."""
        port = free_port()
        config = QUICK | {
            "spark.master": self.master,
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(port),
            "spark.ui.enabled": "false",
            "spark.log.level": "INFO",
        }
        options = [word for name, value in config.items() for word in ("--conf", f"{name}={value}")]
        server = "org.apache.spark.sql.connect.service.SparkConnectServer"
        process = self._start("spark-submit", "--class", server, *options)
        try:
            self._wait_for(process, "Spark Connect server started")
            yield f"sc://127.0.0.1:{port}"
        finally:
            kill_session(process.pid)
            process.wait()

    def stop(self) -> None:
        """Kill all of it."""
        for process in (*self.workers, *self._others):
            kill_session(process.pid)
            process.wait()

    def _start(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        import pyspark

        package = str(Path(plantclef_assets.__file__).parents[1])
        variables = {
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "640m",
        }
        path = self._folder / f"{len(self._logs)}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [str(Path(pyspark.__file__).parent / "bin" / script), *arguments],
                env=os.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._logs[process.pid] = path
        return process

    def _wait_for(self, process: subprocess.Popen[bytes], line: str) -> None:
        log, end = self._logs[process.pid], time.monotonic() + _START_SECONDS
        while line not in log.read_text(errors="replace"):
            waits = process.poll() is None and time.monotonic() < end
            assert waits, f"it did not start:\n{log.read_text(errors='replace')[-3000:]}"
            time.sleep(0.2)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it is gone (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
