"""All classes of all tiles, plot by plot, from stored features."""

from collections.abc import Sequence

import numpy as np
import pytest

from plantclef_assets.lake.schemas import BASE_TILE_EMBEDDINGS
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import write_table
from plantclef_assets.scoring.tile_probabilities import AllClasses

PLOTS = {"a": 3, "b": 1, "c": 5, "d": 2}


class SoftmaxOf:
    """A classifier whose logits are the features."""

    species_ids = np.array([5, 8, 13, 21])

    def __init__(self) -> None:
        self.rows: list[int] = []

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        self.rows.append(len(features))
        raised = np.exp(features)
        return raised / raised.sum(axis=1, keepdims=True)


def write_tiles(lake: Lake, shard: str, plots: Sequence[str]) -> np.ndarray:
    """Write the tiles of plots in two tilings; gives the features of one, in their order."""
    rows = [(plot, tiling, tile) for plot in plots for tiling in ("full", "grid") for tile in range(PLOTS[plot])]
    features = np.random.default_rng(len(plots)).normal(size=(len(rows), 4)).astype(np.float32)
    with write_table(lake, Artifact("tiles", shard), BASE_TILE_EMBEDDINGS, {}, widths={"cls": 4, "dct": 4}) as table:
        table.write_rows(
            plot_id=[plot for plot, _, _ in rows],
            tiling=[tiling for _, tiling, _ in rows],
            tile_index=[tile for _, _, tile in rows],
            **dict.fromkeys(("x", "y", "width", "height"), [1] * len(rows)),
            cls=features,
            dct=features + 1,
        )
    return features[[tiling == "grid" for _, tiling, _ in rows]]


@pytest.mark.parametrize("block_rows", [1, 4, 6, 100])
def test_every_plot_comes_whole_with_all_classes(tmp_path, block_rows: int) -> None:
    lake, classifier = Lake(str(tmp_path)), SoftmaxOf()
    logits = np.concatenate([write_tiles(lake, "00", ["a", "b", "c"]), write_tiles(lake, "01", ["d"])])
    shards = [Artifact("tiles", "00"), Artifact("tiles", "01")]
    survey = AllClasses(lake, shards, "grid", "cls", classifier, block_rows)
    for _ in range(2):  # it can be iterated again
        found = dict(survey)
        assert {plot: tiles.probability.shape for plot, tiles in found.items()} == {
            plot: (tiles, 4) for plot, tiles in PLOTS.items()
        }
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert np.concatenate([tiles.probability for tiles in found.values()]) == pytest.approx(expected)
        assert all(tiles.species_id.tolist() == [5, 8, 13, 21] for tiles in found.values())
    assert all(rows <= max(block_rows, 5) for rows in classifier.rows), "a block, or one plot"


def test_a_plot_in_two_places_is_refused(tmp_path) -> None:
    lake = Lake(str(tmp_path))
    write_tiles(lake, "00", ["a", "b"])
    write_tiles(lake, "01", ["a"])
    shards = [Artifact("tiles", "00"), Artifact("tiles", "01")]
    with pytest.raises(ValueError, match="tiles/01: the tiles of plot a are not together"):
        list(AllClasses(lake, shards, "grid", "cls", SoftmaxOf()))
