"""Declarations of configurations: bounds hold with and without pydantic, sizes are read from words."""

from dataclasses import dataclass

import pytest
from pydantic import TypeAdapter, ValidationError

from plantclef_assets.configuration import ByteCount, check_bounds, setting


@dataclass(frozen=True)
class Config:
    share: float = setting(0.5, "A share.", gt=0, le=1)
    plots: int | None = setting(None, "A number.", unit="plots", ge=2, lt=9)
    size: ByteCount = setting(1000, "A size.", unit="bytes", ge=10)

    def __post_init__(self) -> None:
        check_bounds(self)


VALIDATE = TypeAdapter(Config).validate_python


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"share": 0}, "share is 0; it must be more than 0"),
        ({"share": 1.5}, "share is 1.5; it must be at most 1"),
        ({"plots": 1}, "plots is 1; it must be at least 2"),
        ({"plots": 9}, "plots is 9; it must be less than 9"),
    ],
)
def test_values_out_of_bounds_are_errors(values: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Config(**values)
    with pytest.raises(ValidationError) as caught:
        VALIDATE(values)
    assert [error["loc"] for error in caught.value.errors()] == [tuple(values)]


def test_values_within_bounds_are_the_same_with_and_without_pydantic() -> None:
    assert Config(share=1, plots=2, size=20_000) == VALIDATE({"share": "1", "plots": "2", "size": "20K"})
    assert VALIDATE({}) == Config()


@pytest.mark.parametrize("word", ["1", "many", "-20K"])
def test_a_size_that_cannot_be_used_is_an_error(word: str) -> None:
    with pytest.raises(ValidationError):
        VALIDATE({"size": word})
