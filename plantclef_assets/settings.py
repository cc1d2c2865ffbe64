"""The settings: one typed object, filled from a profile and from `PLANTCLEF_…` variables.

What belongs here: every value that a user can set, its default, and the sentence that says what is wrong.
What does not: anything that opens data or imports a heavy library; settings are read before any work starts.

A variable beats the profile, the profile beats the default. A profile is a TOML file whose keys are the fields
below; `PLANTCLEF_PROFILE` names one of the package's own (`profiles/*.toml`) or a file of one's own.
"""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from plantclef_assets.cron import check_cron, check_time_zone
from plantclef_assets.ingest.checkpoints import CheckpointError, has_classifier
from plantclef_assets.lake.filesystems import default_cache, local_folder
from plantclef_assets.lake.keys import CHECKPOINT_HEAD, TRAINED_FEATURE_SETS
from plantclef_assets.locations import (
    HUB,
    PACKAGE_FOLDER,
    TRAIN,
    check_inbox,
    check_readable,
    check_root,
    check_spark_address,
    check_weights,
    check_writable_folder,
    is_demo,
    is_remote,
    resolve_location,
    split_checksum,
)
from plantclef_assets.presets import check_presets, preset_runs
from plantclef_assets.profile_tables import (
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
from plantclef_assets.profiles_and_variables import FromProfile, read_settings
from plantclef_assets.refusals import PREFIX


def _default_lake() -> str:
    """Give the folder `lake` beside pyproject.toml, or in the working directory for an installed package."""
    project = PACKAGE_FOLDER.parent
    return str((project if (project / "pyproject.toml").is_file() else Path.cwd()) / "lake")


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(FromProfile):
    """All settings of the platform. The field names, upper-cased behind `PLANTCLEF_`, are the variables."""

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

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        without_training = not self.training_metadata and not self.training_images
        if self.trains_backbone and without_training:
            raise ValueError(f"{PREFIX}FINETUNED_WEIGHTS: 'train' needs training photographs, and none are set")
        if not (self.training_metadata and self.training_images) and not (without_training and self.has_head):
            lacking = "TRAINING_IMAGES" if self.training_metadata else "TRAINING_METADATA"
            raise ValueError(
                f"{PREFIX}{lacking}: not set; the training CSV and the folder of its images are both needed"
                " (only a fine-tuned checkpoint with its own class list needs none)"
            )
        if without_training and not self.answers_plots:
            raise ValueError(f"{PREFIX}PLOT_IMAGES: not set; without training photographs the plots are all there is")
        if self.answers_plots and not self.active_runs:
            raise ValueError(f"{PREFIX}RUNS: no run is declared whose feature set exists; the plots need one at least")
        for name, run in self._declared_runs.items():
            if (run.top_per_tile or 0) > self.top_k and not run.needs_all_classes:
                raise ValueError(
                    f"{PREFIX}TOP_K: {self.top_k} species are kept of each tile, but the run '{name}' asks for the "
                    f"best {run.top_per_tile}"
                )
        if self.answers_plots and self.cover.run and self.cover.run not in self.active_runs:
            raise ValueError(
                f"{PREFIX}COVER__RUN: there is no run '{self.cover.run}' whose feature set exists; use one of "
                + ", ".join(self.active_runs)
            )
        if self.cover.max_rank > self.top_k:
            raise ValueError(
                f"{PREFIX}COVER__MAX_RANK: {self.cover.max_rank} species of each tile are asked for, but only "
                f"{self.top_k} are kept ({PREFIX}TOP_K)"
            )
        if self.finetuned_weights and not self.trains_backbone and not self.finetuned_model:
            raise ValueError(f"{PREFIX}FINETUNED_MODEL: not set; the weights need the timm name of their model")
        return self

    @property
    def has_plots(self) -> bool:
        """Whether there is a survey: without plot photographs the plot side of the graph does not exist."""
        return self.plot_images is not None

    @property
    def has_inbox(self) -> bool:
        """Whether new surveys arrive in an inbox: without one the inbox side of the graph does not exist."""
        return self.inbox is not None

    @property
    def answers_plots(self) -> bool:
        """Whether there are plots to say species of: those of a survey, or what arrives in an inbox."""
        return self.has_plots or self.has_inbox

    @property
    def has_training(self) -> bool:
        """Whether there are training photographs; without them a checkpoint's own classifier answers alone."""
        return self.training_metadata is not None

    @property
    def composes_plots(self) -> bool:
        """Whether validation plots are composed: of training photographs, for the runs of a survey."""
        return self.has_training and self.has_plots and self.validation.plots > 0

    @property
    def sweeps(self) -> bool:
        """Whether rules are swept: over plots whose species are known."""
        return self.composes_plots or (self.has_plots and self.plot_truth is not None)

    @property
    def trains_backbone(self) -> bool:
        """Whether the fine-tuned backbone is the base one, trained on the training photographs."""
        return self.finetuned_weights == TRAIN

    @cached_property
    def has_head(self) -> bool:
        """Whether the fine-tuned backbone brings a classifier with its class list; one trained here always does."""
        if self.finetuned_weights is None or self.finetuned_weights == HUB:
            return False
        if self.trains_backbone:
            return True
        if is_remote(self.finetuned_weights):  # what is inside is only known later: the organisers' is a tar
            return self.class_mapping is not None or split_checksum(self.finetuned_weights)[0].endswith(".tar")
        try:
            return has_classifier(Path(self.resolve(self.finetuned_weights)), self.class_mapping is not None)
        except CheckpointError as error:
            raise ValueError(f"{PREFIX}FINETUNED_WEIGHTS: {error}") from error

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones that are used: base where there is something to train on, finetuned where it has weights."""
        base = ("base",) if self.has_training else ()
        return (*base, "finetuned") if self.finetuned_weights else base

    @property
    def compares_backbones(self) -> bool:
        """Whether two backbones see the same training photographs, so that their features can be held side by side."""
        return {"base", "finetuned"} <= set(self.backbones)

    @property
    def feature_sets(self) -> tuple[str, ...]:
        """The feature sets that have a classifier, by its name where there are several on one."""
        trained = (*TRAINED_FEATURE_SETS, *self.classifiers) if self.has_training else ()
        head = (CHECKPOINT_HEAD,) if self.has_head else ()
        return (*(name for name in trained if name.split("_")[0] in self.backbones), *head)

    def trained_by(self, feature_set: str) -> ClassifierSettings:
        """Give the settings that a classifier is trained by: its own where it is declared, else those of all."""
        return self.classifiers.get(feature_set, self.classifier)

    @property
    def active_runs(self) -> dict[str, RunSettings]:
        """The declared runs whose feature set exists, then those of the presets."""
        return {name: run for name, run in self._declared_runs.items() if run.feature_set in self.feature_sets}

    @property
    def _declared_runs(self) -> dict[str, RunSettings]:
        """The runs of the settings, and those of the presets that they do not declare themselves."""
        presets = preset_runs(self.presets, self.feature_sets)
        return self.runs | {name: run for name, run in presets.items() if name not in self.runs}

    @property
    def cover_run(self) -> RunSettings:
        """The run that tells the cover of species: the one that is set, or the last that cuts plots, or the last."""
        runs = self.active_runs
        cutting = [run for run in runs.values() if run.cuts_plots]
        return runs[self.cover.run] if self.cover.run else (cutting or [*runs.values()])[-1]

    def resolve(self, location: str) -> str:
        """Give the absolute path of a source, or its address where it lies elsewhere."""
        return resolve_location(location, local_folder(self.lake, self.cache))

    @property
    def uses_demo_survey(self) -> bool:
        """Whether any source lies in the generated demo survey."""
        sources = (self.training_metadata, self.training_images, self.plot_images, self.plot_truth)
        return any(is_demo(source) for source in sources)


class _DownloadTable(FromProfile):
    """The one table of the settings that a download needs."""

    model_config = SettingsConfigDict(extra="ignore")

    download: DownloadSettings = DownloadSettings()


def load_settings(**values: Any) -> Settings:
    """Read the settings from arguments, variables and the profile, in this order of precedence.

    Raises:
        SettingsError: a variable is unknown, a value impossible or a path unreadable; one sentence a finding.
    """
    return read_settings(Settings, values, Settings.model_fields)


def load_download_settings() -> DownloadSettings:
    """Read the table `download` alone: sources are fetched before the settings that name them can be read.

    Raises:
        SettingsError: as for all settings.
    """
    return read_settings(_DownloadTable, {}, Settings.model_fields).download
