"""The chain with its lake in a bucket, against a real server: the artifacts and the manners are those of a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from plantclef_assets.definitions import build_defs
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models import separation as maps
from plantclef_assets.orchestration.resources import LakeResource
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.test_inbox import run_requested
from plantclef_assets_tests.gcs_server import make_bucket, put_folder
from plantclef_assets_tests.inboxes import SETTLED_AT_ONCE, Sensor, put_photograph
from plantclef_assets_tests.tiny import (
    failed_checks,
    launches,
    materialize,
    materialize_chain,
    materialized,
    with_finetuned,
)

LEARNED_FOR_A_MOMENT = {
    ("classifier", "stopped_early"),
    ("finetuned_backbone", "finetuning_helped"),
    ("embedding_map", "finetuned_separates_better"),
}
"""Checks of how well something was learned, which never block."""

pytestmark = [pytest.mark.gcs, pytest.mark.slow]


@pytest.fixture(scope="module")
def in_bucket(tiny_survey: Path, gcs: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a lake in a bucket in which everything is materialized."""
    folder = tmp_path_factory.mktemp("bucket")
    lake = f"{make_bucket(gcs, 'whole-chain')}/lake"
    settings = with_finetuned(tiny_survey, lake, cache=str(folder / "cache"), workers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "LEAST_ROWS_FOR_UMAP", 1000)
        materialize_chain(settings)
    return settings


def generations(settings: Settings) -> dict[str, str]:
    """Give the generation of every object of the lake, by its name below the root."""
    filesystem, root = open_filesystem(settings.lake)
    found = filesystem.find(root, detail=True)
    return {path.removeprefix(root + "/"): entry["generation"] for path, entry in found.items()}


def test_every_artifact_is_the_one_of_a_local_run(in_bucket: Settings, finetuned_lake: Settings) -> None:
    far, near = Lake(in_bucket.lake, in_bucket.cache), Lake(finetuned_lake.lake)
    for recipe in build_graph(in_bucket).recipes.values():
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
    before, judged = generations(in_bucket), set()
    for selection, first, last in launches(in_bucket):
        result = materialize(in_bucket, selection, first=first, last=last)
        assert result.success
        assert failed_checks(result) <= LEARNED_FOR_A_MOMENT
        assert materialized(result) == set(selection.split(","))
        judged |= {evaluation.asset_check_key for evaluation in result.get_asset_check_evaluations()}
    assert generations(in_bucket) == before
    assert judged == set(build_defs(in_bucket).resolve_asset_graph().asset_check_keys)


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
    assert "was changed by another process while it was made here" in str(failure.event_specific_data)
    monkeypatch.undo()
    assert materialize(in_bucket, "tile_predictions", first="00").success
    assert lake.path(artifact).read_bytes() == content


def test_a_bucket_that_is_not_there_ends_a_run_in_one_sentence(in_bucket: Settings) -> None:
    absent = in_bucket.model_copy(update={"lake": "gs://no-such-bucket/lake"})
    result = materialize(absent, "training_metadata")
    assert not result.success
    said = [str(event.event_specific_data) for event in result.all_events]
    assert any("there is no bucket 'no-such-bucket'; create it, or correct its name" in one for one in said)
    assert materialized(result) == set()


def test_fine_tuning_that_broke_off_goes_on_from_its_state_in_the_bucket(
    in_bucket: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plantclef_assets.models.finetuning import Finetuning

    lake = Lake(in_bucket.lake, in_bucket.cache)
    path = lake.path(Artifact("finetuned_backbone", suffix="safetensors"))
    state = lake.path(Artifact("training", "finetuned_backbone", suffix="pt"))
    wanted, run_epoch = path.read_bytes(), Finetuning.run_epoch
    path.unlink()
    ran: list[int] = []

    def run_some(self: Finetuning, advance: Callable[[int], None]) -> Mapping[str, float]:
        if len(ran) == 2:
            raise FloatingPointError("the machine was wanted back")
        ran.append(self.finished_epochs)
        return run_epoch(self, advance)

    monkeypatch.setattr(Finetuning, "run_epoch", run_some)
    assert not materialize(in_bucket, "finetuned_backbone").success
    assert state.exists()
    ran.clear()
    assert materialize(in_bucket, "finetuned_backbone").success
    assert ran == [2], "only what was left"
    assert path.read_bytes() == wanted
    assert not state.exists()


def test_a_delivery_to_a_bucket_is_run_through_as_one_to_a_folder(
    in_bucket: Settings, own_finetuned_lake: Callable[..., Settings], tmp_path: Path
) -> None:
    for number in (1, 2):
        put_photograph(tmp_path / "inbox" / f"NEW-{number}.jpg", number)
    far = in_bucket.lake.removesuffix("lake") + "inbox"
    put_folder(tmp_path / "inbox", far)
    with_inbox = {"inbox_shards": 3, "inbox_settle_seconds": SETTLED_AT_ONCE}
    lakes = []
    for settings in (
        Settings(**(in_bucket.model_dump() | {"inbox": far} | with_inbox)),
        own_finetuned_lake(inbox=str(tmp_path / "inbox"), **with_inbox),
    ):
        assert Sensor(settings).requested() == ["00"]
        assert run_requested(settings, "00") == set()
        assert Sensor(settings).requested() == [], "what is done is not asked for again"
        lakes.append(Lake(settings.lake, settings.cache))
    for asset in ("inbox_plots", "finetuned_inbox_tile_embeddings", "inbox_predictions", "inbox_cover"):
        one, other = (lake.record(Artifact(asset, "00")) for lake in lakes)
        assert one is not None
        assert other is not None
        assert one.fingerprint == other.fingerprint, asset
    for suffix in ("csv", "json"):
        one, other = (lake.path(Artifact("inbox_cover", "00", suffix)).read_bytes() for lake in lakes)
        assert one == other


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
