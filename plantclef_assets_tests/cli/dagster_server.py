"""A Dagster deployment on loopback for tests: webserver and daemon, asked by GraphQL as the UI asks."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plantclef_assets_tests.cli.commands import DAGSTER, PROJECT
from plantclef_assets_tests.deployment.processes import quick_daemon

_START_SECONDS = 180
_BACKFILL_SECONDS = 300
_LAUNCH = """
mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PartitionKeysNotFoundError { message }
  ... on PythonError { message } } }"""
_BACKFILL = """
query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status runs(limit: 50) { runId status } } } }"""
_CHECKS = """
query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks {
    name executionForLatestMaterialization { runId evaluation { success } } } } } } } }"""
_DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"


@dataclass(frozen=True)
class DagsterServer:
    """A deployment that is running.

    Attributes:
        address: of its webserver.
    """

    address: str

    def ask(self, question: str, **variables: Any) -> dict[str, Any]:
        """Send a query or a mutation and give its data."""
        body = json.dumps({"query": question, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> tuple[str, list[str]]:
        """Launch a backfill, wait for its end, and give how it ended and the runs that it was."""
        parameters = {"assetSelection": [{"path": [asset]} for asset in assets], "partitionNames": list(partitions)}
        launched = self.ask(_LAUNCH, p=parameters)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        deadline = time.monotonic() + _BACKFILL_SECONDS
        while time.monotonic() < deadline:
            found = self.ask(_BACKFILL, id=launched["backfillId"])["partitionBackfillOrError"]
            if found["status"].startswith(("COMPLETED", "FAILED", "CANCELED")):
                return found["status"], [run["runId"] for run in found["runs"]]
            time.sleep(1)
        raise TimeoutError(f"the backfill is still {found['status']}")

    def checks(self, asset: str) -> dict[str, bool | None]:
        """Give whether each check of an asset passed after its last materialization; None where it was not run."""
        node = self.ask(_CHECKS, key={"path": [asset]})["assetNodeOrError"]
        latest = {
            check["name"]: check["executionForLatestMaterialization"] for check in node["assetChecksOrError"]["checks"]
        }
        return {name: one and one["evaluation"] and one["evaluation"]["success"] for name, one in latest.items()}


@contextmanager
def dagster_server(home: Path, variables: Mapping[str, str]) -> Iterator[DagsterServer]:
    """Run `dagster dev` on an instance with additional variables; it and all its processes are gone at the end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [str(DAGSTER), "dev", "-w", str(PROJECT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]
    log = home / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            env=os.environ | variables | quick_daemon() | {"DAGSTER_HOME": str(home)},
            cwd=home,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            server = DagsterServer(f"http://127.0.0.1:{port}")
            _wait_for(server, process, log)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_for(server: DagsterServer, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            daemons = server.ask(_DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
            if all(daemon["healthy"] for daemon in daemons if daemon["required"]):
                return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.5)
    raise TimeoutError(f"no server at {server.address}: {log.read_text()}")
