"""The command line with the lake in a bucket, against a real server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.cli.commands import make_instance, materialize_command, run_command
from plantclef_assets_tests.cli.test_command_line import environment

pytestmark = [pytest.mark.gcs, pytest.mark.slow]


def test_assets_are_materialized_into_a_bucket(own_lake: Callable[..., Settings], bucket: str, tmp_path: Path) -> None:
    near = Lake(own_lake().lake)
    far = Lake(f"{bucket}/lake", str(tmp_path / "cache"))
    home = make_instance(tmp_path / "home")
    variables = environment(own_lake(), home, lake=far.root, cache=far.cache, workers=2)
    sources = run_command(materialize_command("training_metadata,class_map,training_manifest"), variables)
    assert sources.returncode == 0, sources.stdout + sources.stderr
    images = run_command(materialize_command("raw_images,resized_images", "00", "02"), variables)
    assert images.returncode == 0, images.stdout + images.stderr
    for artifact in (Artifact("training_manifest"), *(Artifact("resized_images", key) for key in ("00", "01", "02"))):
        assert far.path(artifact).read_bytes() == near.path(artifact).read_bytes()
    assert "never closed" not in images.stderr
    assert not [path for path in far.folder.rglob("*") if path.is_file()], "nothing is left on this machine"
