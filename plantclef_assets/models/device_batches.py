"""Batches on a device: pictures in one by one, their features out in the same order.

Batches have one fixed size, and the last one is padded, so that a compiled model sees one shape only. If the device
runs out of memory, the size is halved.

On CUDA a batch is copied from pinned memory asynchronously, and its features are fetched after the next batch has been
launched. torch's allocator does not reuse the pinned memory during a copy.

In float32 on a CPU the features of a picture are bit-equal for every batch size, position in the batch and number of
threads; a test checks this.
"""

from collections import deque
from collections.abc import Callable

import numpy as np
import torch

from plantclef_assets.models.backbones import Backbone
from plantclef_assets.models.dct import CORNER
from plantclef_assets.models.device_resizing import DividedTransform, Prepared


class DeviceBatch:
    """Collects pictures up to the batch size, embeds them, and keeps the features until they are taken.

    Args:
        backbone: the model.
        transform: the transform that prepared the pictures.
        size: pictures per forward pass.
        dct: whether the DCT features are computed.
        log: receives a message when the size is halved.
    """

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
        """Number of pictures that are embedded and not yet taken."""
        return len(self._cls)

    def add(self, picture: Prepared) -> None:
        """Add one picture; embed the batch when it is full."""
        self._pictures.append(picture)
        if len(self._pictures) >= self._size:
            self._embed()

    def flush(self) -> None:
        """Embed the remaining pictures, and fetch all features."""
        self._embed()
        self._fetch()

    def take(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of the next `count` pictures, as (count, D) and (count, 64 or 0)."""
        cls = np.array([self._cls.popleft() for _ in range(count)], np.float32)
        dct = np.array([self._dct.popleft() for _ in range(count)], np.float32)
        return cls.reshape(count, self._widths[0]), dct.reshape(count, self._widths[1])

    def _embed(self) -> None:
        """Embed all collected pictures, in smaller batches if the device runs out of memory."""
        while self._pictures:
            pictures = self._pictures[: self._size]
            try:
                features, event = self._launch(pictures)
            except torch.OutOfMemoryError as error:
                self._halve(error)
                continue  # outside the handler, since the error keeps the tensors of the attempt alive
            del self._pictures[: len(pictures)]
            self._fetch()  # the previous batch, while the device computes this one
            self._launched = len(pictures), features, event
            if not self._overlaps:
                self._fetch()

    def _launch(self, pictures: list[Prepared]) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.cuda.Event | None]:
        """Start a forward pass; on CUDA its features are in pinned memory once the event has occurred."""
        padded = pictures + [pictures[-1]] * (self._size - len(pictures))
        cls, dct = self._backbone.forward(self._on_device(padded), dct=self._dct_wanted)
        if not self._overlaps:
            return (cls.cpu(), dct.cpu()), None
        features = cls.to("cpu", non_blocking=True), dct.to("cpu", non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._backbone.device))
        return features, event

    def _on_device(self, pictures: list[Prepared]) -> torch.Tensor:
        """Copy pictures to the device and finish their transform there, grouped by size; their order is kept."""
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
        """Wait for the features of the batch that was launched last, and store them."""
        if self._launched is not None:
            count, (cls, dct), event = self._launched
            if event is not None:
                event.synchronize()
            self._cls.extend(cls[:count].numpy())
            self._dct.extend(dct[:count].numpy())
            self._launched = None

    def _halve(self, error: torch.OutOfMemoryError) -> None:
        """Continue with batches of half the size, also in later streams."""
        if self._size == 1:
            side = self._backbone.info.data_config.input_size
            raise torch.OutOfMemoryError(
                f"the device has no room for a single picture of {side} × {side} px, so a smaller PLANTCLEF_BATCH_SIZE"
                f" does not help: free its memory, or use a smaller model or input size ({error})"
            ) from error
        self._log(f"The device has no room for batches of {self._size} pictures; continuing with {self._size // 2}.")
        self._size //= 2
        self._backbone.batch_limit = self._size
