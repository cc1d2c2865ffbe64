"""Cutting a plot into tiles: one function for every tiling, so that tile numbers mean the same everywhere.

A tiling has a name: `full` is the whole plot as one tile, `3x3` is three rows by three columns. Tiles are
numbered row by row from the upper left corner, from 0, and cover every pixel exactly once.
"""

import re
from dataclasses import dataclass

FULL = "full"
"""The tiling of one tile, the whole plot."""

_GRID = re.compile(r"([1-9]\d?)x([1-9]\d?)")


@dataclass(frozen=True)
class Tile:
    """One tile of a plot.

    Attributes:
        index: number within its tiling, row by row, from 0.
        x: left edge in pixels of the upright plot.
        y: upper edge in pixels.
        width: width in pixels.
        height: height in pixels.
        scale: side of the tile relative to the plot, √(1 / (rows × columns)): 1.0 for the whole plot, 0.25
            for 4x4. It is the same for all tiles of a tiling, also where the last ones are some pixels larger.
    """

    index: int
    x: int
    y: int
    width: int
    height: int
    scale: float


def parse_tiling(name: str) -> tuple[int, int]:
    """Read the (rows, columns) of a tiling from its name.

    Raises:
        ValueError: the name is neither `full` nor a grid such as `3x3` of at most 99 by 99 tiles.
    """
    if name == FULL:
        return 1, 1
    grid = _GRID.fullmatch(name)
    if grid is None:
        raise ValueError(f"unknown tiling {name!r}: say 'full', or rows by columns such as '3x3'")
    return int(grid[1]), int(grid[2])


def tile_boxes(width: int, height: int, tiling: str) -> list[Tile]:
    """Cut a plot of `width` × `height` pixels into the tiles of a tiling.

    Rows and columns are equally large; the pixels that do not divide evenly go to the last row and column.

    Raises:
        ValueError: the tiling is unknown, or the plot has fewer pixels than tiles along a side.
    """
    rows, columns = parse_tiling(tiling)
    if width < columns or height < rows:
        raise ValueError(f"a plot of {width} × {height} pixels is too small for the tiling {tiling!r}")
    tile_width, tile_height = width // columns, height // rows
    scale = (1.0 / (rows * columns)) ** 0.5
    return [
        Tile(
            index=row * columns + column,
            x=column * tile_width,
            y=row * tile_height,
            width=tile_width if column < columns - 1 else width - column * tile_width,
            height=tile_height if row < rows - 1 else height - row * tile_height,
            scale=scale,
        )
        for row in range(rows)
        for column in range(columns)
    ]
