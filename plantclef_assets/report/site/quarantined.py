"""Quarantined files and rows in the report, with a picture where the lake has one that can be decoded."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plantclef_assets.images.decoding import UndecodableImage
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.report.site.pictures import write_thumbnail

_MOST_ROWS = 500
_PICTURES_OF = {"resized_images": ("raw_images", "image_name"), "tile_embeddings": ("plot_images", "plot_id")}
"""Where the bytes of a quarantined photograph are, by the end of the name of the asset that set it aside."""


def read_quarantine(lake: Lake, artifacts: Sequence[Artifact], folder: Path, *, max_pixels: int) -> dict[str, Any]:
    """Return the rows of the quarantine tables of artifacts, with counts by asset and reason.

    Args:
        lake: the lake.
        artifacts: those whose quarantine is shown.
        folder: of the pages; thumbnails are written below `quarantine/`.
        max_pixels: limit on the pixels of a photograph.
    """
    counts: Counter[tuple[str, str]] = Counter()
    rows: list[dict[str, Any]] = []
    for artifact in artifacts:
        place = Artifact(f"quarantine/{artifact.asset}", artifact.partition)
        record = lake.record(place)
        if record is None or not record.rows:
            continue
        for row in lake.read(place).to_pylist():
            counts[artifact.asset, row["reason"]] += 1
            if len(rows) < _MOST_ROWS:
                rows.append(row | {"thumbnail": _thumbnail(lake, artifact, row, folder, len(rows), max_pixels)})
    groups = [
        {"asset": asset, "reason": reason, "number": number} for (asset, reason), number in sorted(counts.items())
    ]
    return {"groups": groups, "rows": rows, "total": sum(counts.values())}


def _thumbnail(
    lake: Lake, artifact: Artifact, row: dict[str, Any], folder: Path, number: int, max_pixels: int
) -> str | None:
    """Write the picture of a quarantined photograph; None if its bytes are not in the lake or cannot be decoded."""
    source = next((found for end, found in _PICTURES_OF.items() if artifact.asset.endswith(end)), None)
    if source is None or row["image_name"] is None:
        return None
    asset, key = source
    held = Artifact(asset, artifact.partition)
    if not lake.exists(held):
        return None
    found = lake.read(held, ["data"], [(key, "=", row["image_name"])]).column("data").to_pylist()
    name = f"quarantine/{number}.jpg"
    try:
        write_thumbnail(found[0], folder / name, max_pixels=max_pixels)
    except (IndexError, UndecodableImage):
        return None
    return name
