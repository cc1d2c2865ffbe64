"""End to end: from encoded photographs in parquet to features in parquet, against the model alone."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.gpu.bench import Bench, least_cosine
from benchmarks.gpu.inputs import CROPS, PHOTOGRAPHS, TILINGS, Inputs
from benchmarks.gpu.kernels import profile_kernels
from plantclef_assets.images.decoding import decode_image
from plantclef_assets.images.tiling import TileConfig
from plantclef_assets.lake.schemas import FINETUNED_EMBEDDINGS, FINETUNED_TILE_EMBEDDINGS
from plantclef_assets.lake.store import Artifact
from plantclef_assets.lake.tables import Shard, ShardWriter, read_rows
from plantclef_assets.models import embedding
from plantclef_assets.models.backbones import Backbone
from plantclef_assets.models.data_config import eval_transform
from plantclef_assets.models.device_batches import DeviceBatch
from plantclef_assets.models.device_resizing import DividedTransform, device_transform
from plantclef_assets.models.embedding import EmbeddedPhotographs, EmbeddedTiles, Embedding, embed_views

ALONE = "model alone"
END_TO_END = "end to end"
_ROUNDS = 2
_FEWER_THREADS = 4
_ITEMS_AHEAD = 8

_WAITING = {
    "waiting for pictures": (Future, "result"),
    "gathering a batch": (DeviceBatch, "_on_device"),
    "resizing": (DividedTransform, "finish"),
    "launching the model": (Backbone, "forward"),
    "waiting for the GPU": (torch.cuda.Event, "synchronize"),
    "writing": (ShardWriter, "add_columns"),
}
"""Activities of the engine's main thread, by function; nested functions of this table are subtracted."""
_REST = "the rest"
_COPYING = "copies to the device"


class EndToEnd:
    """Embeds shards with the project's code, and compares the written features with those in fp32."""

    def __init__(self, bench: Bench, inputs: Inputs, eager: Backbone, compiled: Backbone):
        self._bench, self._inputs, self._eager, self._compiled = bench, inputs, eager, compiled
        self._threads = os.cpu_count() or 1

    def measure(self) -> None:
        """Measure whole runs against the model alone."""
        bench, size, all_threads = self._bench, self._bench.size, self._threads
        crops, photographs = f"{size.crop_side} px", f"{size.side} px"
        units = {"rate": "images/s", "cosine": ""}
        model = "compiled" if self._compiled.compiled else "eager, since it could not be compiled"
        print(f"\nFrom here on the model is {model}.")
        bench.results.start(END_TO_END, units, ALONE)
        bench.arm(ALONE, 3, self._alone)
        bench.arm("engine, decoded pictures", 4, self._decoded)
        bench.arm(f"{crops}", 8, partial(self._photographs, CROPS))
        bench.arm(f"{crops}, without device_resizing", 8, partial(self._photographs, CROPS, change=_without_resizing))
        bench.arm(f"{photographs}", 6, partial(self._photographs, PHOTOGRAPHS))
        bench.arm(f"{crops}, eager", 8, partial(self._photographs, CROPS, self._eager))
        bench.arm(f"{size.plot_side} px plots, {'+'.join(TILINGS)}", 6, self._plots)
        bench.arm(f"{crops}, threads switch at 0.5 ms", 8, partial(self._photographs, CROPS, change=_switching))
        for threads in sorted({max(1, all_threads // 2), min(_FEWER_THREADS, all_threads)}, reverse=True):
            bench.arm(f"{photographs}, {threads} threads", 6, partial(self._photographs, PHOTOGRAPHS, threads=threads))
        ahead = partial(patch.object, embedding, "_ITEMS_AHEAD", _ITEMS_AHEAD)
        bench.arm(
            f"{photographs}, {_ITEMS_AHEAD} items ahead", 6, partial(self._photographs, PHOTOGRAPHS, change=ahead)
        )

    def measure_preparing(self) -> None:
        """Measure the rates of the decode threads and of resizing on the device, without a model."""
        bench, size = self._bench, self._bench.size
        bench.results.start("preparing pictures", {"rate": "images/s"})
        on_cpu = torch.device("cpu")
        for key, side in ((CROPS, size.crop_side), (PHOTOGRAPHS, size.side)):
            for threads in sorted({1, min(_FEWER_THREADS, self._threads), self._threads}):
                bench.arm(f"{side} px, {threads} threads", 2, partial(self._prepare, key, threads, bench.device))
        bench.arm(
            f"{size.crop_side} px, {self._threads} threads, resized by Pillow",
            2,
            partial(self._prepare, CROPS, self._threads, on_cpu),
        )
        resizing = f"device_resizing of a batch, {size.crop_side} to {size.side} px"
        bench.arm(resizing, 2, self._resize)
        bench.arm(f"{resizing}, products in TF32", 2, partial(self._resize, "high"))

    def measure_losses(self) -> None:
        """Measure the activities of the main thread and of the device in a run, in percent of its time."""
        bench, size = self._bench, self._bench.size
        units = dict.fromkeys((*_WAITING, _REST, "GPU busy", _COPYING), "%")
        bench.results.start("where the time goes", units)
        for name, key, backbone in (
            (f"{size.crop_side} px", CROPS, self._compiled),
            (f"{size.side} px", PHOTOGRAPHS, self._compiled),
            (f"{size.crop_side} px, eager", CROPS, self._eager),
        ):
            bench.arm(name, 9, partial(self._losses, name, key, backbone))

    def _alone(self) -> Mapping[str, float]:
        size, pixels = self._bench.size, self._inputs.pixels
        batch = pixels[torch.arange(size.batch, device=pixels.device) % len(pixels)]
        seconds = self._bench.seconds(lambda _: self._compiled.forward(batch, dct=False))
        return {"rate": size.batch / seconds}

    def _decoded(self) -> Mapping[str, float]:
        """Embed decoded pictures, to measure the cost of the engine."""
        size, lake = self._bench.size, self._inputs.lake
        rows = read_rows(lake, Artifact("resized_images", PHOTOGRAPHS))
        images = [decode_image(next(rows)["data"]) for _ in range(size.different)]
        items = [images[number % len(images)] for number in range(size.photographs)]
        start = time.perf_counter()
        done = embed_views(
            self._compiled, items, lambda image: [image], batch_size=size.batch, threads=self._threads, dct=False
        )
        cls = np.concatenate([one.cls for one in done])
        rate = len(items) / (time.perf_counter() - start)
        return {"rate": rate, "cosine": least_cosine(cls, self._expected(PHOTOGRAPHS, len(cls)))}

    def _photographs(
        self,
        key: str,
        backbone: Backbone | None = None,
        threads: int | None = None,
        change: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> Mapping[str, float]:
        with change():
            seconds = min(self._embed(key, backbone or self._compiled, threads) for _ in range(_ROUNDS))
        cls = self._written(Artifact("finetuned_embeddings", key))
        return {"rate": len(cls) / seconds, "cosine": least_cosine(cls, self._expected(key, len(cls)))}

    def _embed(self, key: str, backbone: Backbone, threads: int | None = None) -> float:
        """Write a shard of embeddings and return the seconds it took."""
        how = Embedding(backbone, self._bench.size.batch, threads or self._threads)
        start = time.perf_counter()
        EmbeddedPhotographs(self._inputs.lake, how, FINETUNED_EMBEDDINGS)(
            Shard(Artifact("finetuned_embeddings", key), {})
        )
        return time.perf_counter() - start

    def _plots(self) -> Mapping[str, float]:
        size, artifact = self._bench.size, Artifact("finetuned_tile_embeddings", "00")
        make = EmbeddedTiles(
            self._inputs.lake,
            Embedding(self._compiled, size.batch, self._threads),
            FINETUNED_TILE_EMBEDDINGS,
            source="plot_images",
            config=TileConfig(tuple(TILINGS), size.crop_side, 10**8),
        )
        seconds = float("inf")
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            make(Shard(artifact, {}))
            seconds = min(seconds, time.perf_counter() - start)
        cls, expected = self._written(artifact), self._inputs.expected_tiles
        return {
            "rate": len(cls) / seconds,
            "cosine": least_cosine(cls, expected[np.arange(len(cls)) % len(expected)]),
        }

    def _prepare(self, key: str, threads: int, device: torch.device) -> Mapping[str, float]:
        transform = DividedTransform(self._compiled.info.data_config, device)
        encoded = [row["data"] for row in read_rows(self._inputs.lake, Artifact("resized_images", key))]
        end, done = time.perf_counter() + self._bench.size.seconds, 0
        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            while not done or time.perf_counter() < end:
                some = [encoded[(done + n) % len(encoded)] for n in range(8 * threads)]
                done += sum(1 for _ in pool.map(lambda data: transform.prepare(decode_image(data)), some))
            return {"rate": done / (time.perf_counter() - start)}

    def _losses(self, name: str, key: str, backbone: Backbone) -> Mapping[str, float]:
        with _main_thread_times() as times:

            def run() -> None:
                times.clear()
                self._embed(key, backbone)

            kinds, wall = profile_kernels(self._bench, f"end to end, {name}", run)
        shares = {part: 100 * times.get(part, 0.0) / wall for part in _WAITING}
        busy = {"GPU busy": 100 * sum(kinds.values()) / wall, _COPYING: 100 * kinds[_COPYING] / wall}
        return shares | {_REST: 100 - sum(shares.values())} | busy

    def _resize(self, products: str = "highest") -> Mapping[str, float]:
        """Resize crops on the device, with float32 products of that precision; the bytes must equal Pillow's."""
        size, config = self._bench.size, self._compiled.info.data_config
        rows = read_rows(self._inputs.lake, Artifact("resized_images", CROPS))
        images = [decode_image(next(rows)["data"]) for _ in range(size.batch)]
        crops = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
        crops, resize = crops.to(self._bench.device), device_transform(config)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(products)
        try:
            if not torch.equal(resize(crops).cpu(), torch.stack(list(map(eval_transform(config), images)))):
                raise ValueError("the bytes are not those of Pillow")
            return {"rate": size.batch / self._bench.seconds(lambda _: resize(crops))}
        finally:
            torch.set_float32_matmul_precision(before)

    def _expected(self, key: str, rows: int) -> np.ndarray:
        expected = self._inputs.expected[key]
        return expected[np.arange(rows) % len(expected)]

    def _written(self, artifact: Artifact) -> np.ndarray:
        column = self._inputs.lake.read(artifact).column("cls").combine_chunks()
        return column.flatten().to_numpy().reshape(len(column), -1)


def _without_resizing() -> AbstractContextManager[Any]:
    """Resize with Pillow in the decode threads, as on a CPU."""
    on_cpu = torch.device("cpu")
    return patch.object(embedding, "DividedTransform", lambda config, device: DividedTransform(config, on_cpu))


@contextmanager
def _switching() -> Iterator[None]:
    """Shorten Python's thread switch interval tenfold, so that decode threads delay the main thread less."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _main_thread_times() -> Iterator[dict[str, float]]:
    """Sum the seconds that this thread spends in the functions of `_WAITING`, without nested ones."""
    here, times, within = threading.get_ident(), dict[str, float](), [0.0]

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if threading.get_ident() != here:
                return function(*args, **options)
            within.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                seconds = time.perf_counter() - start
                times[part] = times.get(part, 0.0) + seconds - within.pop()
                within[-1] += seconds

        return call

    with ExitStack() as patches:
        for part, (owner, name) in _WAITING.items():
            patches.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        yield times
