"""Validation plots: a survey with ground truth for any data set, composed of its held-out photographs.

Plot number n is a pure function of the seed, n and the held-out photographs. Of every three plots, the first two are
visits to one place, and the third is another place. What belongs here: the choice of photographs of each plot, and the
shards. What does not: pixels (`images/composition.py`).
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from plantclef_assets.images.composition import (
    LEAST_VISIBLE,
    View,
    box_of,
    compose,
    ground_of,
    lay_out,
    revisit,
    without_hidden_species,
)
from plantclef_assets.images.decoding import decode_image
from plantclef_assets.images.resizing import encode_jpeg
from plantclef_assets.ingest.validation_split import fetch_photographs, read_split
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.schemas import VALIDATION_PLOTS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard

JPEG_QUALITY = 90

_PLANTS = (0.55, 0.3, 0.15)
"""Probabilities that a species on a plot has one, two or three photographs, of different observations."""
_GROUNDS = 2
"""Number of photographs whose colours a place's ground has."""
_CHOICE, _LAYOUT, _VIEW, _GROUND, _LIGHT, _DATE = range(6)
"""Random streams, one for each kind of random decision."""

Key = TypeVar("Key", bound=Hashable)


class TooFewPhotographsError(ValueError):
    """There are not enough held-out species to compose plots from."""


@dataclass(frozen=True)
class Place:
    """The photographs of a place: its plants, and the colours of its ground.

    Attributes:
        number: from 0.
        photographs: (species_id, image_name) of each plant.
        grounds: image names.
    """

    number: int
    photographs: tuple[tuple[int, str], ...]
    grounds: tuple[str, ...]

    @property
    def image_names(self) -> set[str]:
        """All photographs of the place."""
        return {name for _, name in self.photographs} | set(self.grounds)


def plan_places(
    held_out: Mapping[int, Mapping[str, Sequence[str]]], plots: int, species: tuple[int, int], seed: int
) -> list[Place]:
    """Choose the photographs of each place; the least used species and observations come first.

    The number of species is long-tailed: `least` + i with probability proportional to 1 / (i + 1).

    Args:
        held_out: photographs by species and observation.
        plots: number of plots.
        species: minimum and maximum number of species of a place.
        seed: the random seed.

    Returns:
        the places; with fewer plots, the same places from the beginning.

    Raises:
        TooFewPhotographsError: there are fewer species than the minimum.
    """
    least, most = species
    if len(held_out) < least:
        raise TooFewPhotographsError(
            f"validation plots need photographs of {least} species that no classifier was trained on, and there are "
            f"{len(held_out)}: add photographs, increase PLANTCLEF_CLASSIFIER__VALIDATION_SHARE if they have no "
            "learn_tag, or set PLANTCLEF_VALIDATION__PLOTS to 0"
        )
    ids = sorted(held_out)
    every = [name for observations in held_out.values() for names in observations.values() for name in names]
    numbers = np.arange(least, min(most, len(ids)) + 1)
    weights = 1 / (numbers - least + 1)
    used_species: Counter[int] = Counter()
    used_observations: Counter[tuple[int, str]] = Counter()
    places = []
    for number in range(_visit(plots - 1)[0] + 1):
        rng = _chance(seed, _CHOICE, number)
        count = int(rng.choice(numbers, p=weights / weights.sum()))
        chosen: list[tuple[int, str]] = []
        for one in _take_least_used(ids, used_species, count, rng):
            observations = [(one, observation) for observation in held_out[one]]
            plants = 1 + int(rng.choice(len(_PLANTS), p=_PLANTS))
            for _, observation in _take_least_used(observations, used_observations, plants, rng):
                chosen.append((one, str(rng.choice(held_out[one][observation]))))
        grounds = tuple(every[one] for one in rng.integers(len(every), size=_GROUNDS))
        places.append(Place(number, tuple(chosen), grounds))
    return places


@dataclass(frozen=True)
class CompositionConfig:
    """What composed plots depend on; it is recorded in their provenance.

    Attributes:
        plots: number of plots.
        shards: number of their shards.
        side: of a plot, px.
        species: minimum and maximum number of species on a plot.
        validation_share: share of the classifiers' split, which also uses the seed.
        seed: the random seed.
    """

    plots: int
    shards: int
    side: int
    species: tuple[int, int]
    validation_share: float
    seed: int


@dataclass(frozen=True)
class ValidationPlots:
    """Makes shards of validation_plots from the keys of resized_images and the bytes of raw_images."""

    lake: Lake
    training_shards: Sequence[str]
    config: CompositionConfig
    max_pixels: int

    def __call__(self, shard: Shard) -> None:
        """Write one shard: a range of consecutive plots.

        Raises:
            MissingArtifactError: a shard of photographs, or the class map, is not in the lake.
            MissingPhotographsError: raw_images lacks photographs of resized_images.
            TooFewPhotographsError: there are not enough held-out species.
        """
        photographs = read_split(
            self.lake, self.training_shards, validation_share=self.config.validation_share, seed=self.config.seed
        )
        places = plan_places(photographs.by_species, self.config.plots, self.config.species, self.config.seed)
        numbers = self._numbers(shard)
        names = set[str]().union(*(places[_visit(number)[0]].image_names for number in numbers))
        encoded = fetch_photographs(self.lake, photographs, names)
        with write_shard(self.lake, shard, VALIDATION_PLOTS) as table:
            found: set[int] = set()
            for number in numbers:
                table.rows_in += 1
                row = self._compose(number, places, encoded)
                table.add([row])
                found.update(row["species_ids"])
            trained = photographs.not_held_out(names)
            table.statistics = {
                "species": sorted(found),
                "held_out_species": sorted(photographs.by_species),
                "photographs": len(names),
                "not_held_out": len(trained),
                "first_not_held_out": trained[:5],
            }

    def _numbers(self, shard: Shard) -> range:
        place, shards = shard_keys(self.config.shards).index(shard.artifact.partition or ""), self.config.shards
        return range(place * self.config.plots // shards, (place + 1) * self.config.plots // shards)

    def _compose(self, number: int, places: Sequence[Place], encoded: Mapping[str, bytes]) -> dict[str, Any]:
        """Compose plot `number`; return its row."""
        at, visit = _visit(number)
        place, side = places[at], self.config.side
        images = {name: decode_image(encoded[name], max_pixels=self.max_pixels) for name in sorted(place.image_names)}
        plants = lay_out(place.photographs, _chance(self.config.seed, _LAYOUT, at))
        view = revisit(plants, _chance(self.config.seed, _VIEW, at)) if visit else View()
        shown = without_hidden_species(view.of(plants), side)
        ground = ground_of([images[name] for name in place.grounds], view, side, _chance(self.config.seed, _GROUND, at))
        light = _chance(self.config.seed, _LIGHT, at, visit)
        picture = compose([plant for plant, _ in shown], images, ground, side, light)
        objects = []
        for plant, share in shown:
            x, y, width, height = box_of(plant, side)
            pasted = {"species_id": plant.species_id, "image_name": plant.image_name, "visible_share": share}
            objects.append(pasted | {"x": x, "y": y, "width": width, "height": height})
        return {
            "plot_id": plot_name(number, self.config.seed),
            "width": side,
            "height": side,
            "data": encode_jpeg(picture, JPEG_QUALITY),
            "species_ids": species_seen(objects),
            "objects": objects,
        }


def species_seen(objects: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the ground truth of a plot from its objects: the species that are visible enough, ascending."""
    return sorted({one["species_id"] for one in objects if one["visible_share"] >= LEAST_VISIBLE})


def plot_name(number: int, seed: int) -> str:
    """Return the name of a plot, place and date: `VAL-0007-20240501`; a second visit is a year later."""
    place, visit = _visit(number)
    rng = _chance(seed, _DATE, place, visit)
    return f"VAL-{place:04d}-{2024 + visit}{rng.integers(5, 9):02d}{rng.integers(1, 29):02d}"


def read_truth(lake: Lake, shards: Sequence[str]) -> dict[str, list[int]]:
    """Return the species of each validation plot, by name.

    Raises:
        MissingArtifactError: a shard is not in the lake.
    """
    tables = (lake.read(Artifact("validation_plots", shard), ["plot_id", "species_ids"]) for shard in shards)
    return {row["plot_id"]: row["species_ids"] for table in tables for row in table.to_pylist()}


def _visit(number: int) -> tuple[int, int]:
    """Return the place of a plot and the number of the visit."""
    group, rest = divmod(number, 3)
    return 2 * group + rest // 2, rest % 2


def _chance(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**32, *stream])


def _take_least_used(keys: Sequence[Key], used: Counter[Key], count: int, rng: np.random.Generator) -> list[Key]:
    """Return up to `count` of the least used keys, in random order among equals, and count their use."""
    order = [keys[place] for place in rng.permutation(len(keys)).tolist()]
    taken = sorted(order, key=lambda key: used[key])[:count]
    used.update(taken)
    return taken
