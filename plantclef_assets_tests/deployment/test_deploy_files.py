"""The files of deploy/: accepted by what reads them, where that is at hand, and wired to each other and the project."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.workspace.config_schema import process_workspace_config
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from plantclef_assets.orchestration.assets import ACCELERATOR_POOL
from plantclef_assets.settings import load_settings
from plantclef_assets_tests.cli.commands import PROJECT

DEPLOY = PROJECT / "deploy"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.fixture(scope="module")
def services() -> Mapping[str, Any]:
    return read("compose.yaml")["services"]


@pytest.fixture(scope="module")
def values() -> Mapping[str, Any]:
    return read("kubernetes/values.yaml")


def variables_read(config: Any) -> set[str]:
    """Give the variables that a configuration of Dagster's takes values from."""
    if isinstance(config, dict):
        if set(config) == {"env"}:
            return {config["env"]}
        return set().union(*map(variables_read, config.values()))
    return set().union(*map(variables_read, config)) if isinstance(config, list) else set()


def instance_config(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Give an instance's configuration as Dagster reads it; it refuses what it does not know."""
    folder.mkdir()
    (folder / "dagster.yaml").write_text(yaml.safe_dump(dict(config)))
    return dict(dagster_instance_config(str(folder))[0])


def bounds(requirements: list[str], name: str) -> str:
    return next(one.removeprefix(name) for one in requirements if re.match(rf"{name}[<>=]", one))


def test_everything_waits_for_a_healthy_database_that_is_migrated_once(services: Mapping[str, Any]) -> None:
    assert "pg_isready" in services["postgres"]["healthcheck"]["test"]
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["migrate"]["restart"] == "no"
    for name in services.keys() - {"postgres", "migrate"}:
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}, name


def test_the_limit_of_the_accelerators_pool_is_set_after_the_migration(services: Mapping[str, Any]) -> None:
    migrate, limit = services["migrate"]["command"][-1].split(" && ")
    assert migrate == "dagster instance migrate"
    assert limit.startswith(f"dagster instance concurrency set {ACCELERATOR_POOL} ")


def test_webserver_and_daemon_wait_for_the_code_server_of_the_profile(services: Mapping[str, Any]) -> None:
    for name in ("webserver", "daemon"):
        for worker in ("code-location", "gpu-worker"):
            wanted = {"condition": "service_healthy", "required": False}
            assert services[name]["depends_on"][worker] == wanted
    assert (services["code-location"]["profiles"], services["gpu-worker"]["profiles"]) == (["cpu"], ["gpu"])
    host = services["webserver"]["environment"]["CODE_SERVER_HOST"]
    assert host == "code-location" and host in services["gpu-worker"]["networks"]["default"]["aliases"]
    (device,) = services["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_what_dagster_reads_from_variables_is_set_for_all_that_read_it(services: Mapping[str, Any]) -> None:
    wanted = variables_read(read("dagster.yaml")) | variables_read(read("workspace.yaml"))
    assert wanted == {"DAGSTER_POSTGRES_URL", "CODE_SERVER_HOST", "CODE_SERVER_PORT"}
    for name in services.keys() - {"postgres"}:
        assert wanted <= services[name]["environment"].keys(), name


def test_logs_of_runs_lie_where_the_webserver_looks(services: Mapping[str, Any]) -> None:
    shared = "storage:/opt/dagster/storage"
    assert all(shared in services[name]["volumes"] for name in ("webserver", "code-location", "gpu-worker"))
    assert all(port.startswith("127.0.0.1:") for port in services["webserver"]["ports"]), "it knows no users"


def test_the_instance_is_the_one_of_a_single_machine_but_for_its_storage(tmp_path: Path) -> None:
    deployed, local = read("dagster.yaml"), yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    instance_config(tmp_path / "deployed", deployed)
    assert deployed.pop("storage") == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
    assert deployed["concurrency"].pop("runs") == {"max_concurrent_runs": 4}
    assert deployed == local


def test_logs_in_a_bucket_are_a_matter_of_the_comment_marks(tmp_path: Path) -> None:
    text = (DEPLOY / "dagster.yaml").read_text()
    start = text.index("# compute_logs:")
    config = yaml.safe_load(text[:start] + re.sub(r"^# ?", "", text[start:], flags=re.MULTILINE))
    assert instance_config(tmp_path / "home", config)["compute_logs"]["class"] == "GCSComputeLogManager"


def test_the_workspace_is_a_code_server(services: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in services["webserver"]["environment"].items():
        monkeypatch.setenv(name, value)
    result = process_workspace_config(read("workspace.yaml"))
    assert result.success, result.errors
    (location,) = read("workspace.yaml")["load_from"]
    local = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    assert location["grpc_server"]["location_name"] == local["location_name"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert json.dumps(["--module-name", local["module_name"]])[1:-1] in dockerfile
    assert f'"--port", "{services["webserver"]["environment"]["CODE_SERVER_PORT"]}"' in dockerfile


def test_the_image_has_the_versions_of_the_project(services: Mapping[str, Any]) -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    for name in ("torch", "torchvision"):
        assert f'"{name}{bounds(PYPROJECT["dependencies"], name)}"' in dockerfile
    stages = re.split(r"^FROM .* AS ", dockerfile, flags=re.MULTILINE)
    users = {stage.split()[0]: re.findall(r"^USER (\d+)$", stage, re.MULTILINE) for stage in stages[1:]}
    built = {services[name]["build"]["target"] for name in ("migrate", "gpu-worker")}
    assert built == {"cpu", "cuda"} and all(users[target][-1] == "1000" for target in built)


def test_the_constraints_hold_every_dependency_of_the_image_with_hashes() -> None:
    """The image installs them without looking for dependencies, so one that is not listed would be missing."""
    text = (DEPLOY / "constraints.txt").read_text()
    listed = dict(re.findall(r"^([a-z0-9._-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE))
    assert len(listed) == len(re.findall("==", text)) > 100
    extras = PYPROJECT["optional-dependencies"]
    wanted = [
        *PYPROJECT["dependencies"],
        *(one for name in ("deployment", "gcs", "spark", "umap") for one in extras[name]),
    ]
    for one in map(Requirement, wanted):
        name = canonicalize_name(one.name)
        if name in ("torch", "torchvision"):
            assert name not in listed, "its index is chosen when the image is built"
        else:
            assert one.specifier.contains(listed[name]), f"write constraints.txt again: {one}, but {listed[name]}"
    assert "--require-hashes" in (DEPLOY / "Dockerfile").read_text()
    assert not re.search(r"https?://|--index|--extra", text)


def test_the_build_context_holds_what_is_copied_and_no_more() -> None:
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        copied |= {word for word in line.split()[:-1] if not word.startswith("--")}
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert copied == let_in
    assert all((PROJECT / name).exists() for name in copied - {"plantclef_assets"}), "the package may be installed"


def test_runs_and_code_server_have_the_same_settings_and_they_can_be_read(
    values: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read("kubernetes/settings.yaml")
    source = [{"name": settings["metadata"]["name"]}]
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    (location,) = values["dagster-user-deployments"]["deployments"]
    assert source == launcher["envConfigMaps"] == location["envConfigMaps"]
    for name, value in settings["data"].items():
        monkeypatch.setenv(name, value)
    loaded = load_settings()
    assert loaded.lake.startswith("gs://") and loaded.shards_per_run and loaded.precision != "auto"
    assert launcher["volumeMounts"][0]["mountPath"] == loaded.cache


def test_the_chart_is_given_an_instance_that_dagster_accepts(values: Mapping[str, Any], tmp_path: Path) -> None:
    version = bounds(PYPROJECT["dependencies"], "dagster").removeprefix("==")
    assert f"--version {version} " in (DEPLOY / "kubernetes" / "values.yaml").read_text()
    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    more = values["additionalInstanceConfig"]
    coordinator = {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator", "config": {}}
    assert not values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    config = instance_config(tmp_path / "home", {"run_coordinator": coordinator, **more})
    assert config["concurrency"]["pools"] == read("dagster.yaml")["concurrency"]["pools"]
    assert config["run_retries"] == read("dagster.yaml")["run_retries"]


def test_what_is_said_of_pods_is_said_in_kubernetes_words(values: Mapping[str, Any]) -> None:
    job = pytest.importorskip(
        "dagster_k8s.job", reason="dagster-k8s is not installed: pip install 'plantclef-assets[dev]'"
    )
    every = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    names = {
        "containerConfig": "container_config",
        "podSpecConfig": "pod_spec_config",
        "jobSpecConfig": "job_spec_config",
    }
    job.UserDefinedDagsterK8sConfig.from_dict({names[name]: config for name, config in every.items()})
    tags = {name: json.dumps(value) for name, value in read("kubernetes/gpu-run-tags.yaml").items()}
    gpu = job.get_user_defined_k8s_config(tags)
    assert gpu.container_config["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert gpu.pod_spec_config["node_selector"] and gpu.pod_spec_config["tolerations"]


@pytest.mark.slow
def test_an_instance_is_made_in_postgres_and_keeps_the_limit_of_the_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(
        "dagster_postgres", reason="dagster-postgres is not installed: pip install 'plantclef-assets[dev]'"
    )
    from dagster import DagsterInstance

    from plantclef_assets_tests.deployment.postgres import DATABASE, postgres_folder, running_postgres

    if postgres_folder() is None:
        pytest.skip("Postgres is not installed: apt-get install postgresql")
    (tmp_path / "dagster.yaml").write_text((DEPLOY / "dagster.yaml").read_text())
    with running_postgres(tmp_path / "postgres.log") as postgres:
        url = f"postgresql+psycopg2://dagster:unused@127.0.0.1:{postgres.port}/{DATABASE}"
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
        for limit in (1, 3):
            with DagsterInstance.from_config(str(tmp_path)) as instance:
                instance.event_log_storage.set_concurrency_slots(ACCELERATOR_POOL, limit)
            with DagsterInstance.from_config(str(tmp_path)) as instance:
                assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
                assert instance.event_log_storage.get_concurrency_info(ACCELERATOR_POOL).slot_count == limit
