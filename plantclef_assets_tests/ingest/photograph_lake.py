"""A lake with shards of photographs and a class map, written without a chain."""

import io
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.lake.schemas import CLASS_MAP, RAW_IMAGES, RESIZED_IMAGES
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_shard

Row = tuple[str, int, str | None, str | None]
"""image_name, species_id, obs_id and learn_tag of a photograph."""


def survey(species: int = 6, observations: int = 4) -> list[Row]:
    """Return the rows of a tagged survey: of each species as many observations, one in two held out, of two shots."""
    return [
        (f"{one}-{observation}-{shot}.jpg", one, f"{one}{observation}", "val" if observation % 2 else "train")
        for one in range(1, species + 1)
        for observation in range(observations)
        for shot in range(2)
    ]


def write_photographs(root: Path, rows: Sequence[Row], shards: int = 2, lost: Collection[str] = ()) -> Lake:
    """Write raw_images, resized_images and class_map of a survey; photographs that are lost are in no raw shard."""
    lake = Lake(str(root))
    species = sorted({row[1] for row in rows})
    with write_shard(lake, Shard(Artifact("class_map"), {}), CLASS_MAP) as table:
        table.add_columns(species_id=species, class_index=list(range(len(species))), images=[1] * len(species))
    for index, key in enumerate(shard_keys(shards)):
        some = rows[index * len(rows) // shards : (index + 1) * len(rows) // shards]
        for asset, spec in (("raw_images", RAW_IMAGES), ("resized_images", RESIZED_IMAGES)):
            with write_shard(lake, Shard(Artifact(asset, key), {}), spec) as table:
                for name, one, observation, tag in some:
                    if asset == "raw_images" and name in lost:
                        continue
                    row = {"image_name": name, "species_id": one, "obs_id": observation, "learn_tag": tag}
                    table.add([row | {"data": photograph(name, one)}])
    return lake


def photograph(name: str, species: int) -> bytes:
    """Return the JPEG of a noisy picture in a colour of its species."""
    rng = np.random.default_rng([species, *name.encode()])
    colour = np.random.default_rng(species).integers(40, 220, 3)
    pixels = (colour + rng.normal(0, 25, (60, 72, 3))).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()
