"""The settings: one typed object, loaded from a profile and from `PLANTCLEF_…` variables.

What belongs here: every value that a user can set, its default, its description, and errors about it. What does not:
anything that opens data or imports a heavy library; settings are loaded before any work starts.

There is one module per subject: `sources.py`, `training.py`, `computing.py`, `plots.py` and `runs.py`. Their fields are
the variables, in upper case with the prefix `PLANTCLEF_`, and the keys of a profile. `settings.py` puts them together.
docs/settings.md is generated from the fields (`reference.py`).

A variable takes precedence over the profile, and the profile over the default. `PLANTCLEF_PROFILE` is the name of a
packaged profile (`profiles/*.toml`) or the path of another TOML file.
"""

from plantclef_assets.settings.settings import (
    Settings,
    load_download_settings,
    load_published_settings,
    load_settings,
)

__all__ = ["Settings", "load_download_settings", "load_published_settings", "load_settings"]
