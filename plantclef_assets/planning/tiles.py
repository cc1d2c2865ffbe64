"""Counts of the tiles of plots over several tilings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plantclef_assets.images.tiling import distinct_boxes, tile_boxes
from plantclef_assets.planning.source_counts import Size


@dataclass(frozen=True)
class Tiles:
    """The tiles of one shard of plots for one backbone.

    Attributes:
        rows: rows of its table: the tiles of all tilings.
        distinct: tiles that are embedded; a tile of several tilings is embedded once.
        by_tiling: rows by tiling.
    """

    rows: int
    distinct: int
    by_tiling: Mapping[str, int]


def count_tiles(sizes: Sequence[Size], tilings: Sequence[str], *, plots: int | None = None) -> Tiles:
    """Count the tiles of plots of these sizes; plots that are too small have none.

    Args:
        sizes: width and height in px of each plot.
        tilings: the tilings that they are cut with.
        plots: the number of plots that these sizes stand for; their own number if None.
    """
    distinct = 0
    by_tiling: Counter[str] = Counter(dict.fromkeys(tilings, 0))
    for (width, height), number in Counter(sizes).items():
        try:
            counts = {tiling: len(tile_boxes(width, height, tiling)) for tiling in tilings}
        except ValueError:  # such a plot is quarantined
            continue
        distinct += number * len(distinct_boxes(width, height, tilings))
        for tiling, count in counts.items():
            by_tiling[tiling] += number * count
    standing_for = len(sizes) if plots is None else plots
    if sizes and standing_for != len(sizes):
        distinct = round(distinct * standing_for / len(sizes))
        by_tiling = Counter({name: round(count * standing_for / len(sizes)) for name, count in by_tiling.items()})
    return Tiles(sum(by_tiling.values()), distinct, by_tiling)
