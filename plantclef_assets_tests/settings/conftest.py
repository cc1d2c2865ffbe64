"""Files that settings can point to, and settings loaded from variables."""

import tarfile
from pathlib import Path

import pytest

from plantclef_assets.settings import Settings, load_settings
from plantclef_assets_tests.settings.fixtures import Set
from plantclef_assets_tests.tiny import PROFILE


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file or folder for each kind of source; the lake is in it, too."""
    for name in ("metadata.csv", "truth.csv", "classes.txt", "names.txt", "weights.safetensors"):
        (tmp_path / name).write_text("x")
    for name, mode in (("images.tar", "w"), ("images.tar.gz", "w:gz")):
        tarfile.open(tmp_path / name, mode).close()
    for name in ("images", "plots"):
        (tmp_path / name).mkdir()
    (tmp_path / "own.toml").write_text(PROFILE + "base_dct_full = { feature_set = 'base_dct' }\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLANTCLEF_LAKE", str(tmp_path / "lake"))
    return tmp_path


@pytest.fixture
def with_variables(files: Path, monkeypatch: pytest.MonkeyPatch) -> Set:
    """Return a function that loads the settings from variables, whose prefix is left out."""

    def load(**variables: object) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(f"PLANTCLEF_{name}", str(value))
        return load_settings()

    return load
