"""Cleaning a lake: what is listed, what never is, and that only what is listed goes."""

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from plantclef_assets.cli import lake as command
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.cleaning import ForeignSettingsError, delete_leftover, find_leftovers
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import DEMO_SOURCES

OF_SHARD = {
    f"{folder}{asset}/02.parquet"
    for asset in ("raw_images", "resized_images", "base_embeddings")
    for folder in ("", "quarantine/")
}
DEAD = 2**22 + 1
"""The number of no process: Linux gives none above 2**22."""


def leftovers(settings: Settings, *sources: str) -> dict[str, str]:
    """Return what is left over, with its reason."""
    found = find_leftovers(Lake(settings.lake, settings.cache), build_graph(settings).recipes, sources)
    return {one.file.name: one.reason for one in found}


def files_of(lake: str) -> set[str]:
    return {path.relative_to(lake).as_posix() for path in Path(lake).rglob("*") if path.is_file()}


def test_nothing_that_the_settings_name_is_ever_left_over(tiny_lake: Settings, finetuned_lake: Settings) -> None:
    assert leftovers(tiny_lake) == leftovers(finetuned_lake) == {}


def test_what_is_stale_is_no_leftover(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake(image_size=64)
    lineage = Lineage(Lake(settings.lake), build_graph(settings).recipes)
    assert lineage.stale(Artifact("resized_images", "00"))
    assert leftovers(settings) == {}


def test_shards_above_a_smaller_number_are_left_over_with_their_quarantine(own_lake: Callable[..., Settings]) -> None:
    found = leftovers(own_lake(training_shards=2))
    assert set(found) == OF_SHARD
    assert found["raw_images/02.parquet"] == "these settings have no such partition of raw_images"


def test_a_removed_run_leaves_its_table_and_its_files(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake()
    runs = {name: run for name, run in settings.runs.items() if name != "base_cls_2x2"}
    found = leftovers(settings.model_copy(update={"runs": runs}))
    assert set(found) == {f"submission/base_cls_2x2.{suffix}" for suffix in ("parquet", "csv", "2024.csv")}


def test_a_figure_that_is_no_longer_drawn_leaves_its_table_and_its_picture(own_lake: Callable[..., Settings]) -> None:
    found = [*leftovers(own_lake(plot_images=None, plot_truth=None))]
    assert found.index("figure_tiles.jpg") + 1 == found.index("figure_tiles.parquet"), "the picture is deleted first"


def test_a_file_of_ones_own_in_the_folder_of_an_asset_is_no_leftover(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake()
    for name in ("notes.csv", "base_cls_full.old.csv"):
        Path(settings.lake, "submission", name).write_text("mine")
    assert [*leftovers(settings)] == ["submission/base_cls_full.old.csv"], "it is named as a file of the run"


def test_a_backbone_that_is_no_longer_asked_for_is_left_over_unless_a_setting_reads_it(
    own_finetuned_lake: Callable[..., Settings],
) -> None:
    settings = own_finetuned_lake(finetuned_weights=None)
    found = leftovers(settings)
    assert {"finetuned_backbone.safetensors", "finetuned_embeddings/00.parquet", "embedding_map.png"} <= set(found)
    assert found["finetuned_backbone.safetensors"] == "these settings have no finetuned_backbone"
    weights = f"{settings.lake}/finetuned_backbone.safetensors"
    assert set(found) - set(leftovers(settings, weights)) == {"finetuned_backbone.safetensors"}
    reading = own_finetuned_lake(finetuned_weights=None, base_weights=weights)
    assert weights in command._locations(reading)


def test_the_state_of_a_training_is_kept_until_its_backbone_is_finished(
    own_finetuned_lake: Callable[..., Settings],
) -> None:
    settings = own_finetuned_lake()
    state = Path(settings.lake, "training", "finetuned_backbone.pt")
    state.parent.mkdir(exist_ok=True)
    state.write_bytes(b"state")
    assert leftovers(settings) == {"training/finetuned_backbone.pt": "finetuned_backbone is finished and up to date"}
    Path(settings.lake, "finetuned_backbone.safetensors").unlink()
    assert leftovers(settings) == {}


def test_what_dead_processes_left_is_listed_and_what_may_be_written_is_not(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake()
    host = socket.gethostname()
    folder = Path(settings.lake, "raw_images")
    for owner in (f"{host}-{DEAD}", f"{host}-{os.getpid()}", "other.example-7", "long-gone-7"):
        (folder / f".00.parquet.{owner}-0123abcd.incomplete").write_bytes(b"half")
    yesterday = time.time() - 36 * 3600
    os.utime(folder / ".00.parquet.long-gone-7-0123abcd.incomplete", (yesterday, yesterday))
    (folder / "download.incomplete").write_bytes(b"a download of somebody's, to be continued")
    assert leftovers(settings) == {
        f"raw_images/.00.parquet.{host}-{DEAD}-0123abcd.incomplete": f"process {DEAD} ended before it was complete",
        "raw_images/.00.parquet.long-gone-7-0123abcd.incomplete": "a process of another host has not written it for "
        "2 days",
    }


def test_the_folder_of_a_dead_process_is_one_leftover(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake()
    host = socket.gethostname()
    for owner in (DEAD, os.getpid()):
        unfinished = Path(settings.lake, f".demo_survey.{host}-{owner}-0123abcd.incomplete", "images")
        unfinished.mkdir(parents=True)
        (unfinished / "a.jpg").write_bytes(b"half")
    Path(settings.lake, ".git", "objects").mkdir(parents=True)
    reason = f"process {DEAD} ended before it was complete"
    assert leftovers(settings) == {f".demo_survey.{host}-{DEAD}-0123abcd.incomplete/": reason}


def test_what_the_platform_did_not_make_is_not_looked_at(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake(training_shards=2)
    lake = Path(settings.lake)
    backup = lake / "backup" / "raw_images"
    backup.mkdir(parents=True)
    shutil.copy(lake / "raw_images" / "02.parquet", backup)
    shutil.copy(lake / "raw_images" / "02.parquet", lake / "raw_images" / "old.parquet")
    (lake / "notes.csv").write_text("mine")
    (lake / "raw_images" / "99.parquet").write_bytes(b"no parquet")
    (lake / "finetuned_backbone.safetensors").write_bytes(b"no header")
    save_file({"weight": torch.zeros(1)}, lake / "mine.safetensors", metadata={"format": "pt"})
    assert set(leftovers(settings)) == OF_SHARD


def test_the_drawn_survey_is_one_leftover_where_no_source_lies_in_it(own_lake: Callable[..., Settings]) -> None:
    settings = own_lake()
    survey = Path(settings.lake, "demo_survey")
    (survey / "images").mkdir(parents=True)
    (survey / "images" / "1.jpg").write_bytes(b"12345")
    lake = Lake(settings.lake)
    (found,) = find_leftovers(lake, build_graph(settings).recipes)
    assert (found.file.name, found.file.bytes) == ("demo_survey/", 5)
    drawn = own_lake(**DEMO_SOURCES)
    assert leftovers(drawn) == {}
    assert leftovers(settings, f"{settings.lake}/demo_survey/images") == {}, "a source lies in it"
    assert set(leftovers(settings, f"{settings.lake}/demo_survey2")) == {"demo_survey/"}
    delete_leftover(lake, found)
    assert not survey.exists()


def test_settings_that_name_nothing_in_the_lake_are_refused(tiny_lake: Settings, tmp_path: Path) -> None:
    stray = tmp_path / "lake" / "raw_images"
    stray.mkdir(parents=True)
    shutil.copy(Path(tiny_lake.lake, "raw_images", "02.parquet"), stray)
    settings = tiny_lake.model_copy(update={"lake": str(tmp_path / "lake"), "training_shards": 2})
    with pytest.raises(ForeignSettingsError, match="1 files of other settings and none of these"):
        leftovers(settings)


def test_the_command_lists_and_deletes_only_when_told(
    own_lake: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = own_lake(training_shards=2)
    monkeypatch.setattr(command, "load_settings", lambda: settings)
    before = files_of(settings.lake)
    assert command.main(["clean"]) == 0
    listed = capsys.readouterr().out
    assert "raw_images/02.parquet: these settings have no such partition" in listed
    assert "6 left over" in listed and "--delete deletes them" in listed
    assert files_of(settings.lake) == before
    assert command.main(["clean", "--delete"]) == 0
    assert before - files_of(settings.lake) == OF_SHARD
    assert not files_of(settings.lake) - before
    capsys.readouterr()
    assert command.main(["clean"]) == 0
    assert capsys.readouterr().out.startswith("0 left over")
    with pytest.raises(SystemExit):
        command.main(["select 1", "--delete"])


@pytest.mark.gcs
def test_a_bucket_is_cleaned_like_a_folder(
    tiny_lake: Settings, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.api_core.exceptions import PreconditionFailed
    from google.cloud.storage import Blob

    from plantclef_assets.lake import buckets

    delete = Blob.delete

    def delete_as_cloud_storage_does(blob: Blob, *, if_generation_match: int) -> None:
        # The server of the tests forgets the preconditions of deletions.
        if buckets.generation_of(blob.client, f"gs://{blob.bucket.name}/{blob.name}") != if_generation_match:
            raise PreconditionFailed("conditionNotMet")
        delete(blob)

    monkeypatch.setattr(Blob, "delete", delete_as_cloud_storage_does)
    lake = Lake(f"{bucket}/lake", str(tmp_path / "cache"))
    for name in ("training_manifest", "raw_images/00", "raw_images/02", "quarantine/raw_images/02"):
        source = Path(tiny_lake.lake, f"{name}.parquet")
        buckets.create_object(lake.storage, f"{lake.root}/{name}.parquet", source, replaces=0)
        buckets.create_object(lake.storage, f"{bucket}/lake2/{name}.parquet", source, replaces=0)
    settings = tiny_lake.model_copy(update={"lake": lake.root, "cache": lake.cache, "training_shards": 2})
    found = find_leftovers(lake, build_graph(settings).recipes)
    assert [one.file.name for one in found] == ["quarantine/raw_images/02.parquet", "raw_images/02.parquet"]
    assert found[1].file.bytes == Path(tiny_lake.lake, "raw_images/02.parquet").stat().st_size
    address = f"{lake.root}/raw_images/02.parquet"
    replaced = buckets.generation_of(lake.storage, address)
    buckets.create_object(lake.storage, address, Path(tiny_lake.lake, "class_map.parquet"), replaces=replaced)
    delete_leftover(lake, found[0])
    with pytest.raises(buckets.OvertakenError, match="was replaced since it was listed"):
        delete_leftover(lake, found[1])
    assert lake.exists(Artifact("raw_images", "02"))
    assert not lake.exists(Artifact("quarantine/raw_images", "02"))
    assert Lake(f"{bucket}/lake2", lake.cache).exists(Artifact("quarantine/raw_images", "02"))
