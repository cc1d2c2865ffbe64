"""Cutting a plot into tiles: the names of tilings, and the tiles of each.

A tiling has a name:

- `full` is the whole plot as one tile.
- `3x3` is three rows by three columns, which cover every pixel exactly once; in `4x4~10` each tile is extended by 10 %
  of its side at each of its four sides, up to the edge of the plot.
- `w518s259` is a window of 518 × 518 px every 259 px; the last row and column end at the edge of the plot, so that
  every pixel is covered. A plot that is smaller than the window along a side is one window high or wide.
- `1x1+2x2+w518s259` combines several scales.
- `-b10` at the end of a name (`4x4-b10`, `4x4+5x5-b10`) first cuts off 10 % of the plot's sides at each of its four
  edges.

Tiles are numbered from 0, scale by scale in the order of the name, each row by row from the upper left corner.

A new kind of scale is one class or function here, decorated with `@register_scale`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

FULL = "full"
"""The tiling of one tile, the whole plot."""

Box = tuple[int, int, int, int]
"""Left edge, upper edge, width and height in px."""


class Scale(Protocol):
    """One part of a tiling; equal scales have equal tiles."""

    @property
    def tiles(self) -> int | None:
        """Number of tiles of any plot; None if it depends on the plot's size."""

    def boxes(self, width: int, height: int) -> Iterator[tuple[Box, float]]:
        """Yield the tiles of a plot row by row, each with its scale (see `Tile.scale`).

        Raises:
            ValueError: the plot is too small.
        """
        ...


MakeScale = TypeVar("MakeScale", bound=Callable[..., Scale])

_SCALES: list[tuple[re.Pattern[str], str, Callable[..., Scale]]] = []
"""Pattern of a name, a description with an example, and the scale as a function of the numbers in the name."""


def register_scale(pattern: str, description: str) -> Callable[[MakeScale], MakeScale]:
    """Register a scale: a class or function that takes the numbers in the name.

    Args:
        pattern: regular expression of the name, without `+` and without `-b` and digits at its end; its groups are
            numbers. Groups without a match are left out.
        description: for error messages, with an example.
    """

    def register(make: MakeScale) -> MakeScale:
        _SCALES.append((re.compile(pattern), description, make))
        return make

    return register


_BORDER = re.compile(r"-b([1-9]\d?)\Z")
_WIDEST_BORDER = 45
_STRIDES_PER_WINDOW = 10
"""Greatest length of a window in strides, so that a typing error does not ask for millions of tiles."""


@dataclass(frozen=True)
class TileConfig:
    """How plots are cut for a backbone; it is recorded in the provenance of tile embeddings.

    Attributes:
        tilings: names of the tilings.
        tile_size: side in px to which tiles are resized.
        max_pixels: limit on the pixels of a plot.
        scaled_decoding: whether plots that are large JPEG files are decoded at a reduced scale for tiles that are shown
            at less than half of their resolution.
    """

    tilings: tuple[str, ...]
    tile_size: int
    max_pixels: int
    scaled_decoding: bool = False

    def provenance(self) -> dict[str, Any]:
        """Return what is recorded; a parameter that is not set is no part of provenance."""
        return {name: value for name, value in asdict(self).items() if value is not False}


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
            is the same for all tiles of a grid, although the last ones can be some pixels larger and, with `~`, those
            at the edge smaller.
    """

    index: int
    x: int
    y: int
    width: int
    height: int
    scale: float

    @property
    def box(self) -> Box:
        """Left edge, upper edge, width and height in px."""
        return self.x, self.y, self.width, self.height


@register_scale(r"([1-9]\d?)x([1-9]\d?)(?:~([1-9]\d?))?", "rows by columns such as '3x3'")
@dataclass(frozen=True)
class Grid:
    """Rows × columns of equal tiles, each extended by `overlap` percent of its side at each of its sides."""

    rows: int
    columns: int
    overlap: int = 0

    @property
    def tiles(self) -> int:
        """Number of tiles of any plot."""
        return self.rows * self.columns

    def boxes(self, width: int, height: int) -> Iterator[tuple[Box, float]]:
        """Yield the tiles row by row, with their scale; the last row and column include the remainder.

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


@register_scale(r"w([1-9]\d{1,4})s([1-9]\d{0,4})", "windows such as 'w518s259'")
@dataclass(frozen=True)
class Windows:
    """Square windows of `side` px, one every `stride` px.

    Raises:
        ValueError: the windows leave gaps, or are too many.
    """

    side: int
    stride: int
    tiles = None
    """The number of windows depends on the plot's size."""

    def __post_init__(self) -> None:
        if not self.stride <= self.side <= _STRIDES_PER_WINDOW * self.stride:
            raise ValueError(
                f"its windows are {self.side} px wide, one every {self.stride} px; windows must meet, and be at most "
                f"{_STRIDES_PER_WINDOW} strides long"
            )

    def boxes(self, width: int, height: int) -> Iterator[tuple[Box, float]]:
        """Yield the windows row by row, with their scale."""
        across, down = min(self.side, width), min(self.side, height)
        scale = (across * down / (width * height)) ** 0.5
        for top in self._starts(height):
            for left in self._starts(width):
                yield (left, top, across, down), scale

    def _starts(self, length: int) -> list[int]:
        last = max(0, length - self.side)
        return [*range(0, last, self.stride), last]


@register_scale(FULL, f"{FULL!r}")
def full() -> Grid:
    """Return the grid of one tile."""
    return Grid(1, 1)


@dataclass(frozen=True)
class Tiling:
    """A parsed tiling: its scales, and the percentage of a plot's sides cut off at each edge."""

    scales: tuple[Scale, ...]
    border: int = 0

    @property
    def tiles(self) -> int | None:
        """Number of tiles of any plot; None if it depends on the plot's size."""
        counts = [one.tiles for one in self.scales if one.tiles is not None]
        return sum(counts) if len(counts) == len(self.scales) else None


@lru_cache
def parse_tiling(name: str) -> Tiling:
    """Return the tiling of a name.

    Raises:
        ValueError: the name is not one that the module describes; grids have at most 99 by 99 tiles.
    """
    border = _BORDER.search(name)
    percent = int(border[1]) if border else 0
    scales = tuple(_parse_scale(part, name) for part in name[: border.start() if border else None].split("+"))
    if percent > _WIDEST_BORDER:
        raise ValueError(f"the tiling {name!r} cuts off {percent} % at each edge; the maximum is {_WIDEST_BORDER} %")
    if len(set(scales)) < len(scales):
        raise ValueError(f"the tiling {name!r} has the same tiles twice")
    return Tiling(scales, percent)


def tile_boxes(width: int, height: int, tiling: str) -> list[Tile]:
    """Return the tiles of a plot of `width` × `height` pixels.

    Raises:
        ValueError: the tiling is unknown, or the plot has fewer pixels than tiles along a side.
    """
    parsed = parse_tiling(tiling)
    left, top = width * parsed.border // 100, height * parsed.border // 100
    inner = width - 2 * left, height - 2 * top
    share = 1 - 2 * parsed.border / 100
    try:
        boxes = [box for one in parsed.scales for box in one.boxes(*inner)]
    except ValueError as error:
        raise ValueError(f"a plot of {width} × {height} pixels is too small for the tiling {tiling!r}") from error
    return [
        Tile(index, left + x, top + y, across, down, relative * share)
        for index, ((x, y, across, down), relative) in enumerate(boxes)
    ]


def distinct_boxes(width: int, height: int, tilings: Iterable[str]) -> dict[Box, int]:
    """Return the distinct boxes of the tiles of several tilings of one plot, numbered in order of appearance.

    Raises:
        ValueError: like `tile_boxes`.
    """
    boxes = (tile.box for tiling in tilings for tile in tile_boxes(width, height, tiling))
    return {box: number for number, box in enumerate(dict.fromkeys(boxes))}


def _parse_scale(part: str, name: str) -> Scale:
    """Return one scale of a tiling."""
    for pattern, _, make in _SCALES:
        match = pattern.fullmatch(part)
        if match is not None:
            try:
                return make(*(int(number) for number in match.groups() if number is not None))
            except ValueError as error:
                raise ValueError(f"the tiling {name!r} is not possible: {error}") from error
    known = ", ".join(description for _, description, _ in _SCALES)
    raise ValueError(f"unknown tiling {name!r}: use one of {known}, or several joined by '+'")
