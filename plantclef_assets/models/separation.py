"""Separation of species in feature spaces: the photographs of a map, their UMAP positions, and silhouettes.

After figure 5 of DS@GT PlantCLEF 2024 (arXiv 2407.06298), which shows the five most common species before and after
fine-tuning. What belongs here: the computations. What does not: the drawing of maps (`report/`).
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
"""Number of species on a map, as in the paper."""
PHOTOGRAPHS_PER_SPECIES = 500
"""Maximum number of photographs of each species: 2,500 points are still distinct, with exact UMAP neighbours."""
NEIGHBOURS = 15
"""Number of neighbours in UMAP, its default; fewer for fewer photographs."""
METRIC = "cosine"
LEAST_ROWS_FOR_UMAP = 10
_BATCH_ROWS = 4096


class MissingPhotographsError(ValueError):
    """The embeddings of a backbone lack photographs that those of another backbone have."""


@dataclass(frozen=True)
class ShownPhotographs:
    """The n photographs of a map, in an order independent of their species.

    Attributes:
        image_name: n names.
        species_id: int64 (n,).
        held_out: bool (n,), whether the photograph is for validation, without training on it.
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
    """Choose the photographs of the most common species; no vector is read.

    Species with the same number of photographs are ordered by species_id. The first photographs of each species by a
    hash of their names are chosen, so that the choice does not depend on the shards.

    Args:
        lake: the lake.
        artifacts: all shards of one backbone's embeddings, in their order.
        validation_share: share of the classifiers' split (see `split_rows`).
        seed: seed of the classifiers' split.
        species: maximum number of species.
        per_species: maximum number of photographs of each species.

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
    """Return one vector for each name; `advance` is called with the number of rows after each batch of a shard.

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
    """Return positions of vectors on a plane by UMAP (McInnes et al., arXiv 1802.03426), repeatable on one machine.

    If there are too few vectors for a neighbourhood graph, these are coordinates along the principal axes.

    Args:
        features: float32 (n, D).
        seed: seed of UMAP.

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
    """Return the mean silhouette (Rousseeuw 1987) of vectors by species, with cosine distance.

    Args:
        features: float32 (n, D), the features themselves, since distances on a map mean little.
        species_id: int64 (n,).

    Returns:
        a number from -1 to 1, higher for species further apart; None if it is undefined: for a single species, or
        without two vectors of one species.
    """
    if not 2 <= len(np.unique(species_id)) < len(species_id):
        return None
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(features, species_id, metric=METRIC))


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _principal_axes(features: np.ndarray) -> np.ndarray:
    """Return the coordinates along the two principal axes, zero for missing axes."""
    positions = np.zeros((len(features), 2), np.float32)
    if len(features) > 1:
        left, values, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
        axes = min(2, len(values))
        # The sign of an axis is arbitrary; this makes it independent of the linear algebra library.
        signs = np.sign(left[np.abs(left[:, :axes]).argmax(axis=0), range(axes)])
        positions[:, :axes] = left[:, :axes] * values[:axes] * signs
    return positions
