"""What the tests of settings share: how values are given, and how a refusal is read."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import SettingsError

Set = Callable[..., Settings]


def refusal(load: Callable[[], object]) -> list[str]:
    """Give the sentences with which settings are refused; each is of one line and begins with its variable."""
    with pytest.raises(SettingsError) as caught:
        load()
    sentences = str(caught.value).splitlines()
    for sentence in sentences:
        assert re.match(r"PLANTCLEF_[A-Z0-9_]+: .+[.?]$", sentence), sentence
    return sentences


def with_sources(with_variables: Set, files: Path, **more: object) -> Settings:
    """Load settings whose sources are one's own; the truth is not known."""
    sources = {
        "TRAINING_METADATA": files / "metadata.csv",
        "TRAINING_IMAGES": files / "images",
        "PLOT_IMAGES": files / "plots",
        "PLOT_TRUTH": "none",
    }
    return with_variables(**(sources | more))
