"""Many commands at once on a new instance, all of which want the accelerator."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.cli.commands import DAGSTER, PROJECT, run_command
from plantclef_assets_tests.cli.test_command_line import environment
from plantclef_assets_tests.tiny import materialize

KEYS = [f"{number:02d}" for number in range(10)]


@pytest.fixture
def new_home(tmp_path: Path) -> Path:
    """An instance made by the target that sets it up."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed: apt-get install make")
    home, environment_folder = tmp_path / "home", Path(sys.prefix)
    variables = [
        f"VENV={environment_folder}",
        f"DAGSTER_HOME={home}",
        "-o",
        str(environment_folder / ".installed-to-run"),
    ]
    subprocess.run(["make", "-C", PROJECT, *variables, home / ".migrated"], check=True, capture_output=True)
    return home


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


@pytest.mark.slow
def test_ten_take_their_turns_and_one_that_is_killed_stops_no_other(
    own_lake: Callable[..., Settings], new_home: Path, tmp_path: Path
) -> None:
    settings = own_lake(training_shards=10, batch_size=1, base_input_size=252)
    lake = Lake(settings.lake)
    assert materialize(settings, "training_manifest,base_backbone").success
    assert materialize(settings, "raw_images,resized_images", first="00", last="09").success
    for path in (Path(settings.lake) / "base_embeddings").glob("*.parquet"):
        path.unlink()
    variables = environment(settings, new_home, batch_size=1)
    select = ["asset", "materialize", "-m", "plantclef_assets.definitions", "--select", "base_embeddings"]
    commands = {key: [str(DAGSTER), *select, "--partition", key] for key in KEYS}
    logs = {key: tmp_path / f"{key}.log" for key in KEYS}

    with FileLock(new_home / "accelerator.lock"):
        processes = {}
        for key in KEYS:
            with logs[key].open("wb") as log:
                processes[key] = subprocess.Popen(
                    commands[key], env=os.environ | variables, stdout=log, stderr=subprocess.STDOUT
                )
        try:
            wait_until(lambda: all("The accelerator is held by" in logs[key].read_text() for key in KEYS), 300)
            assert not any(lake.exists(Artifact("base_embeddings", key)) for key in KEYS)
        except BaseException:
            for process in processes.values():
                process.kill()
            raise
    holder = new_home / "accelerator.holder"
    wait_until(lambda: holder.exists() and holder.read_text().startswith("process "), 60)
    (killed,) = [key for key in KEYS if processes[key].pid == int(holder.read_text().split()[1])]
    processes[killed].send_signal(signal.SIGKILL)
    codes = {key: process.wait(timeout=300) for key, process in processes.items()}
    assert codes == dict.fromkeys(KEYS, 0) | {killed: -signal.SIGKILL}, logs[killed].read_text()
    made = {key for key in KEYS if lake.exists(Artifact("base_embeddings", key))}
    assert made == set(KEYS) - {killed}

    again = run_command(commands[killed], variables)
    assert again.returncode == 0, again.stdout + again.stderr
    for key in KEYS:
        embedded, resized = (lake.read(Artifact(name, key)) for name in ("base_embeddings", "resized_images"))
        assert embedded.column("image_name") == resized.column("image_name")
