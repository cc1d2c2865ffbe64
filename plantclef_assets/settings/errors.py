"""Errors of settings: one sentence for each, which begins with its variable."""

import dataclasses
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from plantclef_assets.errors import UserError
from plantclef_assets.redaction import without_secrets, without_secrets_in

PREFIX = "PLANTCLEF_"
_NOT_SETTINGS = {"PLANTCLEF_TEST_DATA"}  # only the tests read it
_SHOWN = 100
"""The most characters of a value that an error shows."""
_MISSPELT_PREFIX = 0.92
"""Variables with at least this similarity to a setting count as misspelt, such as PLANCLEF_LAKE and PLANTCLEFF_LAKE."""


class SettingsError(UserError, ValueError):
    """A setting that cannot be used; the message has its variable, what is wrong, and what to do."""


def refuse_unknown_variables(names: Iterable[str], fields: Mapping[str, FieldInfo]) -> None:
    """Check that variables whose names begin like settings, or nearly so, are settings.

    Raises:
        SettingsError: some are not; one sentence for each, with the nearest setting.
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
    """Return a question with the setting nearest to an unknown variable, or a reference to the list of settings."""
    inner = [f"{name}__{key}" for name, field in fields.items() for key in _keys_of(field.annotation)]
    known = [name.upper() for name in (*fields, *inner)]
    close = get_close_matches(variable.removeprefix(PREFIX), known, n=1)
    return f"did you mean {PREFIX}{close[0]}?" if close else "docs/settings.md lists the variables."


def _keys_of(table: Any) -> list[str]:
    """Return the keys of a table of settings, which is a pydantic model or a dataclass; no keys for other types."""
    if isinstance(table, type) and issubclass(table, BaseModel):
        return list(table.model_fields)
    return [field.name for field in dataclasses.fields(table)] if dataclasses.is_dataclass(table) else []


def sentence_of(finding: Any, fields: Mapping[str, FieldInfo]) -> str:
    """Return one pydantic error as a sentence that begins with the variable, without secrets, in one printable line."""
    sentence = _sentence(finding, fields)
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in sentence)


def _sentence(finding: Any, fields: Mapping[str, FieldInfo]) -> str:
    value = finding["input"]
    shown = without_secrets_in(without_secrets(value)) if isinstance(value, str) else value
    message = without_secrets_in(str(finding["msg"]).removeprefix("Value error, ").replace(f"'{value}'", f"'{shown}'"))
    if not finding["loc"]:
        return message + "."
    variable = PREFIX + "__".join(str(part) for part in finding["loc"]).upper()
    if finding["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # of a model, of a dataclass
        *tables, key = map(str, finding["loc"])
        entries = fields[tables[0]].annotation if len(tables) > 1 and tables[0] in fields else None
        if get_origin(entries) is dict:  # a table of the user's own name, such as a run
            close = get_close_matches(key, _keys_of(get_args(entries)[1]), n=1)
            question = f"did you mean {close[0]}?" if close else "docs/settings.md lists the keys."
            return f"{PREFIX}{tables[0].upper()}: the table [{'.'.join(tables)}] has no key {key}; {question}"
        return f"{variable}: there is no such setting (in the profile or the arguments); {nearest(variable, fields)}"
    text = str(shown) if isinstance(value, str | int | float) else None
    short = text if text is None or len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    field = fields.get(str(finding["loc"][0]))
    shows = text is not None and f"'{text[:_SHOWN]}" not in message and (field is None or field.repr)
    given = f", not '{short}'" if shows else ""
    end = "" if message.endswith("?") else "."
    return f"{variable}: {message[0].lower() + message[1:]}{given}{end}"
