"""Every setting by itself: its name, its default, and whether its value can be used at all."""

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator

from plantclef_assets.engines.spark_session import check_spark_address
from plantclef_assets.ingest.locations import (
    PACKAGE_FOLDER,
    TRAIN,
    check_inbox,
    check_readable,
    check_root,
    check_weights,
    check_writable_folder,
)
from plantclef_assets.lake.filesystems import default_cache
from plantclef_assets.settings.cron import check_cron, check_time_zone
from plantclef_assets.settings.loading import FromProfile
from plantclef_assets.settings.presets import check_presets
from plantclef_assets.settings.tables import (
    ClassifierSettings,
    CoverSettings,
    DownloadSettings,
    FinetuningSettings,
    PublishedSettings,
    RunSettings,
    SweepSettings,
    ValidationSettings,
    check_classifiers,
    check_runs,
)


def _default_lake() -> str:
    """Give the folder `lake` beside pyproject.toml, or in the working directory for an installed package."""
    project = PACKAGE_FOLDER.parent
    return str((project if (project / "pyproject.toml").is_file() else Path.cwd()) / "lake")


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class SettingsTable(FromProfile):
    """Every setting by itself. The field names, upper-cased behind `PLANTCLEF_`, are the variables."""

    profile: str = "demo"
    lake: str = Field(default_factory=_default_lake)
    cache: str = Field(default_factory=lambda: str(default_cache()))
    """A folder for what is fetched from elsewhere, indexes of archives, and what has to be local of a lake in a bucket;
    may be deleted whenever no run is going on."""

    training_metadata: str | None = None
    training_images: str | None = None
    plot_images: str | None = None
    plot_truth: str | None = None
    inbox: str | None = None
    """A folder or `gs://` prefix that new plot photographs are put into; without it there is no inbox side."""
    inbox_shards: int = Field(default=100, ge=1, le=99_999)
    """How many deliveries can be taken from the inbox; may be raised, since a delivery keeps its key for good."""
    inbox_settle_seconds: PositiveFloat = 60.0
    """For how long a file of the inbox has to look the same before it is taken."""
    class_mapping: str | None = None
    species_names: str | None = None
    licenses: tuple[str, ...] = ()
    """Licences whose photographs are used, as the metadata spells them; all where it is empty."""
    published: PublishedSettings | None = None
    replace_sources: bool = False
    """Whether a lake that was made from other sources may be replaced; else that is refused."""

    training_shards: int = Field(default=4, ge=1, le=99_999)
    plot_shards: int = Field(default=2, ge=1, le=99_999)

    image_size: int = Field(default=128, ge=16, le=4096)
    max_pixels: PositiveInt = 100_000_000
    """Images with more pixels are quarantined undecoded; a 50,000 × 50,000 bomb would be 2,500 million."""

    base_model: str = "vit_base_patch14_dinov2"
    base_weights: str = "hub"
    base_input_size: PositiveInt | None = None

    finetuned_model: str | None = None
    finetuned_weights: str | None = None
    finetuned_input_size: PositiveInt | None = None

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    batch_size: PositiveInt = 32

    engine: Literal["local", "spark"] = "local"
    workers: PositiveInt = Field(default_factory=_usable_cores)
    spark_master: str = "local[*]"
    spark_remote: str | None = None
    """A Spark Connect server; where it is given, `spark_master` means nothing."""
    spark_config: dict[str, str] = Field(default_factory=dict)
    """Spark's own settings by their names."""
    shards_per_run: PositiveInt | None = None
    schedule: str | None = None
    """When what is missing is materialized without being asked for, as a cron expression; never where it is not set."""
    schedule_timezone: str = "UTC"

    seed: int = 42
    top_k: int = Field(default=20, ge=1, le=1000)
    """How many species of each tile are kept in tile_predictions."""
    dialect: Literal["2024", "2025"] = "2025"
    """The submission format of `<run>.csv`; the other one is written beside it."""
    classifier: ClassifierSettings = ClassifierSettings()
    classifiers: dict[str, ClassifierSettings] = Field(default_factory=dict)
    """More classifiers beside it: `<feature set>_<name>` → how it is trained; `classifier` has no say in them."""
    finetuning: FinetuningSettings = FinetuningSettings()
    validation: ValidationSettings = ValidationSettings()
    download: DownloadSettings = DownloadSettings()
    runs: dict[str, RunSettings] = Field(default_factory=dict)
    sweep: SweepSettings = SweepSettings()
    cover: CoverSettings = CoverSettings()
    presets: tuple[str, ...] = ()
    """Names of published rules that are added to the runs (see `presets.py`)."""
    transect_patterns: tuple[str, ...] = ()
    """Expressions whose first group names the transect of a plot; else its name without the last `-…` part."""
    region_patterns: tuple[str, ...] = ()
    """Expressions whose first group names the region of a plot; else the first `-…` part of its name."""

    @model_validator(mode="before")
    @classmethod
    def _name_published(cls, values: dict[str, Any]) -> dict[str, Any]:
        return PublishedSettings.named_in(values)

    @field_validator("lake")
    @classmethod
    def _check_lake(cls, value: str) -> str:
        return check_root(value)

    @field_validator("cache")
    @classmethod
    def _check_cache(cls, value: str) -> str:
        return check_writable_folder(value)

    @field_validator("training_metadata", "plot_truth", "class_mapping", "species_names")
    @classmethod
    def _check_file(cls, value: str | None) -> str | None:
        return check_readable(value, "file")

    @field_validator("training_images", "plot_images")
    @classmethod
    def _check_images(cls, value: str | None) -> str | None:
        return check_readable(value, "images")

    @field_validator("inbox")
    @classmethod
    def _check_inbox(cls, value: str | None) -> str | None:
        return check_inbox(value)

    @field_validator("base_weights", "finetuned_weights")
    @classmethod
    def _check_weights(cls, value: str | None, field: ValidationInfo) -> str | None:
        if value == TRAIN and field.field_name == "base_weights":
            raise ValueError("'train' is for PLANTCLEF_FINETUNED_WEIGHTS; give a weights file or 'hub' here")
        return check_weights(value)

    @field_validator("spark_master", "spark_remote")
    @classmethod
    def _check_spark_address(cls, value: str | None, field: ValidationInfo) -> str | None:
        return check_spark_address(value, connect=field.field_name == "spark_remote")

    @field_validator("schedule")
    @classmethod
    def _check_schedule(cls, value: str | None) -> str | None:
        return check_cron(value)

    @field_validator("schedule_timezone")
    @classmethod
    def _check_schedule_timezone(cls, value: str) -> str:
        return check_time_zone(value)

    @field_validator("classifiers")
    @classmethod
    def _check_classifiers(cls, value: dict[str, ClassifierSettings]) -> dict[str, ClassifierSettings]:
        return check_classifiers(value)

    @field_validator("runs")
    @classmethod
    def _check_runs(cls, value: dict[str, RunSettings], info: ValidationInfo) -> dict[str, RunSettings]:
        # Where the classifiers are faulty themselves, that is the finding.
        return check_runs(value, info.data["classifiers"]) if "classifiers" in info.data else value

    @field_validator("presets")
    @classmethod
    def _check_presets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_presets(value)
        return value

    @field_validator("transect_patterns", "region_patterns")
    @classmethod
    def _check_patterns(cls, value: tuple[str, ...], field: ValidationInfo) -> tuple[str, ...]:
        what = str(field.field_name).removesuffix("_patterns")
        for pattern in value:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"'{pattern}' is no regular expression: {error}") from error
            if not groups:
                raise ValueError(f"'{pattern}' needs a group (…) that names the {what}")
        return value
