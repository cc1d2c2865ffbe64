"""The fine-tuned backbone as an asset: what it says of itself, and what is made of it."""

from collections.abc import Callable
from pathlib import Path

from dagster import DagsterInstance

from plantclef_assets.definitions import build_defs
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.backbone_files import open_backbone, read_saved_head
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.test_materialization import materialization_metadata
from plantclef_assets_tests.tiny import SPECIES, materialize

OwnLake = Callable[..., Settings]
BACKBONE = Artifact("finetuned_backbone", suffix="safetensors")


def test_it_says_where_it_comes_from_and_how_it_learned(own_finetuned_lake: OwnLake) -> None:
    settings = own_finetuned_lake()
    Lake(settings.lake).path(BACKBONE).unlink()
    with DagsterInstance.ephemeral() as instance:
        assert materialize(settings, "finetuned_backbone", instance=instance).success
        shown = materialization_metadata(instance, "finetuned_backbone")[None]
    assert shown["source"] == "fine-tuned here from weights.safetensors"
    assert "data:image/png;base64," in shown["learning_curves"]
    assert [row["epoch"] for row in shown["curves"]] == [0, 1, 2]
    assert shown["train_rows"] + shown["holdout_rows"] == 36
    base = Lake(settings.lake).record(Artifact("base_backbone", suffix="safetensors"))
    assert base is not None
    assert shown["weights_sha256"] != base.statistics["weights_sha256"]
    assert not list(Path(settings.lake, "training").glob("*")), "the state goes when the backbone is there"


def test_it_is_a_backbone_with_a_head_like_any_other(finetuned_lake: Settings) -> None:
    path = Lake(finetuned_lake.lake).path(BACKBONE)
    head = read_saved_head(path)
    assert head is not None
    assert head.species_ids.tolist() == sorted(SPECIES)
    assert open_backbone(path, "cpu", "fp32").info.data_config.input_size == 42


def test_asking_again_trains_nothing_and_another_seed_does(own_finetuned_lake: OwnLake) -> None:
    settings = own_finetuned_lake()
    path = Lake(settings.lake).path(BACKBONE)
    before, changed = path.read_bytes(), path.stat().st_mtime_ns
    assert materialize(settings, "finetuned_backbone").success
    assert path.stat().st_mtime_ns == changed
    assert materialize(own_finetuned_lake(seed=7), "finetuned_backbone").success
    assert path.read_bytes() != before


def test_a_state_of_another_training_is_not_gone_on_with(own_finetuned_lake: OwnLake) -> None:
    settings = own_finetuned_lake()
    lake = Lake(settings.lake)
    wanted = lake.path(BACKBONE).read_bytes()
    lake.path(BACKBONE).unlink()
    state = lake.path(Artifact("training", "finetuned_backbone", suffix="pt"))
    state.parent.mkdir(exist_ok=True)
    state.write_bytes(b"half a file")
    assert materialize(settings, "finetuned_backbone").success
    assert lake.path(BACKBONE).read_bytes() == wanted


def test_what_waits_for_every_shard_has_a_job_of_its_own(finetuned_lake: Settings) -> None:
    defs = build_defs(finetuned_lake)
    graph = defs.resolve_asset_graph()

    def assets(job: str) -> set[str]:
        selected = defs.resolve_job_def(job).asset_layer.selected_asset_keys
        return {key.to_user_string() for key in selected if key in graph.get_all_asset_keys()}

    assert assets("finetuning") == {"finetuned_backbone", "finetuned_embeddings"}
    assert not assets("training_side") & assets("finetuning")
