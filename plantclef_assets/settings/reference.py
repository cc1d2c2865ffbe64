"""The settings reference, docs/settings.md: generated from the fields of the settings and their descriptions.

What belongs here: the layout of the page. What does not: names, types, defaults, units and meanings, which are declared
with the fields; pydantic's JSON schema of the settings has all of them.
"""

import inspect
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import ByteSize

from plantclef_assets.scoring.registry import LIMITS, aggregation_reference, all_parameters
from plantclef_assets.settings.errors import PREFIX
from plantclef_assets.settings.loading import PROFILES
from plantclef_assets.settings.settings import Settings

Schema = Mapping[str, Any]

SUBJECTS: tuple[type[Any], ...] = Settings.__bases__[::-1]
"""The classes that `Settings` consists of, in the order of their fields and of the page."""

_HEAD = f"""\
<!-- Generated from the code by `python -m plantclef_assets.settings > docs/settings.md`. -->

# Settings

Every setting is an environment variable and a key of a profile (a TOML file). For example, `training_shards = 8` in a
profile is `{PREFIX}TRAINING_SHARDS=8`, and `epochs = 3` in its table `[finetuning]` is
`{PREFIX}FINETUNING__EPOCHS=3`. A variable takes precedence over the profile, and the profile over the default. Lists
and tables in variables are JSON. The value `none` unsets a value of the profile.

`{PREFIX}PROFILE` selects the profile. The defaults below are those of the code. The profiles in the package set these
keys:
"""
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_BYTES = "size, such as `20M` or `16MiB`"


def settings_page() -> str:
    """Return the settings reference as Markdown."""
    return (
        "\n".join(
            [_HEAD, *_profiles(), *(line for subject in SUBJECTS for line in _section(subject)), *_aggregations()]
        )
        + "\n"
    )


def _profiles() -> Iterator[str]:
    for path in sorted(PROFILES.glob("*.toml")):
        keys = tomllib.loads(path.read_text(encoding="utf-8"))
        yield f"- `{path.stem}`: {', '.join(f'`{key}`' for key in keys)}"


def _aggregations() -> Iterator[str]:
    yield "\n## Aggregations\n"
    yield "| `aggregation` | score of a species | needs | takes |\n|---|---|---|---|"
    for row in aggregation_reference():
        yield f"| `{row['aggregation']}` | {row['score']} | {_code(row['needs'])} | {_code(row['takes'])} |"


def _code(names: str) -> str:
    """Return a list of parameters with their names quoted."""
    known = {*LIMITS, *all_parameters()}
    return re.sub(r"\w+", lambda word: f"`{word[0]}`" if word[0] in known else word[0], names)


def _section(subject: type[Any]) -> Iterator[str]:
    """Yield the lines about one class of settings: its values, then each of its tables."""
    schema = subject.model_json_schema()
    fields = _fields(schema)
    tables: dict[str, str] = {}
    for name, field in fields.items():
        if definition := _definition(field):
            tables.setdefault(definition, name)
    yield f"\n## {schema['description'].removesuffix('.')}\n"
    yield from _rows("variable", {f"{PREFIX}{name.upper()}": field for name, field in fields.items()}, tables)
    for definition, name in tables.items():
        keys = _fields(schema["$defs"][definition])
        yield f"\n### {name}\n\n{_docstring(subject.model_fields[name].annotation, definition)}\n"
        if "$ref" in fields[name]:
            yield from _rows("variable", {f"{PREFIX}{name.upper()}__{key.upper()}": keys[key] for key in keys}, {})
        else:
            yield from _rows("key", keys, {})


def _docstring(annotation: Any, name: str) -> str:
    """Return the docstring of the class of that name in an annotation; the schema lacks those of dataclasses."""
    (table,) = (one for one in (annotation, *get_args(annotation)) if getattr(one, "__name__", None) == name)
    return inspect.getdoc(table) or ""


def _rows(first: str, fields: Mapping[str, Schema], tables: Mapping[str, str]) -> Iterator[str]:
    """Yield a Markdown table of fields; a type that is itself a table links to its section."""
    columns = (first, "type", "unit, bounds", "default", "meaning")
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for name, field in fields.items():
        cells = (
            f"`{name}`",
            _type(field, tables),
            "; ".join(_limits(field)),
            _default(field),
            field.get("description", ""),
        )
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _fields(table: Schema) -> dict[str, Schema]:
    """Return the fields of a table, each without the alternative null, and marked where it is required."""
    fields = {}
    for name, field in table["properties"].items():
        options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
        required = {"required": name in table.get("required", ())}
        fields[name] = {**field, **(options[0] if options else {}), **required}
    return fields


def _definition(field: Schema) -> str | None:
    """Return the definition of the table, or of the tables by name, that a field holds."""
    values = field.get("additionalProperties")
    reference = (values if isinstance(values, dict) else field).get("$ref")
    return reference.rpartition("/")[2] if reference else None


def _type(field: Schema, tables: Mapping[str, str]) -> str:
    """Return the type of a field in words."""
    if definition := _definition(field):
        words = "table" if "$ref" in field else "tables by name"
        return f"[{words}](#{tables[definition]})" if definition in tables else words
    if "enum" in field:
        words = [f"`{word}`" for word in field["enum"]]
        return f"{', '.join(words[:-1])} or {words[-1]}"
    if field["type"] == "array":
        return f"list of {len(field['prefixItems'])}" if "prefixItems" in field else "list"
    if field["type"] == "object":
        return "table"
    return _BYTES if _is_bytes(field) else _TYPES[field["type"]]


def _limits(field: Schema) -> Iterator[str]:
    """Yield the unit of a field and its bounds."""
    if "unit" in field:
        yield field["unit"]
    least, most = field.get("minimum", field.get("ge")), field.get("maximum")
    if least is not None and most is not None:
        yield f"{_number(least, field)} to {_number(most, field)}"
    elif least is not None:
        yield f"at least {_number(least, field)}"
    if "exclusiveMinimum" in field:
        yield f"more than {_number(field['exclusiveMinimum'], field)}"
    if most is not None and least is None:
        yield f"at most {_number(most, field)}"
    if "exclusiveMaximum" in field:
        yield f"less than {_number(field['exclusiveMaximum'], field)}"


def _default(field: Schema) -> str:
    """Return the default of a field in words; a default that depends on the machine has its own words."""
    if "default_in_words" in field:
        return field["default_in_words"]
    if _definition(field):
        return ""
    if field["required"]:
        return "required"
    default = field.get("default", "")
    if default is None:
        return "not set"
    if default in ([], {}):
        return "empty"
    if isinstance(default, dict) or "default" not in field:  # computed, or too long for a table
        return "built in"
    if isinstance(default, bool | list):
        return f"`{json.dumps(default)}`"
    if isinstance(default, str):
        return f"`{default}`"
    return _number(default, field)


def _is_bytes(field: Schema) -> bool:
    return field.get("format") == "bytes"


def _number(value: float, field: Schema) -> str:
    if _is_bytes(field):
        return ByteSize(value).human_readable(separator=" ").replace(".0 ", " ")
    return f"{value:,}" if isinstance(value, int) else str(value).removesuffix(".0")
