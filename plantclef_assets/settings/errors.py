"""Refusals: the sentences with which settings are refused, each beginning with its variable."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from plantclef_assets.errors import UserError

PREFIX = "PLANTCLEF_"
_NOT_SETTINGS = {"PLANTCLEF_TEST_DATA"}  # read by the tests alone
_MISSPELT_PREFIX = 0.92
"""From this similarity on, a variable without the prefix is taken for a setting: PLANCLEF_LAKE, PLANTCLEFF_LAKE."""


class SettingsError(UserError, ValueError):
    """A setting that cannot be used; the message names its variable, what is wrong and what to do."""


def refuse_unknown_variables(names: Iterable[str], fields: Mapping[str, FieldInfo]) -> None:
    """Refuse a variable that is no setting though its name begins as one or is nearly one, and name the nearest.

    Raises:
        SettingsError: there is such a variable; one sentence for each.
    """
    known = {PREFIX + name.upper() for name in fields}
    refused = []
    for name in sorted(names):
        as_read = name.upper()
        if as_read in _NOT_SETTINGS or as_read.split("__")[0] in known:
            continue
        if as_read.startswith(PREFIX):
            refused.append(f"{name}: there is no such setting; {nearest(as_read, fields)}")
        elif close := get_close_matches(as_read, known, n=1, cutoff=_MISSPELT_PREFIX):
            refused.append(f"{name}: settings begin with {PREFIX}; did you mean {close[0]}?")
    if refused:
        raise SettingsError("\n".join(refused))


def nearest(variable: str, fields: Mapping[str, FieldInfo]) -> str:
    """Return a question that names the variable nearest to one that is unknown, or else where they are listed."""
    tables = ((name, field.annotation) for name, field in fields.items())
    inner = [
        f"{name}__{one}"
        for name, table in tables
        if isinstance(table, type) and issubclass(table, BaseModel)
        for one in table.model_fields
    ]
    known = [name.upper() for name in (*fields, *inner)]
    close = get_close_matches(variable.removeprefix(PREFIX), known, n=1)
    return f"did you mean {PREFIX}{close[0]}?" if close else "the README lists the variables."


def sentence_of(finding: Any, fields: Mapping[str, FieldInfo]) -> str:
    """Turn one pydantic finding into a sentence that begins with the variable."""
    message = str(finding["msg"]).removeprefix("Value error, ")
    if not finding["loc"]:
        return message + "."
    variable = PREFIX + "__".join(str(part) for part in finding["loc"]).upper()
    if finding["type"] == "extra_forbidden":
        return f"{variable}: there is no such setting (in the profile or the arguments); {nearest(variable, fields)}"
    value = finding["input"]
    given = f", not '{value}'" if isinstance(value, str | int | float) and f"'{value}'" not in message else ""
    end = "" if message.endswith("?") else "."
    return f"{variable}: {message[0].lower() + message[1:]}{given}{end}"
