"""Counts of the photographs and plots of a source, before and after they are in the lake.

The manifest is asked first, then a listing of a local source, then what the organisers publish. Nothing is downloaded.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path

from plantclef_assets.defs.source_files import image_source
from plantclef_assets.errors import UserError
from plantclef_assets.images.decoding import UndecodableImage, read_size
from plantclef_assets.images.file_names import is_photograph
from plantclef_assets.ingest.locations import is_demo, is_remote
from plantclef_assets.ingest.sources import list_files
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Artifact, Record
from plantclef_assets.planning.estimates import divide
from plantclef_assets.redaction import without_secrets
from plantclef_assets.settings import Settings

DEMO_BYTES_PER_PIXEL = 0.3
"""JPEG of the demo's survey."""
ASSUMED_PHOTOGRAPH_BYTES = 150_000
ASSUMED_PLOT_BYTES = 3_500_000
_DEMO_SIDE = 230
_SIZES_LOOKED_AT = 4
_LISTING_SECONDS = 0.5
CUT_SHORT = "or more, the listing was cut short"
"""The origin of a count that a quick look did not finish."""

Size = tuple[int, int]


class UncountedError(UserError):
    """The pictures of a source cannot be counted without a network or a long search."""


@dataclass(frozen=True)
class Pictures:
    """The photographs or plots of a source.

    Attributes:
        origin: where the numbers come from, for the reader.
        counts: number of pictures by shard.
        sizes: bytes of their files by shard.
    """

    origin: str
    counts: Mapping[str, int]
    sizes: Mapping[str, int]

    @property
    def count(self) -> int:
        """The number of all pictures."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class SourceCounts:
    """Counts the pictures of the sources that the settings name.

    Attributes:
        settings: the settings.
        lineage: the lake.
        quick: whether only footers of manifests are read, and archives are not listed.
        notes: receives the assumptions that were made.
    """

    settings: Settings
    lineage: Lineage
    quick: bool
    notes: list[str]

    def count(self, setting: str, manifest: str, keys: Sequence[str]) -> Pictures:
        """Count the pictures of a source: by its manifest, by a listing, or by what its organisers publish.

        Raises:
            UncountedError: they cannot be counted.
        """
        record = try_record(self.lineage, Artifact(manifest))
        if record is not None and record.rows:
            return self._in_manifest(manifest, record, keys)
        location = getattr(self.settings, setting)
        listed = None if is_remote(location) else self._listed(location)
        if listed is not None:
            count, size, origin = listed
            return Pictures(origin, divide(count, keys), divide(size, keys))
        published = self.settings.published
        training = setting == "training_images"
        count = (published.training_rows if training else published.plots) if published else None
        if count is None:
            shown = without_secrets(location)
            raise UncountedError(
                f"{manifest} is not in the lake, '{shown}' cannot be listed without a network or a long search, and "
                f"the profile has no published number; materialize {manifest} first"
            )
        mean = ASSUMED_PHOTOGRAPH_BYTES if training else ASSUMED_PLOT_BYTES
        sizes = [file.size for file in (published.files if published else {}).values() if file.address == location]
        size = int(sizes[0]) if sizes else count * mean
        if not sizes:
            self.notes.append(f"{'a photograph' if training else 'a plot'} is taken to have {mean / 1e6:.2f} MB")
        return Pictures("published", divide(count, keys), divide(size, keys))

    def _in_manifest(self, manifest: str, record: Record, keys: Sequence[str]) -> Pictures:
        if self.quick:
            size = int(record.statistics.get("bytes", 0))
            return Pictures("in the manifest", divide(record.rows or 0, keys), divide(size, keys))
        table = self.lineage.lake.read(Artifact(manifest), ["shard", "bytes"]).group_by("shard")
        rows = table.aggregate([("bytes", "count"), ("bytes", "sum")]).to_pylist()
        by_shard = {row["shard"]: row for row in rows}
        if not by_shard.keys() <= set(keys):  # another number of shards: the manifest will be made again
            count, size = sum(row["bytes_count"] for row in rows), sum(row["bytes_sum"] for row in rows)
            return Pictures("in the manifest", divide(count, keys), divide(size, keys))
        counts = {key: by_shard[key]["bytes_count"] if key in by_shard else 0 for key in keys}
        sizes = {key: by_shard[key]["bytes_sum"] if key in by_shard else 0 for key in keys}
        return Pictures("in the manifest", counts, sizes)

    def _listed(self, location: str) -> tuple[int, int, str] | None:
        """Return number and bytes of the photographs of a local source, with their origin; None without a listing."""
        place = Path(self.settings.resolve(location))
        if is_demo(location) and not place.exists():
            return self._drawn(location)
        if self.quick:
            return self._listed_quickly(place)
        count = size = 0
        try:
            for batch in image_source(self.settings, location, lambda line: None).listing():
                usable = [reason is None for reason in batch.column("reason").to_pylist()]
                count += sum(usable)
                sizes = zip(batch.column("bytes").to_pylist(), usable, strict=True)
                size += sum(number for number, used in sizes if used)
        except (ValueError, OSError) as error:
            raise UserError(str(error)) from error
        return count, size, "listed in the source"

    def _listed_quickly(self, place: Path) -> tuple[int, int, str] | None:
        if not place.is_dir():
            return None
        count = size = 0
        end = time.monotonic() + _LISTING_SECONDS
        for name, number in list_files(place):
            if not is_photograph(name):
                return None  # an archive
            count, size = count + 1, size + number
            if time.monotonic() > end:
                return count, size, CUT_SHORT
        return count, size, "listed in the source"

    def _drawn(self, location: str) -> tuple[int, int, str]:
        """Return number and bytes of pictures of the demo, which its first run draws."""
        from plantclef_assets.demo.survey import PLOT_SIZES, write_survey

        defaults = signature(write_survey).parameters
        plots = location == self.settings.plot_images
        count = int(defaults["plots" if plots else "photographs"].default)
        pixels = PLOT_SIZES[0][0] * PLOT_SIZES[0][1] if plots else _DEMO_SIDE**2
        return count, int(count * pixels * DEMO_BYTES_PER_PIXEL), "drawn by the first run"

    def first_sizes(self) -> list[Size]:
        """Return the sizes of the first plots of a local source, from their headers."""
        location = self.settings.plot_images or ""
        if is_remote(location) or not Path(self.settings.resolve(location)).exists():
            return []
        try:
            source = image_source(self.settings, location, lambda line: None)
            batch = next(iter(source.listing()), None)
            rows = [row for row in (batch.to_pylist() if batch else []) if row["reason"] is None]
            with source.reading() as read:
                files = [one for one in read(rows[:_SIZES_LOOKED_AT]) if isinstance(one, bytes)]
        except (ValueError, OSError):
            return []
        sizes = []
        for data in files:
            try:
                sizes.append(read_size(data, max_pixels=self.settings.max_pixels))
            except UndecodableImage:
                continue
        return sizes


def try_record(lineage: Lineage, artifact: Artifact) -> Record | None:
    """Return the record of an artifact; None if it is missing or damaged."""
    try:
        return lineage.record(artifact)
    except ValueError:  # damaged
        return None
