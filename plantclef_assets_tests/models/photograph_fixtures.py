"""A lake with small photographs of three species."""

import io

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.lake.schemas import TABLES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard

PHOTOGRAPHS = tuple(Artifact("resized_images", shard) for shard in ("00", "01", "02"))
COLOURS = {1000001: (200, 60, 60), 1000002: (60, 180, 60), 1000003: (60, 60, 200)}


@pytest.fixture(scope="session")
def photograph_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with 48 small photographs of three species, a shard each; every fourth is tagged val. To be read only."""
    lake, random = Lake(str(tmp_path_factory.mktemp("photographs"))), np.random.default_rng(7)
    for artifact, (species, colour) in zip(PHOTOGRAPHS, COLOURS.items(), strict=True):
        with write_shard(lake, Shard(artifact, {}), TABLES["resized_images"]) as table:
            for number in range(16):
                pixels = np.array(colour) + random.normal(0, 40, (48, 48, 3))
                buffer = io.BytesIO()
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
                row = {
                    "image_name": f"{species}-{number}.jpg",
                    "species_id": species,
                    "obs_id": f"{species}{number}",
                    "organ": "leaf",
                    "learn_tag": "train" if number % 4 else "val",
                    "data": buffer.getvalue(),
                }
                table.rows_in += 1
                table.add([row])
    return lake
