"""The embedding engine: a stream of items in, the features of their pictures out, in the same order.

An item is whatever the caller likes (a row of a shard, a plot with its key); `views` says which pictures the model
is shown of it: one for a photograph, all tiles of all tilings for a plot. Views are made and transformed in
threads, since decoding and resizing release Python's lock, while the model works on the batch before. Batches
have one fixed size, across items; the last one is padded, so that a compiled model sees one shape only.

In float32 on a CPU the features of a picture are bit-equal whatever the batch size, its place in the batch
and the number of threads; a test holds this.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
import torch
from PIL import Image

from plantclef_assets.vision.backbones import Backbone
from plantclef_assets.vision.data_config import eval_transform
from plantclef_assets.vision.dct import CORNER
from plantclef_assets.vision.decoding import UndecodableImage

Item = TypeVar("Item")

_ITEMS_AHEAD = 2
"""Items prepared per thread before the model has taken them: enough to hide one slow decode."""


@dataclass(frozen=True)
class Embedded(Generic[Item]):
    """The features of one item.

    Attributes:
        item: as the caller gave it.
        cls: float32, shape (views, D), in the order of the views.
        dct: float32, shape (views, 64).
    """

    item: Item
    cls: np.ndarray
    dct: np.ndarray


def embed_views(
    backbone: Backbone,
    items: Iterable[Item],
    views: Callable[[Item], Sequence[Image.Image]],
    *,
    batch_size: int = 16,
    threads: int = 2,
    on_undecodable: Callable[[Item, UndecodableImage], None] | None = None,
) -> Iterator[Embedded[Item]]:
    """Embed every view of every item.

    At most 2 × `threads` items are prepared ahead, each as its transformed views (uint8, 3 × input_size² bytes a
    view), however long the stream is; `items` is read as it is needed.

    Args:
        backbone: the model.
        items: anything; what the views need must be in it.
        views: makes the RGB pictures of one item, in a thread of the pool. It may raise `UndecodableImage`.
        batch_size: pictures per forward pass.
        threads: how many items are decoded and transformed at the same time.
        on_undecodable: told of each item whose views raised `UndecodableImage`, in the order of the items, in the
            caller's thread. Such an item is not yielded and the stream goes on. Without it the error is raised.

    Yields:
        one `Embedded` for each item that could be decoded, in the order of `items`.

    Raises:
        ValueError: `batch_size` or `threads` is not positive.
    """
    if batch_size < 1 or threads < 1:
        raise ValueError(f"batch_size ({batch_size}) and threads ({threads}) must be at least 1")
    transform = eval_transform(backbone.info.data_config)

    def prepare(item: Item) -> list[torch.Tensor]:
        return [transform(view) for view in views(item)]

    batch = _Batch(backbone, batch_size)
    waiting: deque[tuple[Item, int]] = deque()  # decoded items and their number of views, not yet yielded
    for item, prepared in _prepare_ahead(items, prepare, threads):
        try:
            pictures = prepared.result()
        except UndecodableImage as error:
            if on_undecodable is None:
                raise
            on_undecodable(item, error)
            continue
        waiting.append((item, len(pictures)))
        for picture in pictures:
            batch.add(picture)
        while waiting and waiting[0][1] <= batch.ready:
            done, count = waiting.popleft()
            yield Embedded(done, *batch.take(count))
    batch.flush()
    for done, count in waiting:
        yield Embedded(done, *batch.take(count))


def _prepare_ahead(
    items: Iterable[Item], prepare: Callable[[Item], list[torch.Tensor]], threads: int
) -> Iterator[tuple[Item, Future[list[torch.Tensor]]]]:
    """Run `prepare` on a bounded number of items ahead of the consumer, and hand them over in order."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        remaining = iter(items)
        ahead = deque((item, pool.submit(prepare, item)) for item in islice(remaining, threads * _ITEMS_AHEAD))
        while ahead:
            yield ahead.popleft()
            ahead.extend((item, pool.submit(prepare, item)) for item in islice(remaining, 1))
    finally:
        pool.shutdown(cancel_futures=True)


class _Batch:
    """Collects pictures up to the fixed batch size, embeds them, and keeps the features until they are taken."""

    def __init__(self, backbone: Backbone, size: int):
        side = backbone.info.data_config.input_size
        self._backbone = backbone
        self._pixels = torch.zeros((size, 3, side, side), dtype=torch.uint8)
        self._filled = 0
        self._cls: deque[np.ndarray] = deque()
        self._dct: deque[np.ndarray] = deque()
        self._widths = (backbone.info.embed_dim, CORNER * CORNER)

    @property
    def ready(self) -> int:
        """How many pictures are embedded and not yet taken."""
        return len(self._cls)

    def add(self, picture: torch.Tensor) -> None:
        """Add one uint8 picture, embedding the batch when it is full."""
        self._pixels[self._filled] = picture
        self._filled += 1
        if self._filled == len(self._pixels):
            self.flush()

    def flush(self) -> None:
        """Embed what is in the batch; the rest of it keeps the pixels of earlier pictures as padding."""
        if self._filled:
            cls, dct = self._backbone.forward(self._pixels)
            self._cls.extend(cls[: self._filled].cpu().numpy())
            self._dct.extend(dct[: self._filled].cpu().numpy())
            self._filled = 0

    def take(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Take the features of the next `count` pictures, as (count, D) and (count, 64)."""
        cls_width, dct_width = self._widths
        cls = np.array([self._cls.popleft() for _ in range(count)], np.float32)
        dct = np.array([self._dct.popleft() for _ in range(count)], np.float32)
        return cls.reshape(count, cls_width), dct.reshape(count, dct_width)
