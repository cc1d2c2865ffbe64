"""Loading of settings: from arguments, variables, and the TOML file of a profile, in this order of precedence.

What belongs here: finding and reading these sources for any class of settings. What does not: the settings themselves.
"""

import os
import re
from collections.abc import Iterable, Mapping
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

from plantclef_assets.ingest.locations import PACKAGE_FOLDER, is_remote, local_path
from plantclef_assets.redaction import without_secrets
from plantclef_assets.settings.errors import PREFIX, SettingsError, refuse_unknown_variables, sentence_of

PROFILES = PACKAGE_FOLDER / "profiles"
"""The folder of the packaged profiles."""
_SHOWN = 40
"""The most digits of a number that an error shows."""


class FromProfile(BaseSettings):
    """Base class of settings that are read from arguments, variables and a profile."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        env_parse_none_str="none",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Return the fields for `repr`; addresses without their secrets, and no field that is declared `repr=False`."""
        for name, value in super().__repr_args__():
            yield name, without_secrets(value) if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources: arguments take precedence over variables, variables over the profile."""
        profile = init_settings().get("profile") or os.environ.get(PREFIX + "PROFILE") or "demo"
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=profile_file(profile)),
        )


AnySettings = TypeVar("AnySettings", bound=FromProfile)


def profile_file(profile: str) -> Path:
    """Return the TOML file of a profile, which is the name of a packaged one or a path.

    Raises:
        SettingsError: there is no such profile.
    """
    packaged = {file.stem: file for file in PROFILES.glob("*.toml")}
    try:
        path = packaged.get(profile) or local_path(profile)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}PROFILE: {error}.") from error
    if path.suffix != ".toml" or not path.is_file():
        names = ", ".join(sorted(packaged))
        missing = "an address cannot be used" if is_remote(profile) else f"there is no file '{path.absolute()}'"
        raise SettingsError(
            f"{PREFIX}PROFILE: no profile '{without_secrets(profile)}'; use one of {names}, or the path of a .toml "
            f"file ({missing})."
        )
    return path


def read_settings(kind: type[AnySettings], values: dict[str, Any], known: Mapping[str, FieldInfo]) -> AnySettings:
    """Load settings.

    Args:
        kind: the class of settings.
        values: arguments, which take precedence.
        known: the fields that variables may set, by their names without `PLANTCLEF_`.

    Raises:
        SettingsError: a variable is unknown, a value impossible or a path unreadable; one sentence for each.
    """
    refuse_unknown_variables(os.environ, known)
    try:
        settings = kind(**values)
        _require_int64(settings.model_dump(), PREFIX)
        return settings
    except ValidationError as error:
        raise SettingsError("\n".join(sentence_of(finding, known) for finding in error.errors())) from None
    except RecursionError:
        raise SettingsError(f"{PREFIX}PROFILE: the file, or a value in JSON, is nested too deeply.") from None
    except PermissionError as error:
        raise SettingsError(f"{PREFIX}PROFILE: no permission to read '{error.filename}'.") from error
    except PydanticSettingsError as error:
        variable = _variable_without_json(error)
        raise SettingsError(f"{variable}: its value is no JSON, and this setting needs JSON.") from error
    except SettingsError:
        raise
    except ValueError as error:  # of tomllib: no TOML, not UTF-8, or a number of thousands of digits
        raise SettingsError(f"{PREFIX}PROFILE: the file is no TOML: {error}.") from error


def _require_int64(value: Any, name: str) -> None:
    """Check that every whole number in the values of settings fits into 64 bits, as in tables, numpy and torch.

    Raises:
        SettingsError: one does not.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_int64(inner, f"{name}{'' if name == PREFIX else '__'}{str(key).upper()}")
    elif isinstance(value, list | tuple):
        for inner in value:
            _require_int64(inner, name)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise SettingsError(f"{name}: a whole number must have at most 64 bits, not {str(value)[:_SHOWN]}.")


def _variable_without_json(error: PydanticSettingsError) -> str:
    """Return the variable whose value could not be parsed as JSON; pydantic names only the outermost field."""
    field = re.search('field "(\\w+)"', str(error))
    variable = PREFIX + (field[1].upper() if field else "PROFILE")
    text = getattr(error.__cause__, "doc", None)
    names = (name for name, value in os.environ.items() if value == text)
    return next((name.upper() for name in names if name.upper().startswith(f"{variable}__")), variable)
