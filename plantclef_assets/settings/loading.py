"""Where settings come from: arguments, variables, and the TOML file of a profile, in this order of precedence.

What belongs here: finding and reading these, for any table of settings. What does not: which settings there are.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as PydanticSettingsError

from plantclef_assets.ingest.locations import PACKAGE_FOLDER
from plantclef_assets.settings.errors import PREFIX, SettingsError, refuse_unknown_variables, sentence_of

_PROFILES = PACKAGE_FOLDER / "profiles"


class FromProfile(BaseSettings):
    """Where settings come from."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        env_parse_none_str="none",
        extra="forbid",
        frozen=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments beat variables, variables beat the profile."""
        profile = init_settings().get("profile") or os.environ.get(PREFIX + "PROFILE") or "demo"
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=profile_file(profile)),
        )


AnySettings = TypeVar("AnySettings", bound=FromProfile)


def profile_file(profile: str) -> Path:
    """Find the TOML file of a profile; a name is one of the package's, anything else a path.

    Raises:
        SettingsError: there is no such profile.
    """
    candidate = _PROFILES / f"{profile}.toml"
    path = candidate if candidate.is_file() else Path(profile).expanduser()
    if path.suffix != ".toml" or not path.is_file():
        names = ", ".join(sorted(file.stem for file in _PROFILES.glob("*.toml")))
        raise SettingsError(
            f"{PREFIX}PROFILE: no profile '{profile}'; use one of {names}, or the path of a .toml file "
            f"(there is no file '{path.absolute()}')."
        )
    return path


def read_settings(kind: type[AnySettings], values: dict[str, Any], known: Mapping[str, FieldInfo]) -> AnySettings:
    """Read settings of a kind.

    Args:
        kind: which settings.
        values: arguments, which beat all else.
        known: the fields that variables may name, behind `PLANTCLEF_`.

    Raises:
        SettingsError: a variable is unknown, a value impossible or a path unreadable; one sentence a finding.
    """
    refuse_unknown_variables(os.environ, known)
    try:
        return kind(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(sentence_of(finding, known) for finding in error.errors())) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{PREFIX}PROFILE: the file is no TOML: {error}.") from error
    except PydanticSettingsError as error:  # a variable that should hold JSON
        field = re.search('field "(\\w+)"', str(error))
        variable = PREFIX + (field[1].upper() if field else "PROFILE")
        raise SettingsError(f"{variable}: its value is no JSON, which this setting needs.") from error
