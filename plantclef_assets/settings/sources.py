"""Settings of sources: the lake, the photographs and surveys, their shards, downloads, and what organisers publish."""

from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from plantclef_assets.ingest.downloads import Limits
from plantclef_assets.ingest.locations import (
    PACKAGE_FOLDER,
    check_inbox,
    check_readable,
    check_root,
    check_writable_folder,
)
from plantclef_assets.lake.filesystems import default_cache
from plantclef_assets.settings.errors import PREFIX
from plantclef_assets.settings.loading import FromProfile

PUBLISHED = "published"
"""In place of a source: its published address; `published_full` where the organisers publish a larger file, too."""


class PublishedFile(BaseModel):
    """One file that the organisers publish."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field(repr=False, description="Its https address.")
    size: ByteSize = Field(description="Its approximate size, in decimal or binary units.")


class PublishedSettings(BaseModel):
    """Addresses and row counts that the organisers of a data set publish.

    A file is a table with its `address` and its approximate `size`, such as `0.78GB`. If a source is set to the word
    `published`, a run downloads it from its address here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    training_metadata: PublishedFile | None = Field(default=None, description="The training CSV.")
    training_images: PublishedFile | None = Field(default=None, description="The archive of the training photographs.")
    training_images_full: PublishedFile | None = Field(
        default=None, description="The archive of the same photographs in a larger size, for `published_full`."
    )
    plot_images: PublishedFile | None = Field(default=None, description="The archive of the plot photographs.")
    finetuned_weights: PublishedFile | None = Field(default=None, description="The archive of the fine-tuned model.")
    training_rows: PositiveInt | None = Field(
        default=None, description="Rows of the complete training CSV.", json_schema_extra={"unit": "rows"}
    )
    plots: PositiveInt | None = Field(
        default=None, description="Photographs of the complete survey.", json_schema_extra={"unit": "photographs"}
    )

    @property
    def files(self) -> dict[str, PublishedFile]:
        """The files by the names of their settings; `…_full` is the larger one of two."""
        return {name: file for name, file in self if isinstance(file, PublishedFile)}

    @staticmethod
    def named_in(values: dict[str, Any]) -> dict[str, Any]:
        """Replace the word `published` in settings by the address of the source.

        Raises:
            ValueError: the profile has no published address for such a setting.
        """
        published = values.get("published")
        files = published.model_dump() if isinstance(published, PublishedSettings) else published or {}
        named = {}
        for name in ("training_metadata", "training_images", "plot_images", "finetuned_weights"):
            word = str(values.get(name))
            if word in (PUBLISHED, f"{PUBLISHED}_full"):
                try:
                    named[name] = files[name + word.removeprefix(PUBLISHED)]["address"]
                except (KeyError, TypeError):  # not there, or in another form than that of a file
                    raise ValueError(
                        f"{PREFIX}{name.upper()}: '{word}' cannot be used here, since the profile has no "
                        "published location of it, {address, size}; set a path or an address"
                    ) from None
        return values | named


def _default_lake() -> str:
    """Return the folder `lake` beside pyproject.toml, or in the working directory for an installed package."""
    project = PACKAGE_FOLDER.parent
    return str((project if (project / "pyproject.toml").is_file() else Path.cwd()) / "lake")


class Sources(FromProfile):
    """Lake, sources and shards."""

    profile: str = Field(
        default="demo",
        description="Profile: `demo`, `plantclef2024`, `plantclef2025`, or the path of a TOML file.",
    )
    lake: str = Field(
        default_factory=_default_lake,
        description="Root of all artifacts: a folder, or `gs://bucket/prefix` (see [Google Cloud](google-cloud.md)).",
        json_schema_extra={
            "default_in_words": "`lake` next to pyproject.toml; for an installed package, in the working directory"
        },
    )
    cache: str = Field(
        default_factory=lambda: str(default_cache()),
        description="Folder for downloads, indexes of archives, repacked archives, and local files of a lake in a "
        "bucket. It may be deleted when no run is in progress.",
        json_schema_extra={"default_in_words": "`plantclef` in the user's cache folder"},
    )
    training_metadata: str | None = Field(
        default=None,
        description="Training CSV: a path, `gs://`, `https://`, or `published` (see [sources](sources.md)).",
    )
    training_images: str | None = Field(
        default=None,
        description="Training photographs: a folder tree, a tar archive or a folder of them (path or `gs://`), the "
        "`https://` address of an archive, `published`, or `published_full`.",
    )
    plot_images: str | None = Field(
        default=None,
        description="Plot photographs: the same forms as for `training_images`, except `published_full`. Without "
        "them, the assets of the survey do not exist.",
    )
    plot_truth: str | None = Field(
        default=None,
        description="Ground truth, the true species of each plot: a path, `gs://` or `https://` (see "
        "[file formats](file-formats.md#submissions)).",
    )
    inbox: str | None = Field(
        default=None,
        description="Folder or `gs://` prefix for new plot photographs (see [new "
        "photographs](inbox.md)). Without it, the assets of the inbox do not exist.",
    )
    inbox_shards: int = Field(
        default=100,
        ge=1,
        le=99_999,
        description="Maximum number of deliveries from the inbox. It may be raised later: the key of a delivery is "
        "permanent.",
    )
    inbox_settle_seconds: PositiveFloat = Field(
        default=60.0,
        description="A file in the inbox is delivered when it has not changed for this time.",
        json_schema_extra={"unit": "s"},
    )
    class_mapping: str | None = Field(
        default=None, description="Official list of classes; not set: the species of the training CSV."
    )
    species_names: str | None = Field(
        default=None, description="Official names of the species; not set: the names in the training CSV."
    )
    licenses: tuple[str, ...] = Field(
        default=(),
        description="Permitted licences, as in the training CSV, ignoring case. Photographs with other licences are "
        "quarantined. Empty: all photographs are used.",
    )
    published: PublishedSettings | None = Field(
        default=None,
        description="Addresses and row counts of the published data; the check `complete` compares row counts with "
        "them. `none` for your own data.",
    )
    replace_sources: bool = Field(
        default=False,
        description="Whether a run may replace artifacts that were made from other sources; otherwise such a run is "
        "refused (see [one lake, one survey](own-photographs.md#one-lake-one-survey)).",
    )
    training_shards: int = Field(default=4, ge=1, le=99_999, description="Number of shards of training photographs.")
    plot_shards: int = Field(default=2, ge=1, le=99_999, description="Number of shards of plot photographs.")
    image_size: int = Field(
        default=128,
        ge=16,
        le=4096,
        description="Side of the resized, square photographs.",
        json_schema_extra={"unit": "px"},
    )
    scaled_decoding: bool = Field(
        default=False,
        description="Whether large JPEG photographs are decoded at a reduced scale, at least twice `image_size`, and "
        "then area-averaged. The same applies to plots for tiles that are shown at less than half of their "
        "resolution. This is faster and changes pixels slightly (see [performance](performance.md#crop-resize)). "
        "Other pictures are decoded completely.",
    )
    max_pixels: PositiveInt = Field(
        default=100_000_000,
        description="Maximum number of pixels of an image. Larger ones are quarantined without being decoded, as a "
        "protection against decompression bombs.",
        json_schema_extra={"unit": "px"},
    )
    download: Limits = Field(default=Limits(), description="Limits of downloads.")

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
