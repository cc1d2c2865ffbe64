"""The embedding engine: a stream of items in, the features of their pictures out, in the same order.

An item is whatever the caller likes (a row of a shard, a plot with its key); `views` says which pictures the model
is shown of it: one for a photograph, all tiles of all tilings for a plot. Views are made in threads, since decoding
and resizing release Python's lock, while the model works on the batch before. Batches have one fixed size, across
items; the last one is padded, so that a compiled model sees one shape only. Where the device runs out of memory,
batches are halved.

On CUDA a batch travels from pinned memory without being waited for, and its features are fetched when the next one has
been launched. The pinned memory comes from torch's allocator, which does not give it out again while a copy
is under way.

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

from plantclef_assets.images.decoding import UndecodableImage
from plantclef_assets.models.backbones import Backbone
from plantclef_assets.models.dct import CORNER
from plantclef_assets.models.device_resizing import DividedTransform, Prepared

Item = TypeVar("Item")

_ITEMS_AHEAD = 2
"""Items prepared per thread before the model has taken them: enough to hide one slow decode."""


@dataclass(frozen=True)
class Embedded(Generic[Item]):
    """The features of one item.

    Attributes:
        item: as the caller gave it.
        cls: float32, shape (views, D), in the order of the views.
        dct: float32, shape (views, 64); (views, 0) where it was not asked for.
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
    dct: bool = True,
    on_undecodable: Callable[[Item, UndecodableImage], None] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Iterator[Embedded[Item]]:
    """Embed every view of every item.

    At most 2 × `threads` items are prepared ahead, each as its views (uint8; on a CPU they are transformed, 3 ×
    input_size² bytes a view), however long the stream is; `items` is read as it is needed. Views of one size
    are fastest.

    Args:
        backbone: the model.
        items: anything; what the views need must be in it.
        views: makes the RGB pictures of one item, in a thread of the pool. It may raise `UndecodableImage`.
        batch_size: pictures per forward pass.
        threads: how many items are decoded at the same time.
        dct: whether the DCT is wanted; without it the model's last block has less to do.
        on_undecodable: told of each item whose views raised `UndecodableImage`, in the order of the items, in the
            caller's thread. Such an item is not yielded and the stream goes on. Without it the error is raised.
        log: told when the device's memory is too small for the batches.

    Yields:
        one `Embedded` for each item that could be decoded, in the order of `items`.

    Raises:
        ValueError: `batch_size` or `threads` is not positive.
        torch.OutOfMemoryError: the device has no room for a single picture.
    """
    if batch_size < 1 or threads < 1:
        raise ValueError(f"batch_size ({batch_size}) and threads ({threads}) must be at least 1")
    transform = DividedTransform(backbone.info.data_config, backbone.device)

    def prepare(item: Item) -> list[Prepared]:
        return [transform.prepare(view) for view in views(item)]

    batch = _Batch(backbone, transform, batch_size, dct, log)
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
    items: Iterable[Item], prepare: Callable[[Item], list[Prepared]], threads: int
) -> Iterator[tuple[Item, Future[list[Prepared]]]]:
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
    """Collects pictures up to the batch size, embeds them, and keeps the features until they are taken."""

    def __init__(
        self, backbone: Backbone, transform: DividedTransform, size: int, dct: bool, log: Callable[[str], None]
    ):
        self._backbone, self._transform, self._dct_wanted, self._log = backbone, transform, dct, log
        self._size = min(size, backbone.batch_limit or size)
        self._overlaps = backbone.device.type == "cuda"
        self._pictures: list[Prepared] = []
        self._launched: tuple[int, tuple[torch.Tensor, torch.Tensor], torch.cuda.Event | None] | None = None
        self._cls: deque[np.ndarray] = deque()
        self._dct: deque[np.ndarray] = deque()
        self._widths = (backbone.info.embed_dim, CORNER * CORNER if dct else 0)

    @property
    def ready(self) -> int:
        """How many pictures are embedded and not yet taken."""
        return len(self._cls)

    def add(self, picture: Prepared) -> None:
        """Add one picture, embedding the batch when it is full."""
        self._pictures.append(picture)
        if len(self._pictures) >= self._size:
            self._embed()

    def flush(self) -> None:
        """Embed what is in the batch, and fetch all features."""
        self._embed()
        self._fetch()

    def take(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Take the features of the next `count` pictures, as (count, D) and (count, 64 or 0)."""
        cls = np.array([self._cls.popleft() for _ in range(count)], np.float32)
        dct = np.array([self._dct.popleft() for _ in range(count)], np.float32)
        return cls.reshape(count, self._widths[0]), dct.reshape(count, self._widths[1])

    def _embed(self) -> None:
        """Embed all pictures at hand, in smaller batches if the device's memory demands it."""
        while self._pictures:
            pictures = self._pictures[: self._size]
            try:
                features, event = self._launch(pictures)
            except torch.OutOfMemoryError as error:
                self._halve(error)
                continue  # after the handler, since the error keeps the tensors of the attempt alive
            del self._pictures[: len(pictures)]
            self._fetch()  # the batch before, while the device works on this one
            self._launched = len(pictures), features, event
            if not self._overlaps:
                self._fetch()

    def _launch(self, pictures: list[Prepared]) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.cuda.Event | None]:
        """Start a forward pass; on CUDA its features arrive in pinned memory when the event does."""
        padded = pictures + [pictures[-1]] * (self._size - len(pictures))
        cls, dct = self._backbone.forward(self._on_device(padded), dct=self._dct_wanted)
        if not self._overlaps:
            return (cls.cpu(), dct.cpu()), None
        features = cls.to("cpu", non_blocking=True), dct.to("cpu", non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._backbone.device))
        return features, event

    def _on_device(self, pictures: list[Prepared]) -> torch.Tensor:
        """Bring pictures to the device and finish them there, those of one size together, in their order."""
        groups: dict[tuple[bool, int], list[int]] = {}
        for place, picture in enumerate(pictures):
            groups.setdefault((picture.finished, picture.pixels.shape[-1]), []).append(place)
        finished = []
        for (is_finished, _), places in groups.items():
            pixels = torch.empty(
                (len(places), *pictures[places[0]].pixels.shape), dtype=torch.uint8, pin_memory=self._overlaps
            )
            torch.stack([pictures[place].pixels for place in places], out=pixels)
            pixels = pixels.to(self._backbone.device, non_blocking=self._overlaps)
            finished.append(pixels if is_finished else self._transform.finish(pixels))
        if len(finished) == 1:
            return finished[0]
        order = torch.tensor([place for places in groups.values() for place in places]).argsort()
        return torch.cat(finished)[order.to(self._backbone.device)]

    def _fetch(self) -> None:
        """Keep the features of the batch that was launched last, waiting for them."""
        if self._launched is not None:
            count, (cls, dct), event = self._launched
            if event is not None:
                event.synchronize()
            self._cls.extend(cls[:count].numpy())
            self._dct.extend(dct[:count].numpy())
            self._launched = None

    def _halve(self, error: torch.OutOfMemoryError) -> None:
        """Go on with batches of half the size, in later streams too."""
        if self._size == 1:
            side = self._backbone.info.data_config.input_size
            raise torch.OutOfMemoryError(
                f"the device has no room for a single picture of {side} × {side} px, so a smaller PLANTCLEF_BATCH_SIZE"
                f" is no help: free its memory, or take a smaller model or input size ({error})"
            ) from error
        self._log(f"The device has no room for batches of {self._size} pictures; going on with {self._size // 2}.")
        self._size //= 2
        self._backbone.batch_limit = self._size
