"""The platform as it is deployed: Postgres, webserver and daemon, over the tiny survey, asked by GraphQL."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.cli.commands import DAGSTER, PROJECT, make_instance
from plantclef_assets_tests.deployment.postgres import Postgres, running_postgres
from plantclef_assets_tests.deployment.processes import Server, quick_daemon, wait_for
from plantclef_assets_tests.engines.spark_cluster import free_port

SENSOR = "materialize_missing"
_LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "plantclef_assets"}
_TRIES = 10
_ENDED = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED"}


class Platform:
    """Webserver and daemon on one instance."""

    def __init__(self, home: Path, settings: Settings, variables: Mapping[str, str], postgres: Postgres) -> None:
        self.home, self.settings, self.postgres = home, settings, postgres
        self.variables = os.environ | variables | quick_daemon() | {"DAGSTER_HOME": str(home), "PYTHONUNBUFFERED": "1"}
        self.address = f"http://127.0.0.1:{(port := free_port())}"
        workspace = ["-w", PROJECT / "workspace.yaml"]
        self.webserver = self._start("dagster-webserver", *workspace, "-h", "127.0.0.1", "-p", str(port))
        wait_for(self._answers, 90, "the webserver")
        self.switch_sensor("stop")
        self.daemon = self._start("dagster-daemon", "run", *workspace)
        wait_for(self.is_healthy, 90, "the daemon")

    def _start(self, program: str, *arguments: str | Path) -> Server:
        return Server([DAGSTER.with_name(program), *arguments], self.variables, self.home / f"{program}.log")

    def _answers(self) -> bool:
        try:
            locations = self.ask("query{locationStatusesOrError{...on WorkspaceLocationStatusEntries{entries{id}}}}")
        except requests.ConnectionError:
            return False
        return bool(locations["locationStatusesOrError"]["entries"])

    def is_healthy(self) -> bool:
        """Whether every daemon that is needed beats."""
        health = self.ask("query{instance{daemonHealth{allDaemonStatuses{required healthy}}}}")["instance"]
        return all(one["healthy"] for one in health["daemonHealth"]["allDaemonStatuses"] if one["required"])

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Ask by GraphQL and give the data of the answer; where Postgres has lost the connection, ask again."""
        for _ in range(_TRIES):
            reply = requests.post(f"{self.address}/graphql", json={"query": query, "variables": variables}, timeout=60)
            answer = reply.json()
            if "OperationalError" not in str(answer.get("errors")):
                break
            time.sleep(1)
        assert "errors" not in answer, answer
        return answer["data"]

    def launch(self, *assets: str, keys: list[str] | None = None) -> str:
        """Launch a backfill of these assets, over all partitions where none are named, and give its id."""
        answer = self.ask(
            "mutation($p:LaunchBackfillParams!){launchPartitionBackfill(backfillParams:$p)"
            "{__typename ...on LaunchBackfillSuccess{backfillId} ...on PythonError{message}}}",
            p={
                "assetSelection": [{"path": [asset]} for asset in assets],
                **({"partitionNames": keys} if keys else {"allPartitions": True}),
            },
        )["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return answer["backfillId"]

    def launch_failed(self, backfill: str) -> str:
        """Launch what has failed of a backfill once more, and give the id of the new one."""
        answer = self.ask(
            "mutation($p:ReexecutionParams!){reexecutePartitionBackfill(reexecutionParams:$p)"
            "{__typename ...on LaunchBackfillSuccess{backfillId} ...on PythonError{message}}}",
            p={"parentRunId": backfill, "strategy": "FROM_FAILURE"},
        )["reexecutePartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return answer["backfillId"]

    def report(self, asset: str, keys: list[str] | None = None) -> None:
        """Tell Dagster that an asset has been materialized elsewhere."""
        answer = self.ask(
            "mutation($p:ReportRunlessAssetEventsParams!){reportRunlessAssetEvents(eventParams:$p)"
            "{__typename ...on PythonError{message}}}",
            p={"eventType": "ASSET_MATERIALIZATION", "assetKey": {"path": [asset]}, "partitionKeys": keys},
        )["reportRunlessAssetEvents"]
        assert answer["__typename"] == "ReportRunlessAssetEventsSuccess", answer

    def backfills(self) -> list[str]:
        """Give the ids of all backfills, the newest first."""
        answer = self.ask("query{partitionBackfillsOrError(limit:50){...on PartitionBackfills{results{id}}}}")
        return [one["id"] for one in answer["partitionBackfillsOrError"]["results"]]

    def status(self, backfill: str) -> str:
        """Give what has become of a backfill so far."""
        query = "query($i:String!){partitionBackfillOrError(backfillId:$i){...on PartitionBackfill{status}}}"
        return self.ask(query, i=backfill)["partitionBackfillOrError"]["status"]

    def finish(self, backfill: str, seconds: float = 240) -> str:
        """Wait until a backfill has ended and give how."""
        wait_for(lambda: self.status(backfill) in _ENDED, seconds, f"the end of backfill {backfill}")
        return self.status(backfill)

    def partitions(self, asset: str) -> dict[str, set[str]]:
        """Give the partitions of an asset that Dagster holds for materialized, failed and missing."""
        what = "materializedPartitions failedPartitions unmaterializedPartitions"
        node = self.ask(
            "query($k:AssetKeyInput!){assetNodeOrError(assetKey:$k){...on AssetNode{assetPartitionStatuses"
            "{...on DefaultPartitionStatuses{" + what + "}}}}}",
            k={"path": [asset]},
        )["assetNodeOrError"]["assetPartitionStatuses"]
        return {name.removesuffix("Partitions"): set(node[name]) for name in what.split()}

    def check_results(self, asset: str) -> dict[str, str]:
        """Give how the last execution of each check of an asset ended."""
        node = self.ask(
            "query($k:AssetKeyInput!){assetNodeOrError(assetKey:$k){...on AssetNode{assetChecksOrError"
            "{...on AssetChecks{checks{name executionForLatestMaterialization{status}}}}}}}",
            k={"path": [asset]},
        )["assetNodeOrError"]["assetChecksOrError"]["checks"]
        latest = {one["name"]: one["executionForLatestMaterialization"] for one in node}
        return {name: execution["status"] if execution else "NOT EXECUTED" for name, execution in latest.items()}

    def switch_sensor(self, what: str) -> None:
        """Switch the sensor on (`start`) or off (`stop`)."""
        if what == "start":
            mutation = (
                "mutation($s:SensorSelector!){startSensor(sensorSelector:$s){__typename ...on PythonError{message}}}"
            )
            self.ask(mutation, s=_LOCATION | {"sensorName": SENSOR})
            return
        query = "query($s:SensorSelector!){sensorOrError(sensorSelector:$s){...on Sensor{sensorState{id}}}}"
        state = self.ask(query, s=_LOCATION | {"sensorName": SENSOR})["sensorOrError"]["sensorState"]
        self.ask("mutation($i:String!){stopSensor(id:$i){__typename ...on PythonError{message}}}", i=state["id"])

    def embedded(self) -> list[Path]:
        """Give the files of the shards that are embedded."""
        return sorted((Path(self.settings.lake) / "base_embeddings").glob("*.parquet"))

    def forget_embeddings(self) -> None:
        """Take the embeddings out of the lake."""
        for path in self.embedded():
            path.unlink()

    def run_process(self) -> int:
        """Give the process of the run that holds the accelerator."""
        return int((self.home / "accelerator.holder").read_text().split()[1])

    def stop(self) -> None:
        """End webserver and daemon and all that they have started."""
        self.daemon.stop()
        self.webserver.stop()


@contextmanager
def running_platform(folder: Path, settings: Settings, variables: Mapping[str, str]) -> Iterator[Platform]:
    """Run Postgres, webserver and daemon; afterwards no process of theirs remains."""
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres(folder / "postgres.log"))
        home = make_instance(folder / "home", postgres.storage)
        platform = Platform(home, settings, variables, postgres)
        stack.callback(platform.stop)
        yield platform


def differing_shards(made: Settings, wanted: Settings, asset: str) -> list[str]:
    """Give the shards of an asset that are not the same bytes in two lakes."""
    lakes = [Lake(settings.lake) for settings in (made, wanted)]
    artifacts = [Artifact(asset, key) for key in shard_keys(made.training_shards)]
    return [
        str(artifact)
        for artifact in artifacts
        if len({lake.path(artifact).read_bytes() if lake.exists(artifact) else b"" for lake in lakes}) > 1
    ]
