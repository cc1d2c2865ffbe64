from pathlib import Path

import numpy as np
import pytest

from plantclef_assets.lake.schemas import BASE_TILE_EMBEDDINGS, FINETUNED_TILE_EMBEDDINGS, PLOT_IMAGES, VALIDATION_PLOTS
from plantclef_assets.lake.shards import Shard, write_shard
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.embedded_shards import EmbeddedTiles, Embedding
from plantclef_assets_tests.images.pictures import encoded, picture

SIZES = {"a": (200, 180), "b": (90, 120)}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with two plots."""
    lake = Lake(str(tmp_path))
    with write_shard(lake, Shard(Artifact("plot_images", "00"), {}), PLOT_IMAGES) as table:
        for seed, (plot, (width, height)) in enumerate(SIZES.items()):
            data = encoded(picture(width, height, seed), "PNG")
            table.add([{"plot_id": plot, "width": width, "height": height, "data": data}])
            table.rows_in += 1
    return lake


def embed(lake, backbone, tilings, spec=BASE_TILE_EMBEDDINGS, asset="base_tile_embeddings", source="plot_images"):
    """Give the rows of the shard, and how many pictures the model was shown."""
    shown = []
    embedding = Embedding(backbone, batch_size=4, threads=1, advance=shown.append)
    EmbeddedTiles(lake, embedding, spec, source, tilings, 64, 10**6)(Shard(Artifact(asset, "00"), {}))
    return lake.read(Artifact(asset, "00")).to_pylist(), sum(shown)


def test_tiles_that_several_tilings_share_are_embedded_once(lake, small_backbone):
    rows, shown = embed(lake, small_backbone, ["3x3", "1x1+2x2+3x3", "full", "w5000s2500"])
    assert shown == 2 * 14
    assert len(rows) == 2 * (9 + 14 + 1 + 1)
    by_box = {}
    for row in rows:
        by_box.setdefault((row["plot_id"], row["x"], row["y"], row["width"], row["height"]), []).append(row)
    assert len(by_box) == 2 * 14
    for same in by_box.values():
        assert len({tuple(row["cls"]) for row in same}) == len({tuple(row["dct"]) for row in same}) == 1
    assert len({tuple(row["cls"]) for row in rows}) == 2 * 14


def test_the_features_of_a_tile_do_not_depend_on_the_tilings_beside_it(lake, small_backbone):
    alone = {name: embed(lake, small_backbone, [name])[0] for name in ("3x3", "2x2", "w100s60")}
    together, _ = embed(lake, small_backbone, ["1x1+3x3", "3x3", "2x2+full", "w100s60", "2x2"])
    for tiling, expected in alone.items():
        rows = [row for row in together if row["tiling"] == tiling]
        assert rows == expected


def test_plots_of_another_asset_are_embedded_alike(lake, small_backbone):
    plots = [row | {"species_ids": [1], "objects": []} for row in lake.read(Artifact("plot_images", "00")).to_pylist()]
    with write_shard(lake, Shard(Artifact("validation_plots", "00"), {}), VALIDATION_PLOTS) as table:
        table.add(plots)
    tilings = ["2x2", "full"]
    surveyed = embed(lake, small_backbone, tilings)
    of_validation = "base_validation_tile_embeddings"
    assert embed(lake, small_backbone, tilings, asset=of_validation, source="validation_plots") == surveyed
    assert lake.exists(Artifact(of_validation, "00"))


def test_shared_tiles_without_dct(lake, small_backbone):
    rows, shown = embed(
        lake, small_backbone, ["full", "1x1+2x1"], FINETUNED_TILE_EMBEDDINGS, "finetuned_tile_embeddings"
    )
    assert (len(rows), shown) == (8, 6)
    assert np.array_equal(rows[0]["cls"], rows[1]["cls"])


def test_every_plot_has_the_windows_of_its_size(lake, small_backbone):
    rows, _ = embed(lake, small_backbone, ["w100s50"])
    assert [(row["plot_id"], row["tile_index"], row["x"], row["y"]) for row in rows] == [
        *(("a", index, x, y) for index, (y, x) in enumerate((y, x) for y in (0, 50, 80) for x in (0, 50, 100))),
        ("b", 0, 0, 0),
        ("b", 1, 0, 20),
    ]
