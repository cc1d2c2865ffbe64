"""Settings of the UI: what it shows of every asset, and when it calls one overdue."""

import re

from pydantic import Field, PositiveFloat, field_validator

from plantclef_assets.settings.loading import FromProfile

_EMAIL = re.compile(r"[A-Za-z0-9_.+-]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+")
_TEAM = re.compile(r"team:[A-Za-z0-9_.-]+")
_TAG_KEY = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,63}")


class Interface(FromProfile):
    """The UI."""

    owners: tuple[str, ...] = Field(
        default=("team:plantclef",), description="Owners of all assets in the UI: email addresses, and `team:NAME`."
    )
    tags: dict[str, str] = Field(default={}, description="Tags of all assets in the UI, by which they can be filtered.")
    fresh_within_hours: PositiveFloat | None = Field(
        default=None,
        description="Hours after which the UI shows `leaderboard`, `species_cover` and `inbox_cover` as overdue if no "
        "run has made or confirmed them; not set: never.",
        json_schema_extra={"unit": "hours"},
    )

    @field_validator("owners")
    @classmethod
    def _check_owners(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for owner in value:
            if not _EMAIL.fullmatch(owner) and not _TEAM.fullmatch(owner):
                raise ValueError(f"'{owner}' is neither an email address nor a team such as 'team:botany'")
        return value

    @field_validator("tags")
    @classmethod
    def _check_tags(cls, value: dict[str, str]) -> dict[str, str]:
        for key, text in value.items():
            if not _TAG_KEY.fullmatch(key) or key.startswith("dagster/"):
                raise ValueError(
                    f"'{key}' is no name of a tag; use at most 63 letters, digits, '_', '-' and '.', as in 'domain'"
                )
            if not _TAG_VALUE.fullmatch(text):
                raise ValueError(
                    f"'{text}' is no value of the tag '{key}'; use at most 63 letters, digits, '_', '-' and '.'"
                )
        return value
