"""Ingesting: from archives and a CSV to raw shards, against plain reading of the archives, which is the floor.

`python -m benchmarks ingest` compares rates on a small set; `python -m benchmarks.ingest` ingests a large set once and
prints the peak memory of all its processes: a generated CSV of the official dialect with 1,408,033 rows, and 200,000
small photographs in archives, long-tailed over species, some of them broken.
"""

import argparse
import io
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.memory import PeakMemory
from benchmarks.results import Results
from benchmarks.timing import CORES, Size, add_rates, alternate, rates
from plantclef_assets.engines.local import run_shards
from plantclef_assets.ingest.manifests import write_training_manifest
from plantclef_assets.ingest.metadata import write_training_metadata
from plantclef_assets.ingest.photographs import RawImages, ReadingConfig
from plantclef_assets.ingest.sources import open_source
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.schemas import TRAINING_METADATA
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard

IMAGES, ROWS, SPECIES, ARCHIVES, SHARDS = 200_000, 1_408_033, 7_806, 8, 64
_ORDER = (
    "image_name",
    "organ",
    "species_id",
    "obs_id",
    "license",
    "partner",
    "author",
    "altitude",
    "latitude",
    "longitude",
    "gbif_species_id",
    "species",
    "genus",
    "family",
    "dataset",
    "publisher",
    "references",
    "url",
    "learn_tag",
    "image_backup_url",
)
_LONG_FIELD = 200_000
"""Length of the longest field; the limit of Python's csv module is 131,072."""


@dataclass(frozen=True)
class IngestSet:
    """A generated set in a folder: `metadata.csv`, `images/*.tar`, and a lake."""

    folder: Path
    images: int
    shards: int

    @property
    def lake(self) -> Lake:
        """The lake of the set."""
        return Lake(str(self.folder / "lake"))

    @property
    def archives(self) -> list[Path]:
        """The archives of photographs."""
        return sorted((self.folder / "images").glob("*.tar"))

    def read_plainly(self) -> int:
        """Read every byte of the archives, and nothing else."""
        for archive in self.archives:
            with archive.open("rb") as stream:
                while stream.read(2**20):
                    pass
        return self.images

    def read_members(self) -> int:
        """Read the archives member by member, as a script would."""
        for archive in self.archives:
            with tarfile.open(archive) as opened:
                for member in opened:
                    content = opened.extractfile(member)
                    assert content is not None
                    content.read()
        return self.images

    def write_metadata(self) -> int:
        """Parse the CSV into training_metadata."""
        write_training_metadata(self.lake, Shard(Artifact("training_metadata"), {}), self.folder / "metadata.csv")
        return self.images

    def write_manifest(self) -> int:
        """Index the archives and divide them into shards."""
        source = open_source(str(self.folder / "images"), self.folder / "cache")
        made = Shard(Artifact("training_manifest"), {})
        write_training_manifest(self.lake, made, source=source, shards=self.shards)
        return self.images

    def write_shards(self, workers: int) -> int:
        """Write the raw shards."""
        make = RawImages(self.lake, str(self.folder / "images"), str(self.folder / "cache"), ReadingConfig(10**8))
        wanted = [Shard(Artifact("raw_images", key), {}) for key in shard_keys(self.shards)]
        for outcome in run_shards(make, wanted, workers=workers):
            if outcome.error:
                raise outcome.error
        return self.images


def generate_set(folder: Path, images: int, shards: int) -> IngestSet:
    """Write photographs of a long-tailed flora into archives, with their metadata; one in a thousand is broken."""
    random = np.random.default_rng(0)
    pictures = [_picture(random) for _ in range(64)]
    species = np.minimum(random.zipf(1.4, images), SPECIES)
    (folder / "images").mkdir(parents=True)
    names = [f"{number:040x}.jpg" for number in range(images)]
    for place in range(ARCHIVES):
        with tarfile.open(folder / "images" / f"part-{place}.tar", "w", format=tarfile.GNU_FORMAT) as archive:
            for number in range(place, images, ARCHIVES):
                content = pictures[number % len(pictures)] + number.to_bytes(8, "big")
                content = content[:40] if number % 1000 == 0 else content
                member = tarfile.TarInfo(f"train/{1355868 + species[number]}/{names[number]}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
                archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
    generate_metadata(folder / "metadata.csv", names, species)
    return IngestSet(folder, images, shards)


def generate_metadata(file: Path, names: list[str], species: np.ndarray) -> None:
    """Write a CSV of the official dialect: `;`, all quoted, half of the coordinates empty, some fields very long."""
    with file.open("w", encoding="utf-8") as stream:
        stream.write(";".join(_ORDER) + "\n")
        for number, name in enumerate(names):
            one = int(species[number])
            place = '"205.9";"43.61";"3.87"' if number % 2 else '"";"";""'
            publisher = "x" * _LONG_FIELD if number % 100_000 == 7 else "platform"
            stream.write(
                f'"{name}";"leaf";"{1355868 + one}";"{number // 2}";"cc-by-sa";"";'
                f'"Author {number % 5000}, ""of"" plants";'
                f'{place};"{5328663 + one}.0";"Planta number{one} L.";"Planta";"Plantaceae";"plantnet";"{publisher}";'
                f'"https://example.org/observation/{number // 2}";"https://example.org/image/{name}";"train";'
                f'"https://example.org/archive/train/{1355868 + one}/{name}"\n'
            )


def measure(results: Results, size: Size) -> None:
    """Compare the steps of ingesting with plain reading."""
    images = 400 if size is Size.SMALL else 10_000
    with tempfile.TemporaryDirectory() as folder:
        small = generate_set(Path(folder), images, shards=8)
        small.write_metadata()
        small.write_manifest()
        plain = "plain reading of the archives"
        arms: dict[str, Callable[[], int]] = {
            plain: small.read_plainly,
            "plain tarfile loop": small.read_members,
            "manifest, archives indexed before": small.write_manifest,
            "raw shards, 1 worker": partial(small.write_shards, 1),
            f"raw shards, {CORES} workers (their start included)": partial(small.write_shards, CORES),
        }
        results.start(f"ingesting {images:,} photographs", rates("images/s"), plain)
        add_rates(results, alternate(arms, rounds=3), images)


def _picture(random: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def _measured(name: str, work: Callable[[], int], size: int, floor: float | None = None) -> float:
    """Run a function once, print its rate and peak memory, and return the seconds."""
    with PeakMemory() as memory:
        start = time.perf_counter()
        images = work()
        seconds = time.perf_counter() - start
    share = f"   × {seconds / floor:.1f} the floor" if floor else ""
    rates = f"{images / seconds:10,.0f} rows/s {size / seconds / 1e6:8.1f} MB/s"
    print(f"  {name:38} {seconds:7.1f} s {rates}   peak {memory.bytes / 1e6:6.0f} MB{share}", flush=True)
    return seconds


def main() -> None:
    """Generate the set, ingest it once, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "official.csv")
        species = np.minimum(np.random.default_rng(0).zipf(1.4, options.rows), SPECIES)
        generate_metadata(file, [f"{number:040x}.jpg" for number in range(options.rows)], species)
        print(f"metadata, {options.rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB, {len(_ORDER)} columns")
        assert set(_ORDER) == set(TRAINING_METADATA.columns.names)
        whole = Lake(str(Path(folder, "whole")))

        def parse() -> int:
            write_training_metadata(whole, Shard(Artifact("training_metadata"), {}), file)
            return options.rows

        _measured("training_metadata", parse, file.stat().st_size)
        file.unlink()
        made = generate_set(Path(folder, "set"), options.images, SHARDS)
        size = sum(archive.stat().st_size for archive in made.archives)
        print(f"photographs, {options.images:,} in {ARCHIVES} archives, {size / 1e6:,.0f} MB")
        floor = _measured("plain reading of the archives", made.read_plainly, size)
        _measured("plain tarfile loop", made.read_members, size, floor)
        _measured("training_metadata", made.write_metadata, (made.folder / "metadata.csv").stat().st_size)
        _measured("training_manifest, indexing", made.write_manifest, size, floor)
        _measured("training_manifest, indexed before", made.write_manifest, size, floor)
        _measured(f"raw_images, {SHARDS} shards, {CORES} workers", partial(made.write_shards, CORES), size, floor)


if __name__ == "__main__":
    main()
