"""Which photographs a map shows, where it puts them, and how far species lie apart."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plantclef_assets.ingest.validation_split import split_rows
from plantclef_assets.lake.schemas import FINETUNED_EMBEDDINGS
from plantclef_assets.lake.store import Artifact, Lake, MissingArtifactError
from plantclef_assets.lake.tables import write_table
from plantclef_assets.models.separation import (
    MissingPhotographsError,
    ShownPhotographs,
    choose_photographs,
    lay_out,
    read_vectors,
    separation,
)

COUNTS = {11: 4, 22: 9, 33: 7, 44: 4, 55: 6, 66: 8, 77: 4}
"""Photographs of each species; 11, 44 and 77 are as common as each other."""


def photographs(tag: str | None = None) -> list[dict[str, Any]]:
    """Give photographs in which species alternate; two at a time are of one observation."""
    rows = [(number, one) for one, count in COUNTS.items() for number in range(count)]
    return [
        {"image_name": f"{one}-{number}.jpg", "species_id": one, "obs_id": f"{one}-{number // 2}", "learn_tag": tag}
        for number, one in sorted(rows)
    ]


def write_shards(
    lake: Lake, rows: Sequence[dict[str, Any]], shards: int, asset: str = "finetuned_embeddings"
) -> list[Artifact]:
    """Write rows as embeddings; a photograph's vector is made from its name."""
    artifacts = []
    for index in range(shards):
        some = rows[index * len(rows) // shards : (index + 1) * len(rows) // shards]
        artifacts.append(Artifact(asset, f"{index:02}"))
        with write_table(lake, artifacts[-1], FINETUNED_EMBEDDINGS, {}, widths={"cls": 2}) as table:
            columns: dict[str, Any] = {name: [row[name] for row in some] for name in rows[0]}
            table.write_rows(**columns, cls=np.array([vector(row["image_name"]) for row in some], np.float32))
    return artifacts


def vector(name: str) -> list[int]:
    return [int(part) for part in name.removesuffix(".jpg").split("-")]


def chosen(lake: Lake, artifacts: Sequence[Artifact], **given: Any) -> ShownPhotographs:
    return choose_photographs(lake, artifacts, **({"validation_share": 0.3, "seed": 5} | given))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def test_the_five_commonest_species_are_shown_and_equals_by_their_id(lake: Lake) -> None:
    shown = chosen(lake, write_shards(lake, photographs(), 3))
    species, counts = np.unique(shown.species_id, return_counts=True)
    assert dict(zip(species.tolist(), counts.tolist(), strict=True)) == {11: 4, 22: 9, 33: 7, 55: 6, 66: 8}
    assert [int(name.split("-")[0]) for name in shown.image_name] == shown.species_id.tolist()


def test_of_a_species_no_more_are_shown_than_asked_for(lake: Lake) -> None:
    shown = chosen(lake, write_shards(lake, photographs(), 3), per_species=5)
    assert np.unique(shown.species_id, return_counts=True)[1].tolist() == [4, 5, 5, 5, 5]
    everything = chosen(lake, write_shards(lake, photographs(), 3))
    kept = set(shown.image_name)
    assert [name for name in everything.image_name if name in kept] == shown.image_name


def test_neither_the_cut_of_the_shards_nor_their_order_has_a_say(lake: Lake) -> None:
    few = chosen(lake, write_shards(lake, photographs(), 2), per_species=5)
    many = chosen(lake, write_shards(lake, photographs()[::-1], 7), per_species=5)
    assert many.image_name == few.image_name
    assert many.held_out.tolist() == few.held_out.tolist()


def test_species_are_mixed_so_that_none_is_drawn_over_the_others(lake: Lake) -> None:
    species = chosen(lake, write_shards(lake, photographs(), 2)).species_id
    assert np.count_nonzero(species[1:] != species[:-1]) > len(species) / 2


@pytest.mark.parametrize("tags", [(None,), ("train", "train", "val", "test")])
def test_held_out_is_what_the_split_of_the_classifiers_holds_out(lake: Lake, tags: tuple[str | None, ...]) -> None:
    rows = [row | {"learn_tag": tags[index % len(tags)]} for index, row in enumerate(photographs())]
    shown = chosen(lake, write_shards(lake, rows, 3))
    _, validation = split_rows(
        [row["learn_tag"] for row in rows], [row["obs_id"] for row in rows], validation_share=0.3, seed=5
    )
    wanted = {row["image_name"] for row, held in zip(rows, validation, strict=True) if held}
    assert 0 < shown.held_out.sum() < len(shown.held_out)
    assert {name for name, held in zip(shown.image_name, shown.held_out, strict=True) if held} == wanted & set(
        shown.image_name
    )


def test_vectors_come_in_the_order_of_the_names(lake: Lake) -> None:
    artifacts = write_shards(lake, photographs(), 4)
    names = ["66-3.jpg", "11-0.jpg", "22-8.jpg"]
    seen: list[int] = []
    vectors = read_vectors(lake, artifacts, names, advance=seen.append)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[66, 3], [11, 0], [22, 8]]
    assert sum(seen) == sum(COUNTS.values())
    assert read_vectors(lake, artifacts, []).shape == (0, 2)


def test_photographs_that_a_backbone_lacks_are_named(lake: Lake) -> None:
    artifacts = write_shards(lake, photographs(), 2)
    with pytest.raises(MissingPhotographsError, match=r"finetuned_embeddings lacks 2 photographs \(a.jpg, b.jpg\)"):
        read_vectors(lake, artifacts, ["11-0.jpg", "b.jpg", "a.jpg"])


def test_a_missing_shard_is_told(lake: Lake) -> None:
    artifacts = [*write_shards(lake, photographs(), 2), Artifact("finetuned_embeddings", "02")]
    with pytest.raises(MissingArtifactError):
        chosen(lake, artifacts)


def clusters(spread: float, rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Give vectors around three directions, and which each is of."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, rows)
    vectors = np.eye(16, dtype=np.float32)[labels] + random.normal(0, spread, (rows, 16)).astype(np.float32)
    return vectors.astype(np.float32), labels


def test_separation_is_higher_where_species_lie_further_apart() -> None:
    scores = [separation(*clusters(spread)) for spread in (0.02, 0.2, 0.5, 5.0)]
    known = [score for score in scores if score is not None]
    assert known == sorted(known, reverse=True)
    assert len(known) == 4
    assert known[0] > 0.95
    assert known[-1] < 0.05


def test_separation_is_the_mean_silhouette_of_cosine_distances() -> None:
    vectors, labels = clusters(0.3, rows=25)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    silhouettes = []
    for row, own in enumerate(labels):
        others = (labels == own) & (np.arange(len(labels)) != row)
        within = distance[row, others].mean()
        nearest = min(distance[row, labels == other].mean() for other in set(labels) - {own})
        silhouettes.append((nearest - within) / max(within, nearest))
    assert separation(vectors, labels) == pytest.approx(np.mean(silhouettes), abs=1e-5)
    assert separation(vectors * 7, labels) == pytest.approx(np.mean(silhouettes), abs=1e-5), "lengths do not count"


@pytest.mark.parametrize("labels", [[], [1], [1, 1, 1], [1, 2, 3]])
def test_separation_is_not_defined_where_there_is_nothing_to_compare(labels: list[int]) -> None:
    assert separation(np.ones((len(labels), 4), np.float32), np.array(labels, np.int64)) is None


@pytest.mark.parametrize("rows", range(10))
def test_few_vectors_are_laid_out_along_their_principal_axes(rows: int) -> None:
    vectors = np.random.default_rng(rows).normal(size=(rows, 6)).astype(np.float32)
    positions = lay_out(vectors, seed=1)
    assert positions.dtype == np.float32
    assert positions.shape == (rows, 2)
    assert np.isfinite(positions).all()
    if 1 < rows <= 3:  # they lie in a plane already
        distances = [np.linalg.norm(one[:, None] - one[None], axis=-1) for one in (vectors, positions)]
        assert distances[0] == pytest.approx(distances[1], abs=1e-5)


def test_equal_vectors_lie_in_one_place() -> None:
    assert not lay_out(np.ones((4, 6), np.float32), seed=1).any()


SCRIPT = """
import sys
import numpy as np
from plantclef_assets.models.separation import lay_out
vectors = np.load(sys.argv[1])
print(lay_out(vectors, int(sys.argv[2])).tobytes().hex())
"""


@pytest.mark.slow
def test_umap_is_the_same_every_time_and_keeps_clusters_together(tmp_path: Path) -> None:
    vectors, labels = clusters(0.05)
    np.save(tmp_path / "vectors.npy", vectors)
    positions = lay_out(vectors, seed=-7)
    assert positions.shape == (60, 2)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "vectors.npy"), "-7"]
    elsewhere = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert elsewhere == positions.tobytes().hex()
    assert not np.array_equal(positions, lay_out(vectors, seed=8))
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(axis=1)] == labels).all()


@pytest.mark.slow
@pytest.mark.parametrize("rows", [10, 11, 17, 40])
@pytest.mark.parametrize("spread", [0.001, 0.5])
def test_umap_copes_with_few_vectors(rows: int, spread: float) -> None:
    positions = lay_out(clusters(spread, rows)[0], seed=1)
    assert np.isfinite(positions).all()
    assert positions.shape == (rows, 2)
