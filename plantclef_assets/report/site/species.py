"""Species in the report: their names, and training photographs with licence and author."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.compute as pc

from plantclef_assets.images.decoding import UndecodableImage
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.report.site.pictures import write_photograph
from plantclef_assets.scoring.scientific_names import genus_in, without_authorship

PHOTOGRAPHS = 3
"""Training photographs per species."""
CONFUSIONS = 6


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
        ids = lake.read(artifact, ["species_id"]).column("species_id").to_pylist()
        chosen, taken = [], Counter[int]()
        for row, species_id in enumerate(ids):
            if taken[species_id] < missing[species_id]:
                taken[species_id] += 1
                chosen.append(row)
        if not chosen:
            continue
        rows = lake.read(artifact, ["species_id", "license", "author", "data"]).take(chosen)
        for row in rows.to_pylist():
            one = species[row["species_id"]]
            file = f"species/{one.species_id}-{len(one.photographs) + 1}.jpg"
            try:
                write_photograph(row["data"], folder / file)
            except UndecodableImage:
                continue
            one.photographs.append(Photograph(file, row["author"] or "", row["license"] or ""))
        missing = +(missing - taken)


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
