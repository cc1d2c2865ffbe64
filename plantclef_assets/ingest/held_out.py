"""Held-out photographs: those that neither train a classifier nor a backbone, by the split that these use.

What belongs here: which photographs they are, and fetching a few of them out of many shards.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.ingest.validation_split import split_rows
from plantclef_assets.lake.store import Artifact, Lake


class MissingPhotographsError(ValueError):
    """Shards of raw_images lack photographs that resized_images has."""


@dataclass(frozen=True)
class Photographs:
    """All photographs that could be decoded, with the sides of their split.

    Attributes:
        rows: image_name, species_id, obs_id and shard of n photographs, in the order of their shards.
        held_out: bool (n,), whether a photograph validates, and no other one of its observation trains.
    """

    rows: pa.Table
    held_out: np.ndarray

    @cached_property
    def by_species(self) -> dict[int, dict[str, list[str]]]:
        """The names of held-out photographs by species and observation, all ascending, however shards are cut.

        A photograph without obs_id is an observation of its own.
        """
        grouped: dict[int, dict[str, list[str]]] = {}
        rows = self.rows.filter(pa.array(self.held_out)).sort_by("image_name").to_pylist()
        for row in sorted(rows, key=lambda row: (row["species_id"], _observation(row["obs_id"], row["image_name"]))):
            observations = grouped.setdefault(row["species_id"], {})
            observations.setdefault(_observation(row["obs_id"], row["image_name"]), []).append(row["image_name"])
        return grouped

    def not_held_out(self, image_names: Collection[str]) -> list[str]:
        """Give those of the names that are not held out, ascending."""
        held_out = set(self.rows.column("image_name").filter(pa.array(self.held_out)).to_pylist())
        return sorted(set(image_names) - held_out)


def read_split(lake: Lake, shards: Sequence[str], *, validation_share: float, seed: int) -> Photographs:
    """Read the keys of all photographs and split them as the classifiers do; no picture is read.

    Rows are those of resized_images, in its order, which are also those of the embeddings: the classifiers know a
    photograph without obs_id by its position there. Species that the class map does not have are left out.

    Args:
        lake: where the shards are.
        shards: all training shards, in their order.
        validation_share: as for the classifiers (see `split_rows`).
        seed: likewise.

    Raises:
        MissingArtifactError: a shard, or the class map, is not in the lake.
    """
    columns = ["image_name", "species_id", "obs_id", "learn_tag"]
    tables = []
    for shard in shards:
        table = lake.read(Artifact("resized_images", shard), columns)
        tables.append(table.append_column("shard", pa.array([shard] * table.num_rows, pa.string())))
    rows = pa.concat_tables(tables)
    train, validation = split_rows(
        rows.column("learn_tag").to_pylist(),
        rows.column("obs_id").to_pylist(),
        validation_share=validation_share,
        seed=seed,
    )
    trained = {observation for observation in rows.column("obs_id").filter(pa.array(train)).to_pylist() if observation}
    of_trained = pc.is_in(rows.column("obs_id"), value_set=pa.array(sorted(trained), pa.string()))
    known = lake.read(Artifact("class_map"), ["species_id"]).column("species_id").combine_chunks()
    in_class_map = pc.is_in(rows.column("species_id"), value_set=known)
    held_out = validation & ~np.asarray(of_trained) & np.asarray(in_class_map)
    return Photographs(rows.drop_columns(["learn_tag"]), held_out)


def fetch_photographs(lake: Lake, photographs: Photographs, image_names: Collection[str]) -> dict[str, bytes]:
    """Fetch the published bytes of some photographs from raw_images, one row group at a time.

    Row groups with none of them are not read.

    Raises:
        MissingArtifactError: a shard is not in the lake.
        MissingPhotographsError: a photograph is not in its shard.
    """
    wanted = pa.array(sorted(image_names), pa.string())
    rows = photographs.rows.filter(pc.is_in(photographs.rows.column("image_name"), value_set=wanted))
    found: dict[str, bytes] = {}
    for shard in rows.column("shard").unique().to_pylist():
        file = lake.open(Artifact("raw_images", shard))
        for group in range(file.num_row_groups):
            names = file.read_row_group(group, columns=["image_name"]).column("image_name")
            chosen = pc.indices_nonzero(pc.is_in(names, value_set=wanted))
            if len(chosen):
                data = file.read_row_group(group, columns=["data"]).column("data").take(chosen)
                found |= dict(zip(names.take(chosen).to_pylist(), data.to_pylist(), strict=True))
    missing = sorted(set(image_names) - set(found))
    if missing:
        named = ", ".join(missing[:5])
        raise MissingPhotographsError(
            f"raw_images lacks {len(missing)} photographs that resized_images has ({named}); materialize "
            "resized_images again"
        )
    return found


def _observation(obs_id: str | None, image_name: str) -> str:
    return f"observation {obs_id}" if obs_id else f"photograph {image_name}"
