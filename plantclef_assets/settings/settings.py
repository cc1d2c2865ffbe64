"""All settings together: properties that follow from them, and checks of settings that depend on each other."""

from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from plantclef_assets.ingest.checkpoints import CheckpointError, has_classifier
from plantclef_assets.ingest.downloads import Limits
from plantclef_assets.ingest.locations import (
    HUB,
    TRAIN,
    file_in_address,
    is_demo,
    is_remote,
    resolve_location,
    split_checksum,
)
from plantclef_assets.lake.filesystems import local_folder
from plantclef_assets.models.feature_sets import FEATURE_SETS, TRAINED, feature_set
from plantclef_assets.redaction import without_secrets
from plantclef_assets.settings.computing import Computing
from plantclef_assets.settings.errors import PREFIX
from plantclef_assets.settings.interface import Interface
from plantclef_assets.settings.loading import FromProfile, read_settings
from plantclef_assets.settings.plots import Plots
from plantclef_assets.settings.presets import preset_runs
from plantclef_assets.settings.runs import RunSettings
from plantclef_assets.settings.sources import PublishedSettings, Sources
from plantclef_assets.settings.training import ClassifierSettings, Training


class Settings(Interface, Plots, Computing, Training, Sources):
    """All settings of the platform, and properties that follow from them.

    The fields of the last base class come first: the runs of plots are checked against the classifiers.
    """

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        self._refuse_demo_among_own()
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
            raise ValueError(f"{PREFIX}PLOT_IMAGES: not set; without training photographs plots are needed")
        return self

    @model_validator(mode="after")
    def _check_runs_and_cover(self) -> Self:
        if self.answers_plots and not self.active_runs:
            raise ValueError(f"{PREFIX}RUNS: no run is declared whose feature set exists; the plots need at least one")
        for name, run in self._declared_runs.items():
            if (run.top_per_tile or 0) > self.top_k and not run.needs_all_classes:
                raise ValueError(
                    f"{PREFIX}TOP_K: {self.top_k} species are kept of each tile, but the run '{name}' uses the "
                    f"best {run.top_per_tile}"
                )
        if self.answers_plots and self.cover.run and self.cover.run not in self.active_runs:
            raise ValueError(
                f"{PREFIX}COVER__RUN: there is no run '{self.cover.run}' whose feature set exists; use one of "
                + ", ".join(self.active_runs)
            )
        if self.cover.max_rank > self.top_k:
            raise ValueError(
                f"{PREFIX}COVER__MAX_RANK: {self.cover.max_rank} species of each tile are needed, but only "
                f"{self.top_k} are kept ({PREFIX}TOP_K)"
            )
        return self

    @model_validator(mode="after")
    def _check_finetuned_model(self) -> Self:
        if self.finetuned_weights and not self.trains_backbone and not self.finetuned_model:
            raise ValueError(f"{PREFIX}FINETUNED_MODEL: not set; the weights need the timm name of their model")
        return self

    def _refuse_demo_among_own(self) -> None:
        """Raise an error where some sources are of the demo and others are not."""
        names = ("training_metadata", "training_images", "plot_images", "plot_truth", "inbox")
        given = {name: getattr(self, name) for name in names if getattr(self, name)}
        demo = [name for name, location in given.items() if is_demo(location)]
        own = [name for name in given if name not in demo]
        if demo and own:
            raise ValueError(
                f"{PREFIX}{demo[0].upper()}: '{given[demo[0]]}' lies in the demo, but {PREFIX}{own[0].upper()} is your "
                f"own ('{without_secrets(given[own[0]])}'), and the demo cannot be mixed with a survey; set "
                f"{' and '.join(PREFIX + name.upper() for name in demo)} too, to your own or to none, or the "
                f"{PREFIX}PROFILE of your survey"
            )

    @property
    def has_plots(self) -> bool:
        """Whether there is a survey; without plot photographs its assets do not exist."""
        return self.plot_images is not None

    @property
    def has_inbox(self) -> bool:
        """Whether new plot photographs arrive in an inbox; without one its assets do not exist."""
        return self.inbox is not None

    @property
    def answers_plots(self) -> bool:
        """Whether there are plots to predict species for, from a survey or an inbox."""
        return self.has_plots or self.has_inbox

    @property
    def has_training(self) -> bool:
        """Whether there are training photographs; without them a checkpoint's own classifier is the only one."""
        return self.training_metadata is not None

    @property
    def composes_plots(self) -> bool:
        """Whether validation plots are composed, from training photographs, for the runs of a survey."""
        return self.has_training and self.has_plots and self.validation.plots > 0

    @property
    def sweeps(self) -> bool:
        """Whether rules are swept, over plots whose species are known."""
        return self.composes_plots or (self.has_plots and self.plot_truth is not None)

    @property
    def trains_backbone(self) -> bool:
        """Whether the fine-tuned backbone is the base one, trained on the training photographs."""
        return self.finetuned_weights == TRAIN

    @cached_property
    def has_head(self) -> bool:
        """Whether the fine-tuned backbone has a classifier with a class list; one that is trained here always has."""
        if self.finetuned_weights is None or self.finetuned_weights == HUB:
            return False
        if self.trains_backbone:
            return True
        if is_remote(self.finetuned_weights):  # not downloaded yet; the organisers' tar has a classifier
            name = file_in_address(split_checksum(self.finetuned_weights)[0])
            return self.class_mapping is not None or name.endswith(".tar")
        try:
            return has_classifier(Path(self.resolve(self.finetuned_weights)), self.class_mapping is not None)
        except CheckpointError as error:
            raise ValueError(f"{PREFIX}FINETUNED_WEIGHTS: {error}") from error

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones in use: base where there are training photographs, finetuned where it has weights."""
        base = ("base",) if self.has_training else ()
        return (*base, "finetuned") if self.finetuned_weights else base

    @property
    def compares_backbones(self) -> bool:
        """Whether two backbones embed the same training photographs, so that their features can be compared."""
        return {"base", "finetuned"} <= set(self.backbones)

    @property
    def feature_sets(self) -> tuple[str, ...]:
        """The feature sets that have a classifier; further classifiers on one are listed by their own names."""
        of_checkpoint = [one.name for one in FEATURE_SETS if one.from_checkpoint and self.has_head]
        trained = (*TRAINED, *self.classifiers) if self.has_training else ()
        return (*(name for name in trained if feature_set(name).backbone in self.backbones), *of_checkpoint)

    def trained_by(self, feature_set: str) -> ClassifierSettings:
        """Return the settings of a classifier: its own table where it has one, else the common one."""
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
    def cover_run_name(self) -> str:
        """The run of species_cover: the one that is set, else the last one that cuts plots, else the last one."""
        runs = self.active_runs
        cutting = [name for name, run in runs.items() if run.cuts_plots]
        return self.cover.run or (cutting or [*runs])[-1]

    @property
    def cover_run(self) -> RunSettings:
        """The settings of the run of species_cover."""
        return self.active_runs[self.cover_run_name]

    def resolve(self, location: str) -> str:
        """Return the absolute path of a source, or its address where it is remote."""
        return resolve_location(location, local_folder(self.lake, self.cache))

    @property
    def uses_demo_survey(self) -> bool:
        """Whether any source is of the generated demo survey."""
        sources = (self.training_metadata, self.training_images, self.plot_images, self.plot_truth)
        return any(is_demo(source) for source in sources)


class _WithoutSources(FromProfile):
    """The tables that can be loaded before any source exists."""

    download: Limits = Limits()
    published: PublishedSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _ignore_other_settings(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name in cls.model_fields}


def load_settings(**values: Any) -> Settings:
    """Load the settings from arguments, variables and the profile, in this order of precedence.

    Raises:
        SettingsError: a variable is unknown, a value impossible or a path unreadable; one sentence for each.
    """
    return read_settings(Settings, values, Settings.model_fields)


def load_download_settings() -> Limits:
    """Load only the table `download`, for commands that download the sources which other settings need.

    Raises:
        SettingsError: as for all settings.
    """
    return read_settings(_WithoutSources, {}, Settings.model_fields).download


def load_published_settings() -> PublishedSettings:
    """Load only the table `published`, which is empty where the profile has none.

    Raises:
        SettingsError: as for all settings.
    """
    return read_settings(_WithoutSources, {}, Settings.model_fields).published or PublishedSettings()
