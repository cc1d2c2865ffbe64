"""Lake and sources in a bucket, against a real server: the command line, a backfill, and where its logs go."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import PREFIX
from plantclef_assets_tests.cli.commands import PROJECT, PYTHON, make_instance, materialize_command, run_command
from plantclef_assets_tests.cli.dagster_server import DagsterServer, dagster_server
from plantclef_assets_tests.cli.test_command_line import environment
from plantclef_assets_tests.defs.chain_runs import evaluate_checks, evaluations
from plantclef_assets_tests.defs.test_bucket import generations
from plantclef_assets_tests.gcs_server import make_bucket, put_folder, put_object
from plantclef_assets_tests.tiny import failed_checks, materialize, tiny_settings

pytestmark = [pytest.mark.gcs, pytest.mark.slow, pytest.mark.first]

SHARDS = ("00", "01", "02")
SOURCES = {
    "training_metadata": "metadata.csv",
    "training_images": "images",
    "plot_images": "plots",
    "plot_truth": "truth.csv",
    "base_weights": "weights.safetensors",
}
KNOWN_OTHERWISE = {
    "training_metadata",
    "training_manifest",
    "base_backbone",
    "plot_manifest",
    "leaderboard",
    "sweep",
    "plot_report",
}
"""Assets that read a source, whose provenance names its version in the bucket in place of a digest of its bytes."""


@pytest.fixture(scope="module")
def survey(tiny_survey: Path, gcs: str) -> str:
    """The bucket of the tiny survey, which lies there below `survey`."""
    bucket = make_bucket(gcs, "survey-and-lake")
    put_folder(tiny_survey, f"{bucket}/survey")
    return bucket


def sources_in(bucket: str) -> dict[str, str]:
    return {name: f"{bucket}/survey/{place}" for name, place in SOURCES.items()}


def assert_same(far: Lake, near: Lake, artifact: Artifact) -> None:
    """Assert that an artifact is that of a local run: byte for byte, but for how sources are known."""
    found, wanted = far.record(artifact), near.record(artifact)
    assert found is not None, artifact
    assert wanted is not None, artifact
    assert (found.fingerprint, found.rows) == (wanted.fingerprint, wanted.rows), artifact
    if artifact.asset in KNOWN_OTHERWISE:
        assert found.provenance | {"sources": None} == wanted.provenance | {"sources": None}, artifact
        assert found.provenance["sources"] != wanted.provenance["sources"], artifact
    else:
        assert far.path(artifact).read_bytes() == near.path(artifact).read_bytes(), artifact


def test_assets_are_materialized_into_a_bucket(own_lake: Callable[..., Settings], bucket: str, tmp_path: Path) -> None:
    near = Lake(own_lake().lake)
    far = Lake(f"{bucket}/lake", str(tmp_path / "cache"))
    home = make_instance(tmp_path / "home")
    variables = environment(own_lake(), home, lake=far.root, cache=far.cache, workers=2)
    sources = run_command(materialize_command("training_metadata,class_map,training_manifest"), variables)
    assert sources.returncode == 0, sources.stdout + sources.stderr
    images = run_command(materialize_command("raw_images,resized_images", "00", "02"), variables)
    assert images.returncode == 0, images.stdout + images.stderr
    for artifact in (Artifact("training_manifest"), *(Artifact("resized_images", key) for key in SHARDS)):
        assert far.path(artifact).read_bytes() == near.path(artifact).read_bytes()
    assert "never closed" not in images.stderr
    assert not [path for path in far.folder.rglob("*") if path.is_file()], "nothing is left on this machine"


@pytest.fixture(scope="module")
def chained(tiny_survey: Path, tiny_lake: Settings, survey: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a lake in the bucket, filled by one command from sources in the bucket."""
    folder = tmp_path_factory.mktemp("chained")
    home, cache = make_instance(folder / "home"), str(folder / "cache")
    variables = environment(tiny_lake, home, lake=f"{survey}/lake", cache=cache, **sources_in(survey))
    validation = {"PLOTS": tiny_lake.validation.plots, "SIDE": tiny_lake.validation.side}
    variables |= {f"{PREFIX}VALIDATION__{name}": str(value) for name, value in validation.items()}
    result = run_command([str(PYTHON), "-m", "plantclef_assets"], variables)
    assert result.returncode == 0, result.stdout + result.stderr
    return tiny_settings(tiny_survey, f"{survey}/lake", cache=cache, **sources_in(survey))


def test_the_whole_chain_from_a_bucket_into_a_bucket_is_that_of_a_local_run(
    chained: Settings, tiny_lake: Settings
) -> None:
    near, far = Lake(tiny_lake.lake), Lake(chained.lake, chained.cache)
    for recipe in build_graph(tiny_lake).recipes.values():
        for artifact in recipe.artifacts:
            assert_same(far, near, artifact)
    answers = sorted(Path(near.root, "submission").glob("*.csv"))
    assert len(answers) == 2 * len(tiny_lake.active_runs)
    for path in answers:
        assert far.path(Artifact("submission", path.stem, "csv")).read_bytes() == path.read_bytes()


def test_what_is_replaced_in_the_bucket_is_noticed_and_nothing_else_is_made_again(chained: Settings) -> None:
    """Also a plot of as many bytes as the one before: its generation tells."""
    reading = "training_metadata,class_map,training_manifest,base_backbone,plot_manifest"
    before = generations(chained)
    unchanged = materialize(chained, reading)
    assert unchanged.success
    assert not failed_checks(unchanged)
    assert generations(chained) == before
    plot = f"{chained.plot_images}/PLOT-0-20240501.jpg"
    filesystem, path = open_filesystem(plot)
    put_object(plot, filesystem.cat_file(path)[:-2] + b"  ")
    found = evaluations(evaluate_checks(chained, "plot_manifest"), "plot_manifest")["up_to_date"]
    assert not found.passed
    assert str(found.description).startswith("plot_manifest was made with plot_images ")
    again = materialize(chained, reading)
    assert again.success
    assert not failed_checks(again)
    after = generations(chained)
    changed = {name for name, generation in after.items() if before[name] != generation}
    assert changed == {"plot_manifest.parquet", "quarantine/plot_manifest.parquet"}


@pytest.fixture(scope="module")
def server(survey: str, tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterServer]:
    """A deployment whose lake, sources and logs are in the bucket, with logs as the documentation has it."""
    folder = tmp_path_factory.mktemp("deployment")
    documented = (PROJECT / "docs" / "google-cloud.md").read_text()
    (logs,) = re.findall(r"```yaml\n(compute_logs:\n.*?)```", documented, re.DOTALL)
    home = make_instance(folder / "home", logs.replace("my-plants", survey.removeprefix("gs://")))
    settings = tiny_settings(
        tiny_survey, f"{survey}/backfilled", cache=str(folder / "cache"), workers=2, **sources_in(survey)
    )
    assert materialize(settings, "training_metadata,class_map,training_manifest").success
    variables = environment(settings, home, cache=settings.cache)
    with dagster_server(home, variables) as running:
        yield running


def test_a_backfill_from_a_bucket_into_a_bucket_is_that_of_a_local_run(
    server: DagsterServer, tiny_lake: Settings, survey: str, tmp_path: Path
) -> None:
    status, runs = server.backfill(["raw_images", "resized_images"], SHARDS)
    assert (status, len(runs)) == ("COMPLETED_SUCCESS", 1)
    far = Lake(f"{survey}/backfilled", str(tmp_path / "cache"))
    for asset in ("raw_images", "resized_images"):
        for shard in SHARDS:
            assert_same(far, Lake(tiny_lake.lake), Artifact(asset, shard))
        checks = server.checks(asset)
        assert checks
        assert set(checks.values()) == {True}, checks
    filesystem, root = open_filesystem(f"{survey}/dagster-logs")
    logs = [path for path in filesystem.find(root) if runs[0] in path]
    assert {path.rpartition(".")[2] for path in logs} == {"out", "err"}
    assert any(b"raw_images" in filesystem.cat_file(path) for path in logs), "they say what was made"
