"""Maps of feature spaces: which photographs they show, where UMAP puts them, and how far species lie apart.

After figure 5 of DS@GT PlantCLEF 2024 (arXiv 2407.06298), which shows the five commonest species before and after
fine-tuning. What belongs here: all of it that is computed. What does not: how it is drawn.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plantclef_assets.ingest.validation_split import split_rows
from plantclef_assets.lake.store import Artifact, Lake

SPECIES = 5
"""How many species a map shows, as in the paper."""
PHOTOGRAPHS_PER_SPECIES = 500
"""At most so many of each: 2,500 points can still be told apart, and UMAP still finds exact neighbours."""
NEIGHBOURS = 15
"""How many neighbours UMAP looks at, its default; fewer where there are not so many."""
METRIC = "cosine"
LEAST_ROWS_FOR_UMAP = 10
_BATCH_ROWS = 4096


class MissingPhotographsError(ValueError):
    """A backbone's embeddings lack photographs that another's have."""


@dataclass(frozen=True)
class ShownPhotographs:
    """The n photographs of a map, in an order that says nothing of their species.

    Attributes:
        image_name: n names.
        species_id: int64 (n,).
        held_out: bool (n,), whether the photograph validates and so was never trained on.
    """

    image_name: list[str]
    species_id: np.ndarray
    held_out: np.ndarray


def choose_photographs(
    lake: Lake,
    artifacts: Sequence[Artifact],
    *,
    validation_share: float,
    seed: int,
    species: int = SPECIES,
    per_species: int = PHOTOGRAPHS_PER_SPECIES,
) -> ShownPhotographs:
    """Choose the photographs of the commonest species; no vector is read.

    Species with equally many photographs are taken by species_id. Of each species the first photographs by a hash of
    their name are taken, so that the cut of the shards has no say.

    Args:
        lake: where the embeddings are.
        artifacts: all shards of one backbone's embeddings, in their order.
        validation_share: as for the classifiers, whose split this is (see `split_rows`).
        seed: likewise.
        species: how many species, at most.
        per_species: how many photographs of each, at most.

    Raises:
        MissingArtifactError: a shard is not in the lake.
    """
    columns = ["image_name", "species_id", "obs_id", "learn_tag"]
    table = pa.concat_tables(lake.read(artifact, columns) for artifact in artifacts)
    _, held_out = split_rows(
        table.column("learn_tag").to_pylist(),
        table.column("obs_id").to_pylist(),
        validation_share=validation_share,
        seed=seed,
    )
    labels = table.column("species_id").to_numpy()
    known, counts = np.unique(labels, return_counts=True)
    shown: list[tuple[bytes, str, int]] = []  # hash, name, row
    for one in known[np.lexsort((known, -counts))][:species]:
        rows = np.flatnonzero(labels == one)
        names = table.column("image_name").take(pa.array(rows)).to_pylist()
        shown += sorted((_hash(name), name, row) for name, row in zip(names, rows.tolist(), strict=True))[:per_species]
    shown.sort()
    rows = np.array([row for _, _, row in shown], np.int64)
    return ShownPhotographs([name for _, name, _ in shown], labels[rows], held_out[rows])


def read_vectors(
    lake: Lake,
    artifacts: Sequence[Artifact],
    image_names: Sequence[str],
    column: str = "cls",
    advance: Callable[[int], None] = lambda rows: None,
) -> np.ndarray:
    """Read one vector for each name, a batch of a shard at a time; `advance` is told how many rows were read.

    Returns:
        float32 (n, D), in the order of the names.

    Raises:
        MissingArtifactError: a shard is not in the lake.
        MissingPhotographsError: a name is in none of them.
    """
    files = [lake.open(artifact) for artifact in artifacts]
    vectors = np.empty((len(image_names), files[0].schema_arrow.field(column).type.list_size), np.float32)
    waiting = {name: place for place, name in enumerate(image_names)}
    wanted = pa.array(image_names, pa.string())
    for file in files:
        for batch in file.iter_batches(_BATCH_ROWS, columns=["image_name", column]):
            found = batch.filter(pc.is_in(batch.column("image_name"), value_set=wanted))
            values = np.asarray(found.column(column).flatten()).reshape(-1, vectors.shape[1])
            for name, vector in zip(found.column("image_name").to_pylist(), values, strict=True):
                vectors[waiting.pop(name)] = vector
            advance(batch.num_rows)
    if waiting:
        named = ", ".join(sorted(waiting)[:5])
        raise MissingPhotographsError(f"{artifacts[0].asset} lacks {len(waiting)} photographs ({named})")
    return vectors


def lay_out(features: np.ndarray, seed: int) -> np.ndarray:
    """Put vectors on a plane by UMAP (McInnes et al., arXiv 1802.03426), the same way every time on one machine.

    Too few vectors for a neighbourhood graph are laid out along their principal axes instead.

    Args:
        features: float32 (n, D).
        seed: of UMAP's random choices.

    Returns:
        float32 (n, 2).
    """
    if len(features) < LEAST_ROWS_FOR_UMAP:
        return _principal_axes(features)
    from umap import UMAP

    neighbours = min(NEIGHBOURS, len(features) - 1)
    reducer = UMAP(n_neighbors=neighbours, metric=METRIC, random_state=seed % 2**32, n_jobs=1)
    return np.asarray(reducer.fit_transform(features), np.float32)


def separation(features: np.ndarray, species_id: np.ndarray) -> float | None:
    """Give the mean silhouette (Rousseeuw 1987) of vectors by species, with cosine distance.

    Args:
        features: float32 (n, D), as the backbone gives them: distances on a map mean little.
        species_id: int64 (n,).

    Returns:
        a number from -1 to 1, higher where species lie further apart; None where it is not defined, which is
        with one species only, or no two vectors of one species.
    """
    if not 2 <= len(np.unique(species_id)) < len(species_id):
        return None
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(features, species_id, metric=METRIC))


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _principal_axes(features: np.ndarray) -> np.ndarray:
    """Give the coordinates along the two principal axes, zero where there are fewer."""
    positions = np.zeros((len(features), 2), np.float32)
    if len(features) > 1:
        left, values, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
        axes = min(2, len(values))
        # The sign of an axis is free; without this the library of the day would choose it.
        signs = np.sign(left[np.abs(left[:, :axes]).argmax(axis=0), range(axes)])
        positions[:, :axes] = left[:, :axes] * values[:axes] * signs
    return positions
