"""The tables of a profile, one module for each of their subjects.

What belongs here: what one row of such a table may say. What does not: settings of a single value (`fields.py`).
"""

from plantclef_assets.settings.tables.runs import CoverSettings, RunSettings, SweepSettings, check_runs
from plantclef_assets.settings.tables.sources import DownloadSettings, PublishedSettings, ValidationSettings
from plantclef_assets.settings.tables.training import ClassifierSettings, FinetuningSettings, check_classifiers

__all__ = [
    "ClassifierSettings",
    "CoverSettings",
    "DownloadSettings",
    "FinetuningSettings",
    "PublishedSettings",
    "RunSettings",
    "SweepSettings",
    "ValidationSettings",
    "check_classifiers",
    "check_runs",
]
