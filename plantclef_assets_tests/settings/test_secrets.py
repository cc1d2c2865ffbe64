"""No setting shows a secret: neither the error about it nor the representation of all settings."""

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import SettingsError
from plantclef_assets_tests.secret_search import SECRET

PLANTED = (
    f"https://user:{SECRET}@host.example/file.tar?token={SECRET}",
    f"https://user:{SECRET} x@host.example/folder/",
    f"http://user:{SECRET}@[::1/file.tar",
    f"https://host.example/file.tar#key={SECRET}",
    f"gs://user:{SECRET}@Bucket/",
    f"s3://user:{SECRET}@bucket/file.tar",
    f"sc://host.example:15002/;token={SECRET}",
    f"spark://user:{SECRET}@host.example",
)


def variables(model: Any, prefix: str = "PLANTCLEF_") -> Iterator[str]:
    """Yield the variable of each setting, also of those inside tables."""
    fields = (
        model.model_fields if issubclass(model, BaseModel) else {one.name: one for one in dataclasses.fields(model)}
    )
    for name, field in fields.items():
        variable = f"{prefix}{name.upper()}"
        yield variable
        annotation = field.annotation if issubclass(model, BaseModel) else None
        for kind in (annotation, *get_args(annotation)):
            if isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)):
                yield from variables(kind, f"{variable}__" + ("ONE__" if "dict" in str(annotation) else ""))
        if "dict[str, str]" in str(annotation):
            yield f"{variable}__ONE"


VARIABLES = sorted(set(variables(Settings)))


def test_the_variables_are_those_of_all_settings() -> None:
    assert {f"PLANTCLEF_{name.upper()}" for name in Settings.model_fields} <= set(VARIABLES)
    inside = {"DOWNLOAD__MAX_BYTES", "PUBLISHED__PLOT_IMAGES__ADDRESS", "SPARK_CONFIG__ONE", "RUNS__ONE__TILING"}
    assert {f"PLANTCLEF_{name}" for name in inside} <= set(VARIABLES)


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_setting_shows_no_secret(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for planted in PLANTED:
        monkeypatch.setenv(variable, planted)
        try:
            shown = f"{load_settings()!r} {load_settings()}"
        except SettingsError as error:
            shown = f"{error!r} {error} {error.__cause__!r}"
        assert SECRET not in shown


def test_a_value_of_spark_is_not_shown_where_its_type_is_wrong() -> None:
    with pytest.raises(SettingsError, match=r"SPARK_CONFIG__SPARK.PASSWORD: input should be a valid string") as said:
        load_settings(spark_config={"spark.password": 1234567})
    assert "1234567" not in str(said.value)
