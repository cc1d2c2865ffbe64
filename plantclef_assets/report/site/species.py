"""Species in the report: their names, and training photographs with licence and author."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.images.decoding import UndecodableImage
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.report.site.pictures import write_photograph
from plantclef_assets.scoring.scientific_names import genus_in, without_authorship

PHOTOGRAPHS = 3
"""Training photographs per species."""
CONFUSIONS = 6
_COLUMNS = ("species_id", "license", "author", "data")
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Photograph:
    """A training photograph of a species: its file below the pages, and who may be thanked for it."""

    file: str
    author: str
    license: str

    @property
    def credit(self) -> str:
        """Author and licence, for the line below the photograph."""
        known = [("author", self.author), ("licence", self.license)]
        return ", ".join(value if value and value != "unknown" else f"{name} unknown" for name, value in known)


@dataclass(frozen=True)
class Species:
    """A species.

    Attributes:
        species_id: its id.
        name: scientific name without authorship, or the id.
        full_name: scientific name with authorship.
        genus, family: None if unknown.
        gbif_id: id in GBIF's backbone; None if unknown.
        images: number of its training photographs.
        photographs: some of them.
    """

    species_id: int
    name: str
    full_name: str
    genus: str | None
    family: str | None
    gbif_id: int | None
    images: int
    photographs: list[Photograph] = field(default_factory=list)


@dataclass(frozen=True)
class Confusion:
    """How often validation photographs of a species are taken for another one by a classifier."""

    species_id: int
    times: int


def read_species(lake: Lake) -> dict[int, Species]:
    """Read all species of the class map, by species_id."""
    return {
        row["species_id"]: Species(
            row["species_id"],
            without_authorship(row["species"]) if row["species"] else str(row["species_id"]),
            row["species"] or str(row["species_id"]),
            row["genus"] or genus_in(row["species"] or ""),
            row["family"],
            row["gbif_species_id"],
            row["images"],
        )
        for row in lake.read(Artifact("class_map")).to_pylist()
    }


def write_photographs(
    lake: Lake, shards: Sequence[str], species: Mapping[int, Species], wanted: Collection[int], folder: Path
) -> None:
    """Write the first training photographs of the wanted species in the order of the shards, and add them to these.

    Shards are read until every species has its photographs, so common species cost little.
    """
    missing = Counter({species_id: min(PHOTOGRAPHS, species[species_id].images) for species_id in wanted})
    missing = +missing
    for key in shards:
        if not missing:
            return
        artifact = Artifact("resized_images", key)
        chosen = []
        for row, species_id in enumerate(lake.read(artifact, ["species_id"]).column("species_id").to_pylist()):
            if missing[species_id] > 0:
                missing[species_id] -= 1
                chosen.append(row)
        for row in _rows(lake, artifact, chosen):
            _write_photograph(species[row["species_id"]], row, folder)
        missing = +missing


def _rows(lake: Lake, artifact: Artifact, chosen: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield some rows of a shard of photographs, a few in memory at once; without any, the shard is not read."""
    start, numbers = 0, np.array(chosen, np.int64)
    for batch in lake.open(artifact).iter_batches(_ROWS_AT_ONCE, columns=[*_COLUMNS]) if chosen else ():
        here = numbers[(numbers >= start) & (numbers < start + batch.num_rows)] - start
        yield from batch.take(pa.array(here)).to_pylist()
        start += batch.num_rows


def _write_photograph(one: Species, row: Mapping[str, Any], folder: Path) -> None:
    """Write a training photograph and add it to its species; one that cannot be decoded is left out."""
    file = f"species/{one.species_id}-{len(one.photographs) + 1}.jpg"
    try:
        write_photograph(row["data"], folder / file)
    except UndecodableImage:
        return
    one.photographs.append(Photograph(file, row["author"] or "", row["license"] or ""))


def read_confusions(lake: Lake, classifier: str) -> dict[int, list[Confusion]]:
    """Read which species the validation photographs of each species are most often taken for, by one classifier."""
    rows = lake.read(Artifact("val_predictions", classifier), ["species_id", "species_ids"])
    first = pc.list_element(rows.column("species_ids"), 0)  # pyright: ignore[reportAttributeAccessIssue]
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for truth, predicted in zip(rows.column("species_id").to_pylist(), first.to_pylist(), strict=True):
        if truth != predicted:
            counts[truth][predicted] += 1
    return {
        truth: [Confusion(*pair) for pair in sorted(found.items(), key=lambda one: (-one[1], one[0]))[:CONFUSIONS]]
        for truth, found in counts.items()
    }
