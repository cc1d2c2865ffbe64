"""Properties of variables and profiles: whatever they hold, settings load or end in sentences that name them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import PREFIX, SettingsError
from plantclef_assets_tests.examples import characters, damaged, few
from plantclef_assets_tests.tiny import PROFILE

NAMES = sorted(name.upper() for name in Settings.model_fields if name != "lake")
VALUES = st.one_of(
    st.text(characters, max_size=20).filter(lambda text: "\x00" not in text),
    st.integers(-(10**30), 10**30).map(str),
    st.sampled_from(
        ["nan", "inf", "-inf", "1e400", "{}", "[]", '{"a": {"a": 1}}', "[[[", "none", "demo:x", "gs://", "http://[::1"]
    ),
)


def bad_sentences() -> list[str]:
    """Return the lines of the error of loading settings that are long or begin with no variable of the project."""
    try:
        load_settings()
    except SettingsError as error:
        return [line for line in str(error).splitlines() if not line.startswith(PREFIX) or len(line) >= 1000]
    return []


@few
@given(name=st.sampled_from(NAMES), value=VALUES)
def test_any_value_of_a_variable_loads_or_is_a_sentence(files: Path, name: str, value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        try:
            patch.setenv(PREFIX + name, value)
        except ValueError:  # no system holds such a variable
            return
        assert bad_sentences() == []


@few
@given(content=damaged((PROFILE + "[priors]\nx = 1\n[classifier]\nepochs = 3\n").encode()))
def test_a_damaged_profile_loads_or_is_a_sentence(files: Path, content: bytes) -> None:
    profile = files / "damaged.toml"
    profile.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"{PREFIX}PROFILE", os.fspath(profile))
        assert bad_sentences() == []
