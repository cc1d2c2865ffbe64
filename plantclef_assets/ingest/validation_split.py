"""The split of photographs into training, holdout and validation, and access to the held-out photographs.

A split that ignores obs_id puts photographs of one plant on one day on both sides and makes metrics optimistic; this
split keeps observations together, unless the tags of the data set divide one.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.lake.store import Artifact, Lake

TRAIN, VALIDATION = "train", "val"
"""The learn_tags of PlantCLEF for training and validation; `test` rows are on neither side."""


def split_rows(
    learn_tag: Sequence[str | None],
    obs_id: Sequence[str | int | None],
    *,
    validation_share: float = 0.2,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into training and validation.

    If some rows are tagged `train` and others `val`, the tags decide, and other rows are on neither side. Otherwise all
    rows except those of another tag (`test`) are split by a hash of seed and obs_id, so that all rows of an obs_id are
    on one side and stay there when rows are added. A row without obs_id is its own observation, identified by its
    position.

    Args:
        learn_tag: n tags; None or empty if unknown.
        obs_id: n observations; None or empty if unknown.
        validation_share: expected share of validation observations.
        seed: seed of the hash; has no effect on tagged rows.

    Returns:
        two disjoint boolean masks of shape (n,), train and validation.

    Raises:
        ValueError: the lengths differ, or `validation_share` is not between 0 and 1.
    """
    if len(learn_tag) != len(obs_id):
        raise ValueError(f"there are {len(learn_tag)} learn_tags but {len(obs_id)} obs_ids")
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share is {validation_share}; it must lie between 0 and 1")
    tags = np.array([tag or "" for tag in learn_tag], dtype=object)
    train, validation = tags == TRAIN, tags == VALIDATION
    if train.any() and validation.any():
        return train, validation
    taking_part = train | validation | (tags == "")
    share_of = {}
    hashed = np.empty(len(tags))
    for row, observation in enumerate(obs_id):
        key = f"row {row}" if observation is None or observation == "" else f"obs {observation}"
        if key not in share_of:
            share_of[key] = _position(key, seed)
        hashed[row] = share_of[key]
    held_out = hashed < validation_share
    return taking_part & ~held_out, taking_part & held_out


@dataclass(frozen=True)
class Sides:
    """The three sides of a training as disjoint boolean masks of shape (n,).

    Attributes:
        learn: rows that a model is fitted to.
        holdout: training rows that are held out for early stopping and calibration.
        validation: rows for metrics only.
    """

    learn: np.ndarray
    holdout: np.ndarray
    validation: np.ndarray

    @property
    def train(self) -> np.ndarray:
        """The training rows, including the holdout."""
        return self.learn | self.holdout

    def shared_observations(self, obs_id: Sequence[str | int | None]) -> list[str]:
        """Return the observations that are on more than one side, sorted; rows without obs_id are ignored."""
        observations = np.array(obs_id, dtype=object)
        sides = [set(observations[rows]) - {None, ""} for rows in (self.learn, self.holdout, self.validation)]
        shared = (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])
        return sorted(map(str, shared))


def split_sides(
    learn_tag: Sequence[str | None],
    obs_id: Sequence[str | int | None],
    species_id: np.ndarray,
    *,
    validation_share: float,
    holdout_share: float | None,
    seed: int,
) -> Sides:
    """Split rows into three sides with `split_rows` and, unless `holdout_share` is None, `hold_out`."""
    train, validation = split_rows(learn_tag, obs_id, validation_share=validation_share, seed=seed)
    learn, holdout = train, np.zeros_like(train)
    if holdout_share is not None and train.any():
        learn, holdout = hold_out(train, species_id, obs_id, share=holdout_share, seed=seed)
    return Sides(learn, holdout, validation)


def hold_out(
    train: np.ndarray, species_id: np.ndarray, obs_id: Sequence[str | int | None], *, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training rows into learn and holdout, with no obs_id on both sides.

    Fine-tuning and the classifiers use the same rule, so a fine-tuned backbone is never evaluated on photographs that
    it was trained on. If all photographs of a species would be held out, they are on the learn side. A
    row without obs_id is its own observation, identified by its position among the training rows.

    Args:
        train: boolean (n,), rows of the training side.
        species_id: int64 (n,).
        obs_id: n observations; None or empty if unknown.
        share: expected share of held-out observations.
        seed: seed of the split.

    Returns:
        two boolean masks of shape (n,), learn and holdout.
    """
    rows = np.flatnonzero(train)
    observations = [obs_id[row] for row in rows.tolist()]
    # A seed other than that of the validation split, which may already have selected by the same hash.
    learned, held = split_rows([None] * len(rows), observations, validation_share=share, seed=seed + 1)
    lonely = held & ~np.isin(species_id[rows], species_id[rows[learned]])
    if lonely.any():
        together = {observations[place] for place in np.flatnonzero(lonely).tolist()} - {None, ""}
        lonely |= held & np.array([one in together for one in observations], dtype=bool)
    holdout = np.zeros(len(train), dtype=bool)
    holdout[rows[held & ~lonely]] = True
    return train & ~holdout, holdout


def _position(key: str, seed: int) -> float:
    """Hash a key to a number in [0, 1), equal on every machine."""
    digest = hashlib.blake2b(f"{seed}|{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class MissingPhotographsError(ValueError):
    """Shards of raw_images lack photographs that resized_images has."""


@dataclass(frozen=True)
class SplitPhotographs:
    """All decodable photographs, and which of them are held out.

    Attributes:
        rows: image_name, species_id, obs_id and shard of n photographs, in the order of their shards.
        held_out: bool (n,), true for validation photographs whose observation has no training photograph.
    """

    rows: pa.Table
    held_out: np.ndarray

    @cached_property
    def by_species(self) -> dict[int, dict[str, list[str]]]:
        """The names of held-out photographs by species and observation, sorted, independent of the shards.

        A photograph without obs_id is its own observation.
        """
        grouped: dict[int, dict[str, list[str]]] = {}
        rows = self.rows.filter(pa.array(self.held_out)).sort_by("image_name").to_pylist()
        for row in sorted(rows, key=lambda row: (row["species_id"], _observation(row["obs_id"], row["image_name"]))):
            observations = grouped.setdefault(row["species_id"], {})
            observations.setdefault(_observation(row["obs_id"], row["image_name"]), []).append(row["image_name"])
        return grouped

    def not_held_out(self, image_names: Collection[str]) -> list[str]:
        """Return the names that are not held out, sorted."""
        held_out = set(self.rows.column("image_name").filter(pa.array(self.held_out)).to_pylist())
        return sorted(set(image_names) - held_out)


def read_split(lake: Lake, shards: Sequence[str], *, validation_share: float, seed: int) -> SplitPhotographs:
    """Read the keys of all photographs and split them like the classifiers do; no image is read.

    The rows are those of resized_images, in the same order, and thus those of the embeddings: the classifiers identify
    a photograph without obs_id by this position. Species that are not in the class map are never held out.

    Args:
        lake: the lake.
        shards: all training shards, in their order.
        validation_share: as for the classifiers (see `split_rows`).
        seed: as for the classifiers.

    Raises:
        MissingArtifactError: a shard or the class map is not in the lake.
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
    return SplitPhotographs(rows.drop_columns(["learn_tag"]), held_out)


def fetch_photographs(lake: Lake, photographs: SplitPhotographs, image_names: Collection[str]) -> dict[str, bytes]:
    """Read the unchanged bytes of photographs from raw_images; row groups without any of them are skipped.

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
