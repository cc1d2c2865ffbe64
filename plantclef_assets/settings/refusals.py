"""Refusals: the sentences with which settings are refused, each beginning with its variable."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

PREFIX = "PLANTCLEF_"
_NOT_SETTINGS = {"PLANTCLEF_TEST_DATA"}  # read by the tests alone


class SettingsError(ValueError):
    """A setting that cannot be used; the message names its variable, what is wrong and what to do."""


def refuse_unknown_variables(names: Iterable[str], fields: Iterable[str]) -> None:
    """Refuse a variable with the prefix that is none of the settings' fields, and guess which one was meant.

    Raises:
        SettingsError: there is such a variable.
    """
    known = {PREFIX + name.upper() for name in fields}
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in _NOT_SETTINGS and name.split("__")[0] not in known:
            close = get_close_matches(name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], n=1)
            hint = f"did you mean {PREFIX}{close[0]}?" if close else "the README lists the variables."
            raise SettingsError(f"{name}: there is no such setting; {hint}")


def sentence_of(finding: Any) -> str:
    """Turn one pydantic finding into a sentence that begins with the variable."""
    message = str(finding["msg"]).removeprefix("Value error, ")
    if not finding["loc"]:
        return message + "."
    variable = PREFIX + "__".join(str(part) for part in finding["loc"]).upper()
    if finding["type"] == "extra_forbidden":
        return f"{variable}: there is no such setting (in the profile or the arguments)."
    value = finding["input"]
    given = f", not '{value}'" if isinstance(value, str | int | float) and f"'{value}'" not in message else ""
    return f"{variable}: {message[0].lower() + message[1:]}{given}."
