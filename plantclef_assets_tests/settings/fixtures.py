"""Helpers of the tests of settings: loading with sources, and the sentences of errors."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import SettingsError

Set = Callable[..., Settings]


def refusal(load: Callable[[], object]) -> list[str]:
    """Return the sentences of a SettingsError; each has one line and begins with its variable."""
    with pytest.raises(SettingsError) as caught:
        load()
    sentences = str(caught.value).splitlines()
    for sentence in sentences:
        assert re.match(r"PLANTCLEF_[A-Z0-9_]+: .+[.?]$", sentence), sentence
    return sentences


def with_sources(with_variables: Set, files: Path, **more: object) -> Settings:
    """Load settings with sources other than the demo's, and without truth."""
    sources = {
        "TRAINING_METADATA": files / "metadata.csv",
        "TRAINING_IMAGES": files / "images",
        "PLOT_IMAGES": files / "plots",
        "PLOT_TRUTH": "none",
    }
    return with_variables(**(sources | more))
