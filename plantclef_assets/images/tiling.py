"""Cutting a plot into tiles: one function for every tiling, so that tile numbers mean the same everywhere.

A tiling has a name:

- `full` is the whole plot as one tile.
- `3x3` is three rows by three columns, which cover every pixel exactly once; in `4x4~10` each tile is grown by 10 % of
  its side at each of its four sides, where the plot goes on there.
- `w518s259` is a window of 518 × 518 px at every 259 px; the last row and column end at the edge of the plot, so that
  every pixel is covered. A plot that is smaller than the window along a side is one window high or wide.
- `1x1+2x2+w518s259` is several of these together.
- `-b10` at the end of a name (`4x4-b10`, `4x4+5x5-b10`) cuts off 10 % of the plot's sides at each of its four edges
  before anything else.

Tiles are numbered from 0, those of one scale after the other as they are named, each row by row from the upper left
corner.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

FULL = "full"
"""The tiling of one tile, the whole plot."""

_GRID = re.compile(r"([1-9]\d?)x([1-9]\d?)(?:~([1-9]\d?))?")
_WINDOWS = re.compile(r"w([1-9]\d{1,4})s([1-9]\d{0,4})")
_BORDER = re.compile(r"-b([1-9]\d?)\Z")
_WIDEST_BORDER = 45
_STRIDES_PER_WINDOW = 10
"""A window is at most so many strides long: a slip of the pen could otherwise ask for millions of tiles."""

Box = tuple[int, int, int, int]
"""Left edge, upper edge, width and height in px."""


@dataclass(frozen=True)
class Tile:
    """One tile of a plot.

    Attributes:
        index: number within its tiling, from 0.
        x: left edge in pixels of the upright plot.
        y: upper edge in pixels.
        width: width in pixels.
        height: height in pixels.
        scale: side of the tile relative to the plot, √(share of its area): 1.0 for the whole plot, 0.25 for 4x4. It
            is the same for all tiles of a grid, also where the last ones are some pixels larger or, with `~`, those
            at the edge cannot grow.
    """

    index: int
    x: int
    y: int
    width: int
    height: int
    scale: float

    @property
    def box(self) -> Box:
        """Where the tile lies."""
        return self.x, self.y, self.width, self.height


@dataclass(frozen=True)
class Grid:
    """Rows × columns of equal tiles, each grown by `overlap` percent of its side at each of its sides."""

    rows: int
    columns: int
    overlap: int = 0

    def boxes(self, width: int, height: int) -> Iterator[tuple[Box, float]]:
        """Give the tiles, row by row, with their scale; the last row and column get what does not divide evenly.

        Raises:
            ValueError: there are fewer pixels than tiles along a side.
        """
        if width < self.columns or height < self.rows:
            raise ValueError(f"{width} × {height} pixels are too small for {self.rows} × {self.columns} tiles")
        tile_width, tile_height = width // self.columns, height // self.rows
        across, down = tile_width * self.overlap // 100, tile_height * self.overlap // 100
        scale = (1.0 / (self.rows * self.columns)) ** 0.5 * (1 + 2 * self.overlap / 100)
        for row in range(self.rows):
            for column in range(self.columns):
                left, top = column * tile_width, row * tile_height
                right = left + tile_width if column < self.columns - 1 else width
                bottom = top + tile_height if row < self.rows - 1 else height
                left, top = max(0, left - across), max(0, top - down)
                right, bottom = min(width, right + across), min(height, bottom + down)
                yield (left, top, right - left, bottom - top), scale


@dataclass(frozen=True)
class Windows:
    """Square windows of `side` px at every `stride` px."""

    side: int
    stride: int

    def boxes(self, width: int, height: int) -> Iterator[tuple[Box, float]]:
        """Give the windows, row by row, with their scale."""
        across, down = min(self.side, width), min(self.side, height)
        scale = (across * down / (width * height)) ** 0.5
        for top in self._starts(height):
            for left in self._starts(width):
                yield (left, top, across, down), scale

    def _starts(self, length: int) -> list[int]:
        last = max(0, length - self.side)
        return [*range(0, last, self.stride), last]


@dataclass(frozen=True)
class Tiling:
    """What the name of a tiling says: its scales, and the percent of a plot's sides cut off at each edge."""

    scales: tuple[Grid | Windows, ...]
    border: int = 0

    @property
    def tiles(self) -> int | None:
        """How many tiles every plot has; None where it depends on the size of the plot."""
        grids = [scale for scale in self.scales if isinstance(scale, Grid)]
        return sum(grid.rows * grid.columns for grid in grids) if len(grids) == len(self.scales) else None


@lru_cache
def parse_tiling(name: str) -> Tiling:
    """Read a tiling from its name.

    Raises:
        ValueError: the name is none of those that the module describes; grids have at most 99 by 99 tiles.
    """
    border = _BORDER.search(name)
    percent = int(border[1]) if border else 0
    scales = tuple(_scale(part, name) for part in name[: border.start() if border else None].split("+"))
    if percent > _WIDEST_BORDER:
        raise ValueError(f"the tiling {name!r} cuts off {percent} % at each edge; at most {_WIDEST_BORDER} % may go")
    if len(set(scales)) < len(scales):
        raise ValueError(f"the tiling {name!r} has the same tiles twice")
    return Tiling(scales, percent)


def tile_boxes(width: int, height: int, tiling: str) -> list[Tile]:
    """Cut a plot of `width` × `height` pixels into the tiles of a tiling.

    Raises:
        ValueError: the tiling is unknown, or the plot has fewer pixels than tiles along a side.
    """
    parsed = parse_tiling(tiling)
    left, top = width * parsed.border // 100, height * parsed.border // 100
    inner = width - 2 * left, height - 2 * top
    share = 1 - 2 * parsed.border / 100
    try:
        boxes = [box for scale in parsed.scales for box in scale.boxes(*inner)]
    except ValueError as error:
        raise ValueError(f"a plot of {width} × {height} pixels is too small for the tiling {tiling!r}") from error
    return [
        Tile(index, left + x, top + y, across, down, scale * share)
        for index, ((x, y, across, down), scale) in enumerate(boxes)
    ]


def distinct_boxes(width: int, height: int, tilings: Iterable[str]) -> dict[Box, int]:
    """Number the boxes of the tiles of several tilings of one plot, each box once, in the order in which they come.

    Raises:
        ValueError: like `tile_boxes`.
    """
    boxes = (tile.box for tiling in tilings for tile in tile_boxes(width, height, tiling))
    return {box: number for number, box in enumerate(dict.fromkeys(boxes))}


def _scale(part: str, name: str) -> Grid | Windows:
    """Read one scale of a tiling."""
    if part == FULL:
        return Grid(1, 1)
    grid, windows = _GRID.fullmatch(part), _WINDOWS.fullmatch(part)
    if grid is not None:
        return Grid(int(grid[1]), int(grid[2]), int(grid[3] or 0))
    if windows is None:
        raise ValueError(
            f"unknown tiling {name!r}: say 'full', rows by columns such as '3x3', windows such as 'w518s259', or "
            "several joined by '+'"
        )
    side, stride = int(windows[1]), int(windows[2])
    if not stride <= side <= _STRIDES_PER_WINDOW * stride:
        raise ValueError(
            f"the windows of the tiling {name!r} are {side} px at every {stride} px; they must meet, and be at most "
            f"{_STRIDES_PER_WINDOW} strides long"
        )
    return Windows(side, stride)
