"""The chain with its lake in a bucket, against a real server: the artifacts and the manners are those of a folder."""

from pathlib import Path

import pytest

from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.learning import maps
from plantclef_assets.recipes import build_recipes
from plantclef_assets.resources import LakeResource
from plantclef_assets.settings import Settings
from plantclef_assets_tests.gcs_server import make_bucket
from plantclef_assets_tests.tiny import (
    FINETUNED_CHAIN,
    failed_checks,
    materialize,
    materialize_chain,
    materialized,
    with_finetuned,
)

pytestmark = [pytest.mark.gcs, pytest.mark.slow]


@pytest.fixture(scope="module")
def in_bucket(tiny_survey: Path, gcs: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a lake in a bucket in which everything is materialized."""
    folder = tmp_path_factory.mktemp("bucket")
    lake = f"{make_bucket(gcs, 'whole-chain')}/lake"
    settings = with_finetuned(tiny_survey, lake, cache=str(folder / "cache"), workers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "LEAST_ROWS_FOR_UMAP", 1000)
        materialize_chain(settings, FINETUNED_CHAIN)
    return settings


def generations(settings: Settings) -> dict[str, str]:
    """Give the generation of every object of the lake, by its name below the root."""
    filesystem, root = open_filesystem(settings.lake)
    found = filesystem.find(root, detail=True)
    return {path.removeprefix(root + "/"): entry["generation"] for path, entry in found.items()}


def test_every_artifact_is_the_one_of_a_local_run(in_bucket: Settings, finetuned_lake: Settings) -> None:
    far, near = Lake(in_bucket.lake, in_bucket.cache), Lake(finetuned_lake.lake)
    for recipe in build_recipes(in_bucket).values():
        for artifact in recipe.artifacts:
            record = far.record(artifact)
            assert record is not None, artifact
            assert record == near.record(artifact), artifact
            assert far.path(artifact).read_bytes() == near.path(artifact).read_bytes(), artifact
    root = Path(finetuned_lake.lake)
    assert set(generations(in_bucket)) == {path.relative_to(root).as_posix() for path in root.rglob("*.*")}
    for path in (root / "submission").glob("*.csv"):
        beside = far.path(Artifact("submission", path.stem, "csv"))
        assert beside.read_bytes() == path.read_bytes()


def test_asking_again_changes_nothing_and_every_check_passes(in_bucket: Settings) -> None:
    before = generations(in_bucket)
    for selection, first, last in FINETUNED_CHAIN:
        result = materialize(in_bucket, selection, first=first, last=last)
        assert result.success
        assert failed_checks(result) <= {("classifier", "stopped_early"), ("finetuned_backbone", "finetuning_helped")}
        assert materialized(result) == set(selection.split(","))
    assert generations(in_bucket) == before


def test_what_is_lost_is_made_again_and_is_the_same(in_bucket: Settings) -> None:
    lake = Lake(in_bucket.lake, in_bucket.cache)
    wanted = {}
    for artifact in (Artifact("resized_images", "01"), Artifact("submission", "base_cls_full", "csv")):
        wanted[artifact] = lake.path(artifact).read_bytes()
        lake.path(artifact).unlink()
    assert not materialize(in_bucket, "base_embeddings", first="01").success, "an input is missing"
    assert materialize(in_bucket, "resized_images", first="00", last="02").success
    assert materialize(in_bucket, "submission", first="base_cls_full").success
    for artifact, content in wanted.items():
        assert lake.path(artifact).read_bytes() == content, "also what lies beside an artifact"


def test_a_run_that_was_overtaken_says_so(in_bucket: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else publishes the shard while this run makes it."""
    from plantclef_assets.lake import buckets

    lake, artifact = Lake(in_bucket.lake, in_bucket.cache), Artifact("tile_predictions", "00")
    content = lake.path(artifact).read_bytes()
    lake.path(artifact).unlink()
    create = buckets.create_object

    def create_late(client: object, address: str, file: Path, *, replaces: int) -> None:
        if address == str(lake.path(artifact)):
            lake.path(artifact).write_bytes(lake.path(Artifact("tile_predictions", "01")).read_bytes())
        create(client, address, file, replaces=replaces)  # type: ignore[arg-type]

    monkeypatch.setattr(buckets, "create_object", create_late)
    result = materialize(in_bucket, "tile_predictions", first="00")
    assert not result.success
    (failure,) = [event for event in result.get_step_failure_events() if event.step_key == "tile_predictions"]
    assert "was changed by somebody else while it was made here" in str(failure.event_specific_data)
    monkeypatch.undo()
    assert materialize(in_bucket, "tile_predictions", first="00").success
    assert lake.path(artifact).read_bytes() == content


def test_a_bucket_that_is_not_there_ends_a_run_in_one_sentence(in_bucket: Settings) -> None:
    absent = in_bucket.model_copy(update={"lake": "gs://no-such-bucket/lake"})
    with pytest.raises(Exception) as caught:
        materialize(absent, "training_metadata")
    said = []
    error: BaseException | None = caught.value
    while error is not None:
        said.append(str(error))
        error = error.__cause__
    assert "there is no bucket 'no-such-bucket'; make it, or mend its name" in said


def test_the_client_is_that_of_dagster_gcp(gcs: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster import build_init_resource_context
    from dagster_gcp import GCSResource
    from google.cloud.storage import Client

    made = []

    def get_client(self: GCSResource) -> Client:
        made.append(Client(project="of-the-resource"))
        return made[-1]

    monkeypatch.setattr(GCSResource, "get_client", get_client)
    resource = LakeResource(root=f"{bucket}/lake", cache="unused")
    resource.setup_for_execution(build_init_resource_context())
    assert [resource.lake.storage] == made
