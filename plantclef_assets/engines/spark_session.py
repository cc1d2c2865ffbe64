"""Spark sessions: addresses, configuration, and the checks before a session is opened.

What belongs here: everything between the settings and a session. What does not: the jobs that run in it (`spark.py`).
"""

import os
import re
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import plantclef_assets
from plantclef_assets.redaction import without_secrets

_MASTER = re.compile(r"local(\[(\*|\d+)(,\d+)?\])?|local-cluster\[\d+,\d+,\d+\]|spark://[^/]+:\d+(,.+)?|yarn|k8s://.+")
_CONNECT = re.compile(r"sc://[^/]+(/.*)?")
_LOOPBACK = ("127.0.0.1", "localhost")
_DEFAULT_PORTS = {"spark": 7077, "sc": 15002}
_CONNECTION_SECONDS = 10
_JAVA = "Java 17 or newer (on Debian and Ubuntu: apt-get install openjdk-17-jre-headless)"


class SparkUnavailableError(RuntimeError):
    """Spark is not available; the message names the setting and says what to do."""


def check_spark_address(address: str | None, *, connect: bool) -> str | None:
    """Return the address of a Spark master, or of a Spark Connect server.

    Raises:
        ValueError: it does not have the form of such an address.
    """
    if address is None or (_CONNECT if connect else _MASTER).fullmatch(address):
        return address
    forms = "sc://host:port" if connect else "local[*], spark://host:port, yarn or k8s://…"
    kind = "a Spark Connect server" if connect else "a Spark master"
    raise ValueError(f"'{without_secrets(address)}' is not the address of {kind}; use {forms}")


def session_config(master: str, remote: str | None, config: Mapping[str, str]) -> dict[str, str]:
    """Return the configuration of a session.

    On this machine the driver is bound to the loopback interface, and workers import the package from the same path. A
    cluster must provide both (one image, one environment); a Spark Connect server is configured where it is started.

    Args:
        master: the master of a classic session.
        remote: the server of a Spark Connect session; if it is set, `master` is ignored.
        config: Spark's own settings by name; they take precedence.
    """
    if remote:
        return {"spark.remote": remote, **config}
    made = {
        "spark.master": master,
        "spark.app.name": "plantclef_assets",
        "spark.ui.showConsoleProgress": "false",
    }
    if is_on_this_machine(master):
        package = str(Path(plantclef_assets.__file__).parents[1])
        made |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.executorEnv.PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        }
    return made | dict(config)


def is_on_this_machine(master: str) -> bool:
    """Whether a master and its workers are certainly on this machine."""
    return master.startswith("local") or any(host in _LOOPBACK for host, _ in _endpoints(master))


def require_spark(master: str, remote: str | None) -> None:
    """Check the requirements of a session, whose own errors would come after minutes.

    Raises:
        SparkUnavailableError: pyspark or Java is missing, or the address does not accept connections.
    """
    for module in ("pyspark", "dagster_pyspark", *(("grpc", "grpc_status", "zstandard") if remote else ())):
        _require_module(module)
    if not remote and not _has_java():
        raise SparkUnavailableError(
            "PLANTCLEF_ENGINE: 'spark' needs Java on this machine, and neither JAVA_HOME nor PATH has one; install "
            f"{_JAVA}, set PLANTCLEF_SPARK_REMOTE to a Spark Connect server, which needs no local Java, or use 'local'."
        )
    variable, address = ("REMOTE", remote) if remote else ("MASTER", master)
    endpoints = _endpoints(address)
    if endpoints and not any(_answers(*endpoint) for endpoint in endpoints):
        raise SparkUnavailableError(
            f"PLANTCLEF_SPARK_{variable}: there is no answer from '{without_secrets(address)}'; start the "
            f"{'Spark Connect server' if remote else 'master'} or correct the address (host and port)."
        )


@contextmanager
def python_of_this_process() -> Iterator[None]:
    """Set the Python of local workers to that of this process, and restore the signal handler after opening a session.

    A classic session replaces the handler of SIGINT with which Dagster ends a run.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _require_module(name: str) -> None:
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise SparkUnavailableError(
            f"PLANTCLEF_ENGINE: 'spark' needs the package {name}, which is not installed; "
            "pip install 'plantclef-assets[spark]', or use 'local'."
        )


def _has_java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return Path(home, "bin", "java").is_file() if home else shutil.which("java") is not None


def _endpoints(address: str) -> list[tuple[str, int]]:
    """Return the hosts and ports of `spark://host:port,host:port` or `sc://host:port/;…`; none for other addresses."""
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return []
    parts = [urlsplit(f"//{one}") for one in rest.partition("/")[0].split(",")]
    return [(part.hostname or "", part.port or _DEFAULT_PORTS[scheme]) for part in parts]


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECTION_SECONDS).close()
    except OSError:
        return False
    return True
