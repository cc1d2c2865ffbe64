"""A lake that is filled from CSVs and folders that a test writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plantclef_assets.ingest.class_map import write_class_map
from plantclef_assets.ingest.manifests import write_plot_manifest, write_training_manifest
from plantclef_assets.ingest.metadata import write_training_metadata
from plantclef_assets.ingest.sources import ImageSource, open_source
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard


@dataclass(frozen=True)
class SmallLake:
    """A lake below `root`, and beside it what goes in."""

    root: Path

    @property
    def lake(self) -> Lake:
        """The lake itself."""
        return Lake(str(self.root / "lake"))

    @property
    def images(self) -> Path:
        """The folder of photographs."""
        return self.root / "images"

    def read_csv(self, content: str | bytes) -> list[dict[str, Any]]:
        """Write a CSV, make training_metadata from it, and give its rows."""
        file = self.root / "metadata.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        artifact = Artifact("training_metadata")
        write_training_metadata(self.lake, Shard(artifact, {}), file)
        return self.lake.read(artifact).to_pylist()

    def read_classes(self, **lists: str) -> list[dict[str, Any]]:
        """Make class_map from the metadata and official lists given as text, and return its rows."""
        files = {}
        for name, text in lists.items():
            files[name] = self.root / f"{name}.txt"
            files[name].write_text(text)
        write_class_map(self.lake, Shard(Artifact("class_map"), {}), **files)
        return self.lake.read(Artifact("class_map")).to_pylist()

    def write_files(self, contents: Mapping[str, bytes]) -> None:
        """Write files below the folder of photographs."""
        for name, content in contents.items():
            path = self.images / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    @property
    def cache(self) -> Path:
        """The folder for what belongs to archives."""
        return self.root / "cache"

    @property
    def source(self) -> ImageSource:
        """The photographs."""
        return open_source(str(self.images), self.cache)

    def list_photographs(self, shards: int = 2, **more: Any) -> list[dict[str, Any]]:
        """Write training_manifest and return its rows."""
        made = Shard(Artifact("training_manifest"), {})
        write_training_manifest(self.lake, made, source=self.source, shards=shards, **more)
        return self.lake.read(made.artifact).to_pylist()

    def list_plots(self, shards: int = 2) -> list[dict[str, Any]]:
        """Write plot_manifest and return its rows."""
        made = Shard(Artifact("plot_manifest"), {})
        write_plot_manifest(self.lake, made, source=self.source, shards=shards)
        return self.lake.read(made.artifact).to_pylist()

    def quarantined(self, asset: str, partition: str | None = None) -> list[tuple[str | None, str]]:
        """Return (image_name, reason) of the quarantined rows of an asset."""
        rows = self.lake.read(Artifact(f"quarantine/{asset}", partition)).to_pylist()
        return [(row["image_name"], row["reason"]) for row in rows]

    def details(self, asset: str, partition: str | None = None) -> list[str]:
        """Return the details of the quarantined rows of an asset."""
        return self.lake.read(Artifact(f"quarantine/{asset}", partition)).column("detail").to_pylist()

    def statistics(self, asset: str) -> Mapping[str, Any]:
        """Return the statistics of an asset."""
        record = self.lake.record(Artifact(asset))
        assert record is not None
        return record.statistics


def csv_of(rows: Sequence[tuple[str, int]]) -> str:
    """Return the shortest CSV that names photographs and their species."""
    return "image_name,species_id\n" + "".join(f"{name},{species}\n" for name, species in rows)
