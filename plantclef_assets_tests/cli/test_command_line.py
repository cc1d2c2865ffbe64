"""The command line, in processes of its own: ranges, kills, waiting for the accelerator, and the whole chain."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import PREFIX
from plantclef_assets_tests.cli.commands import PYTHON, make_instance, materialize_command, run_command

TINY = ("profile", "lake", "training_metadata", "training_images", "plot_images", "plot_truth", "training_shards",
        "plot_shards", "base_model", "base_weights", "base_input_size", "image_size", "workers")  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A new Dagster instance."""
    return make_instance(tmp_path / "home")


def environment(settings: Settings, home: Path, **changes: object) -> dict[str, str]:
    """Give the variables that bring a process to these settings."""
    values = {name: getattr(settings, name) for name in TINY} | changes
    variables = {PREFIX + name.upper(): str(value) for name, value in values.items() if value is not None}
    return variables | {"DAGSTER_HOME": str(home), "PLANTCLEF_CLASSIFIER__EPOCHS": "15"}


@pytest.mark.slow
def test_a_killed_range_leaves_whole_files_and_the_same_command_finishes_it(
    own_lake: Callable[..., Settings], home: Path
) -> None:
    settings = own_lake()
    variables = environment(settings, home, training_shards=24, batch_size=1, base_input_size=252)
    lake = Lake(settings.lake)
    prepare = materialize_command("training_manifest,base_backbone")
    assert run_command(prepare, variables).returncode == 0
    assert run_command(materialize_command("raw_images,resized_images", "00", "23"), variables).returncode == 0
    for path in (Path(settings.lake) / "base_embeddings").glob("*.parquet"):
        path.unlink()

    def shards() -> list[Path]:
        return sorted((Path(settings.lake) / "base_embeddings").glob("*.parquet"))

    command = materialize_command("base_embeddings", "00", "23")
    process = subprocess.Popen(
        command, env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(shards()) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in shards()}
    assert 3 <= len(finished) < 24, "the kill was meant to come in the middle"
    for path in finished:
        embedded, resized = (lake.read(Artifact(name, path.stem)) for name in ("base_embeddings", "resized_images"))
        assert embedded.column("image_name") == resized.column("image_name")

    again = run_command(command, variables)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(shards()) == 24
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not list((Path(settings.lake) / "base_embeddings").glob(".*"))


@pytest.mark.slow
def test_runs_of_the_command_line_wait_for_the_accelerator(own_lake: Callable[..., Settings], home: Path) -> None:
    from filelock import FileLock

    settings = own_lake()
    Lake(settings.lake).path(Artifact("base_embeddings", "00")).unlink()
    with FileLock(home / "accelerator.lock"):
        process = subprocess.Popen(
            materialize_command("base_embeddings", "00", "02"),
            env=os.environ | environment(settings, home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said = next((line for line in process.stdout if "The accelerator is held by" in line), "")
        assert said, "the run did not wait"
        assert not Lake(settings.lake).exists(Artifact("base_embeddings", "00"))
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert Lake(settings.lake).exists(Artifact("base_embeddings", "00"))


@pytest.mark.slow
def test_the_whole_chain_runs_from_one_command_and_prints_the_leaderboard(
    own_lake: Callable[..., Settings], home: Path
) -> None:
    settings = own_lake()
    result = run_command([str(PYTHON), "-m", "plantclef_assets"], environment(settings, home))
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^base_dct_2x2_max2 +max\(species_per_plot=2\) +\d\.\d{3}", result.stdout, re.MULTILINE)
    assert "── results: base_cls_full … base_dct_2x2_max2" in result.stdout


def test_a_setting_that_cannot_be_used_is_one_sentence(home: Path) -> None:
    variables = {"DAGSTER_HOME": str(home), "PLANTCLEF_IMAGE_SIZE": "large"}
    result = run_command([str(PYTHON), "-m", "plantclef_assets"], variables)
    assert result.returncode == 1
    assert result.stderr.strip().startswith("PLANTCLEF_IMAGE_SIZE:")
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_range_is_refused_in_a_sentence_where_backfills_are_cut_into_runs(home: Path, tmp_path: Path) -> None:
    variables = {"DAGSTER_HOME": str(home), "PLANTCLEF_LAKE": str(tmp_path / "lake"), "PLANTCLEF_SHARDS_PER_RUN": "2"}
    result = run_command(materialize_command("raw_images", "00", "02"), variables)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("Error: PLANTCLEF_SHARDS_PER_RUN: 2 cuts backfills into runs")
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_fine_tuning_that_is_killed_goes_on_after_its_last_epoch(
    own_finetuned_lake: Callable[..., Settings], home: Path
) -> None:
    settings = own_finetuned_lake()
    lake = Lake(settings.lake)
    path = lake.path(Artifact("finetuned_backbone", suffix="safetensors"))
    state = lake.path(Artifact("training", "finetuned_backbone", suffix="pt"))
    variables = environment(settings, home, finetuned_weights="train", finetuning__epochs=6)
    variables |= {"PLANTCLEF_FINETUNING__BATCH_SIZE": "12", "PLANTCLEF_FINETUNING__HOLDOUT_SHARE": "0.3"}
    command = materialize_command("finetuned_backbone")
    uninterrupted = run_command(command, variables)
    assert uninterrupted.returncode == 0, uninterrupted.stdout + uninterrupted.stderr
    wanted = path.read_bytes()
    path.unlink()
    assert not state.exists(), "what is finished needs no state"

    process = subprocess.Popen(
        command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    assert any("Epoch 2 of 6" in line for line in process.stdout)
    deadline = time.monotonic() + 60
    while not any("Epoch 3 of 6" in line for line in process.stdout) and time.monotonic() < deadline:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    assert state.exists()

    again = run_command(command, variables)
    assert again.returncode == 0, again.stdout + again.stderr
    said = again.stdout + again.stderr
    assert re.search(r"Continuing after epoch [23] of 6", said)
    assert "Epoch 1 of 6" not in said
    assert path.read_bytes() == wanted
    assert not state.exists()
