"""The plan of the demo survey before anything is drawn: metadata of its photographs and species of its plots."""

import hashlib
from dataclasses import dataclass

import numpy as np

from plantclef_assets.demo.grounds import GROUNDS
from plantclef_assets.demo.names import name_of

FIRST_SPECIES_ID = 1_355_868
"""The least species_id of PlantCLEF 2024, whose ids have seven digits and mostly increase by one."""

COLUMNS = (
    "image_name", "organ", "species_id", "obs_id", "license", "partner", "author", "altitude", "latitude",
    "longitude", "gbif_species_id", "species", "genus", "family", "dataset", "publisher", "references", "url",
    "learn_tag", "image_backup_url",
)  # fmt: skip
"""The columns of PlantCLEF 2024's training metadata, in order."""

VISITS = ("20240501", "20240618", "20240812")
"""The days on which each place of the survey was visited."""

LEAST_PHOTOGRAPHS = 16
"""Number of photographs of the rarest species; at least three of them are for validation."""

_OBSERVERS = ("A. Moreau", "B. Lindqvist", "C. Ferrari", "D. Novák", "E. Garcia", "F. Okafor")


@dataclass(frozen=True)
class PhotographRecord:
    """One planned photograph: its species (number in the flora), observation and `learn_tag`."""

    species: int
    observation: int
    learn_tag: str
    image_name: str
    shot: int


@dataclass(frozen=True)
class PlotRecord:
    """One visit to one place of the survey; `species` are numbers in the flora, the most abundant first."""

    name: str
    species: tuple[int, ...]
    ground: str
    place: int


def species_id(number: int) -> int:
    """Return the species_id of a species of the flora; ids increase with its number, with gaps as in PlantCLEF."""
    return FIRST_SPECIES_ID + number + number // 5 * 3


def photograph_counts(photographs: int, species: int, seed: int) -> list[int]:
    """Distribute photographs over species with a long tail, in random order of species.

    Raises:
        ValueError: there are fewer photographs than `LEAST_PHOTOGRAPHS` for each species.
    """
    spare = photographs - LEAST_PHOTOGRAPHS * species
    if spare < 0:
        raise ValueError(f"{species} species need {LEAST_PHOTOGRAPHS * species} photographs, not {photographs}")
    ranks = np.random.default_rng([seed, 5]).permutation(species)
    shares = 1 / (ranks + 2.0)
    counts = np.floor(spare * shares / shares.sum()).astype(int)
    counts[int(ranks.argmin())] += spare - int(counts.sum())
    return [LEAST_PHOTOGRAPHS + int(count) for count in counts]


def plan_photographs(seed: int, species: int, photographs: int) -> list[PhotographRecord]:
    """Plan all photographs, species by species: observations of one to three, a quarter of them for validation.

    Raises:
        ValueError: there are too few photographs, see `photograph_counts`.
    """
    records: list[PhotographRecord] = []
    observation = 0
    for number, count in enumerate(photograph_counts(photographs, species, seed)):
        rng = np.random.default_rng([seed, 6, number])
        taken = validated = 0
        while taken < count:
            size = min(int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12])), count - taken)
            # Whole observations go to validation while it has less than a quarter of the photographs.
            learn_tag = "val" if validated + size <= 0.25 * (taken + size) + 0.5 else "train"
            for shot in range(size):
                name = hashlib.sha1(f"{seed}/{observation}/{shot}".encode()).hexdigest() + ".jpg"
                records.append(PhotographRecord(number, observation, learn_tag, name, shot))
            validated += size if learn_tag == "val" else 0
            taken += size
            observation += 1
    return records


def metadata_row(record: PhotographRecord, organ: str, seed: int) -> list[str]:
    """Return the row of a photograph in the order of `COLUMNS`; half of the observations have no position."""
    rng = np.random.default_rng([seed, 7, record.observation])
    position = ["", "", ""]
    if rng.random() < 0.5:
        position = [f"{rng.integers(40, 1900)}.0", f"{rng.uniform(43, 47):.5f}", f"{rng.uniform(1, 7):.5f}"]
    observer = str(rng.choice(_OBSERVERS))
    identity, name = species_id(record.species), name_of(seed, record.species)
    address = f"https://flora.example/{record.image_name}"
    return [
        record.image_name, organ, str(identity), str(1_000_000_000 + 37 * record.observation), "cc-by-sa", "",
        observer, *position, f"{5_300_000 + 113 * record.species}.0", name.species, name.genus, name.family,
        "demo", "procedural flora", f"https://flora.example/observation/{record.observation}", address,
        record.learn_tag, address,
    ]  # fmt: skip


def plan_plots(seed: int, species: int, plots: int) -> list[PlotRecord]:
    """Plan the visits: places A1, A2, B1 … are each visited on all `VISITS` and keep most of their species."""
    records = []
    for index in range(plots):
        place, visit = divmod(index, len(VISITS))
        of_place = np.random.default_rng([seed, 8, place])
        of_visit = np.random.default_rng([seed, 9, place, visit])
        community = of_place.permutation(species)[: min(6, species)]
        ground = str(of_place.choice(GROUNDS))
        count = min(int(of_visit.integers(2, 6)), species)
        # The first species of a community are seen on most visits, the others on some.
        weights = 1 / np.arange(1, len(community) + 1)
        seen = of_visit.choice(community, min(count, len(community)), replace=False, p=weights / weights.sum())
        name = f"DEMO-{chr(ord('A') + place // 2 % 26)}{place % 2 + 1 + place // 52 * 2}-{VISITS[visit]}"
        records.append(PlotRecord(name, tuple(int(number) for number in seen), ground, place))
    return records
