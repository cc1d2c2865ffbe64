"""Tables of what is worked on: published data, downloads, and the plots composed here."""

from typing import Any, Self

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from plantclef_assets.lake.keys import shard_keys

PUBLISHED = "published"
"""In place of a source: where its organisers publish it; `published_full` where they publish a larger one, too."""


class PublishedFile(BaseModel):
    """One file that the organisers publish."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    size: ByteSize
    """About how much it is; decimal and binary units."""


class PublishedSettings(BaseModel):
    """What the organisers publish: where it lies, and how much there has to be of it for a source to be complete.

    The word `published` in place of a source stands for its location here; nothing is fetched unless it is said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    training_metadata: PublishedFile | None = None
    training_images: PublishedFile | None = None
    training_images_full: PublishedFile | None = None
    plot_images: PublishedFile | None = None
    finetuned_weights: PublishedFile | None = None
    training_rows: PositiveInt | None = None
    plots: PositiveInt | None = None

    @property
    def files(self) -> dict[str, PublishedFile]:
        """The files by the names of their settings; `…_full` is the larger one of two."""
        return {name: file for name, file in self if isinstance(file, PublishedFile)}

    @staticmethod
    def named_in(values: dict[str, Any]) -> dict[str, Any]:
        """Put the locations into settings that say `published`.

        Raises:
            ValueError: a setting says so, but its profile knows no published location of it.
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
                        f"PLANTCLEF_{name.upper()}: '{word}' is of no use here, since the profile knows no "
                        "published location of it, {address, size}; give a path or an address"
                    ) from None
        return values | named


class DownloadSettings(BaseModel):
    """What downloads may take together (see `ingest/limits.py`); sizes may be said as `20M` or `16MiB`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connections: int = Field(default=4, ge=1, le=32)
    bytes_per_second: ByteSize | None = Field(default=None, ge=1)
    chunk_bytes: ByteSize = Field(default=ByteSize(2**24), ge=2**16)
    max_bytes: ByteSize | None = Field(default=None, ge=1)
    timeout_seconds: float = Field(default=60, gt=0, allow_inf_nan=False)


class ValidationSettings(BaseModel):
    """The plots that are composed of held-out photographs, to choose settings by (see `ingest/validation_plots.py`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plots: NonNegativeInt = 48
    """0 switches them off."""
    shards: PositiveInt = 2
    side: int = Field(default=1024, ge=64, le=8192)
    species: tuple[PositiveInt, PositiveInt] = (2, 8)

    @model_validator(mode="after")
    def _check_shards_and_species(self) -> Self:
        if self.plots and self.shards > self.plots:
            raise ValueError(f"{self.shards} shards of {self.plots} plots would leave some empty; set fewer shards")
        least, most = self.species
        if least > most:
            raise ValueError(
                f"species is [{least}, {most}], but the first is the least number on a plot, so the smaller"
            )
        return self

    @property
    def shard_keys(self) -> tuple[str, ...]:
        """The keys of their shards."""
        return tuple(shard_keys(self.shards))
