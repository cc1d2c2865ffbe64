"""Declaration of configurations: frozen dataclasses whose fields have a description, a unit and bounds.

What belongs here: how a field is declared, without pydantic, since models are also trained where it is not installed.
What does not: the configurations themselves, which stand beside the code that uses them. Pydantic reads the same
declarations where such a dataclass is a field of `Settings`, and docs/settings.md is generated from them.
"""

import operator
from dataclasses import field, fields
from typing import Annotated, Any, TypeVar

Value = TypeVar("Value")

_BOUNDS = {
    "gt": (operator.gt, "more than"),
    "ge": (operator.ge, "at least"),
    "lt": (operator.lt, "less than"),
    "le": (operator.le, "at most"),
}


def setting(default: Value, description: str, *, unit: str | None = None, **bounds: float) -> Value:
    """Declare a field of a configuration.

    Args:
        default: the value where nothing is set.
        description: what the value means; the settings reference prints it.
        unit: of the value, such as px or s.
        bounds: `gt`, `ge`, `lt`, `le` and `allow_inf_nan`, with the meaning that pydantic's `Field` gives them.
    """
    extra = {"json_schema_extra": {"unit": unit}} if unit else {}
    return field(default=default, metadata={"description": description, **bounds, **extra})


def check_bounds(config: Any) -> None:
    """Check the values of a configuration against the bounds of its fields.

    Pydantic checks the same bounds in settings; this is for a configuration that is created without it.

    Raises:
        ValueError: a value is out of bounds; the message names the field.
    """
    for one in fields(config):
        value = getattr(config, one.name)
        for name, (holds, words) in _BOUNDS.items():
            if name in one.metadata and value is not None and not holds(value, one.metadata[name]):
                raise ValueError(f"{one.name} is {value}; it must be {words} {one.metadata[name]}")


class _ByteWords:
    """Marks a number of bytes, which pydantic may read from a word such as `20M` or `16MiB`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import ByteSize  # only pydantic calls this method
        from pydantic_core import core_schema

        return core_schema.chain_schema([handler.generate_schema(ByteSize), handler(source)])

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return handler(schema["steps"][-1]) | {"format": "bytes"}


ByteCount = Annotated[int, _ByteWords()]
"""A number of bytes; settings accept words such as `20M` (decimal) and `16MiB` (binary), too."""
