"""Shards of resized photographs. Loads no model library, so that worker processes start fast."""

from dataclasses import dataclass

from plantclef_assets.images.decoding import UndecodableImage, decode_image
from plantclef_assets.images.resizing import crop_resize, encode_jpeg
from plantclef_assets.lake.schemas import RESIZED_IMAGES
from plantclef_assets.lake.shards import Shard, read_rows, write_shard
from plantclef_assets.lake.store import Artifact, Lake


@dataclass(frozen=True)
class ResizedImages:
    """Makes shards of resized_images: upright centre squares of the raw photographs."""

    lake: Lake
    image_size: int
    max_pixels: int

    def __call__(self, shard: Shard) -> None:
        """Write one shard; photographs that cannot be decoded go to quarantine."""
        with write_shard(self.lake, shard, RESIZED_IMAGES) as table:
            for row in read_rows(self.lake, Artifact("raw_images", shard.artifact.partition)):
                table.rows_in += 1
                try:
                    image = decode_image(row["data"], max_pixels=self.max_pixels)
                except UndecodableImage as error:
                    table.quarantine(row["image_name"], row["image_name"], error.reason, error.detail)
                else:
                    table.add([row | {"data": encode_jpeg(crop_resize(image, self.image_size))}])
