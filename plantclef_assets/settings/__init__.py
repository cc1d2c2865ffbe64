"""The settings: one typed object, filled from a profile and from `PLANTCLEF_…` variables.

What belongs here: every value that a user can set, its default, the sentence that says what is wrong. What does not:
anything that opens data or imports a heavy library; settings are read before any work starts.

A variable beats the profile, the profile beats the default. A profile is a TOML file whose keys are the fields of
`fields.py`; `PLANTCLEF_PROFILE` names one of the package's own (`profiles/*.toml`) or a file of one's own.
"""

from plantclef_assets.settings.settings import (
    Settings,
    load_download_settings,
    load_published_settings,
    load_settings,
)

__all__ = ["Settings", "load_download_settings", "load_published_settings", "load_settings"]
