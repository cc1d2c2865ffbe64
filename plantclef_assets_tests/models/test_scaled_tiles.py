"""Tiles of plots that are decoded at a reduced scale."""

import numpy as np
import pytest

from plantclef_assets.images.tiling import TileConfig
from plantclef_assets.lake.schemas import BASE_TILE_EMBEDDINGS, PLOT_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard
from plantclef_assets.models.embedding import EmbeddedTiles, Embedding
from plantclef_assets_tests.images.pictures import encoded, picture


@pytest.fixture
def lake(tmp_path):
    lake = Lake(str(tmp_path))
    data = encoded(picture(600, 540, seed=5), "JPEG", quality=95)
    with write_shard(lake, Shard(Artifact("plot_images", "00"), {}), PLOT_IMAGES) as table:
        table.add([{"plot_id": "a", "width": 600, "height": 540, "data": data}])
        table.rows_in += 1
    return lake


def embed(lake, backbone, tilings, *, scaled):
    config = TileConfig(tuple(tilings), 64, 10**6, scaled)
    made = Artifact("base_tile_embeddings", "00")
    EmbeddedTiles(lake, Embedding(backbone, batch_size=4, threads=1), BASE_TILE_EMBEDDINGS, "plot_images", config)(
        Shard(made, {})
    )
    return lake.read(made).to_pylist()


def test_the_features_of_a_tile_do_not_depend_on_the_tilings_beside_it(lake, small_backbone):
    complete = embed(lake, small_backbone, ["full", "2x2", "5x5"], scaled=False)
    together = embed(lake, small_backbone, ["full", "2x2", "5x5"], scaled=True)
    for tiling, same in (("full", False), ("2x2", False), ("5x5", True)):
        rows = [row for row in together if row["tiling"] == tiling]
        assert rows == embed(lake, small_backbone, [tiling], scaled=True)
        expected = [row for row in complete if row["tiling"] == tiling]
        assert (rows == expected) == same  # 5x5 has tiles of 120 px, less than twice the wanted 64 px
        for row, other in zip(rows, expected, strict=True):
            features, wanted = np.asarray(row["cls"], float), np.asarray(other["cls"], float)
            assert features @ wanted / np.linalg.norm(features) / np.linalg.norm(wanted) > 0.99
