"""Framework of the GPU benchmark: sizes, time limit, timing of arms and comparison of outputs."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.results import Results
from plantclef_assets.models.small_vit import SMALL_VIT

_WARM_UP = 3
_FEWEST, _MOST = 5, 300
"""Timed calls of an arm."""

PEAKS = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 FLOP/s by the vendor's data sheets, for names that contain the key; the first match counts."""

LEAST_COSINE = 0.99
"""Least cosine to the fp32 features; an arm below it computes something else."""


@dataclass(frozen=True)
class Size:
    """How large the benchmark is.

    Attributes:
        model: timm's name.
        side: of its input, px.
        batch: pictures per forward pass, where batch sizes are not compared.
        other_batches: batch sizes to compare with it.
        seconds: how long an arm is timed.
        matrix: side of the square matrix product that measures what the device can do.
        different: photographs that differ; the shards repeat them.
        crops: photographs of `crop_side` in a shard.
        photographs: photographs of `side` in a shard.
        crop_side: side of the stored crops, px: the default of PLANTCLEF_IMAGE_SIZE.
        plots: plots in a shard.
        plot_side: their sides, px.
        steps: of fine-tuning.
        finetuning_batches: photographs per step.
    """

    model: str
    side: int
    batch: int
    other_batches: tuple[int, ...]
    seconds: float
    matrix: int
    different: int
    crops: int
    photographs: int
    crop_side: int
    plots: int
    plot_side: int
    steps: int
    finetuning_batches: tuple[int, ...]


FULL = Size(
    model="vit_base_patch14_reg4_dinov2",
    side=518,
    batch=64,
    other_batches=(16, 32, 128, 256),
    seconds=0.8,
    matrix=8192,
    different=128,
    crops=2560,
    photographs=1536,
    crop_side=128,
    plots=48,
    plot_side=2100,
    steps=10,
    finetuning_batches=(16, 64),
)
SMALL = Size(
    model=SMALL_VIT,
    side=56,
    batch=4,
    other_batches=(2,),
    seconds=0.02,
    matrix=128,
    different=6,
    crops=80,
    photographs=9,
    crop_side=40,
    plots=2,
    plot_side=240,
    steps=6,
    finetuning_batches=(4, 8),
)
"""For a CPU and for tests: every arm in seconds; its numbers mean nothing."""


class Bench:
    """Runs arms until the time limit.

    Attributes:
        size: how large they are.
        device: where the model computes.
        results: where their numbers go.
        output: the folder for further files.
        peak: the device's bf16 FLOP/s by its data sheet; None if it is not in `PEAKS`.
    """

    def __init__(self, size: Size, device: torch.device, results: Results, output: Path, end: float):
        self.size, self.device, self.results, self.output = size, device, results, output
        self._end = end
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        self.peak = next((peak for part, peak in PEAKS.items() if part in name), None)

    def arm(self, name: str, seconds: float, measure: Callable[[], Mapping[str, float]]) -> None:
        """Measure an arm; an error becomes its row.

        Args:
            name: the arm.
            seconds: how long it takes on an H100; it is skipped where less time is left.
            measure: returns its numbers by metric.
        """
        if time.monotonic() + seconds > self._end:
            self.results.fail(name, "skipped, no time left")
            return
        try:
            values = measure()
        except Exception as error:  # a failed arm must not stop the others
            self.results.fail(name, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:150]}")
        else:
            self.results.add(name, values)
        finally:
            self.free()

    def freeze(self) -> None:
        """Exempt the objects of all modules from later collections, each of which would take half a second."""
        gc.collect()
        gc.freeze()

    def free(self) -> None:
        """Release memory, so that the peak of the next arm is its own."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def memory(self) -> dict[str, float]:
        """Return the most memory that tensors took since `free`, in GB."""
        return {"memory": torch.cuda.max_memory_allocated(self.device) / 1e9} if self.device.type == "cuda" else {}

    def rate(self, operations: float, seconds: float) -> dict[str, float]:
        """Return TFLOP/s, and their share of the device's peak in percent if the peak is known."""
        rate = operations / seconds
        return {"rate": rate / 1e12} | ({"share of peak": 100 * rate / self.peak} if self.peak else {})

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Callable[[int], object]) -> float:
        """Return the median seconds of a call; `call` is given its number, to choose among inputs."""
        for number in range(_WARM_UP):
            call(number)
        self.synchronize()
        start = time.perf_counter()
        call(0)
        self.synchronize()
        once = time.perf_counter() - start
        count = int(min(max(self.size.seconds / max(once, 1e-6), _FEWEST), _MOST))
        if self.device.type != "cuda":
            moments = [time.perf_counter()]
            for number in range(count):
                call(number)
                moments.append(time.perf_counter())
            return float(np.median(np.diff(moments)))
        events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
        events[0].record()
        for number in range(count):
            call(number)
            events[number + 1].record()
        events[-1].synchronize()
        return float(np.median([events[n].elapsed_time(events[n + 1]) for n in range(count)])) / 1e3


def least_cosine(features: np.ndarray, expected: np.ndarray) -> float:
    """Return the smallest cosine between rows of two matrices.

    Raises:
        ValueError: they have other shapes, or lie so far apart that something else was computed.
    """
    if features.shape != expected.shape:
        raise ValueError(f"features of shape {features.shape} instead of {expected.shape}")
    a, b = features.astype(np.float64), expected.astype(np.float64)
    least = float(((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())
    if not least >= LEAST_COSINE:
        raise ValueError(f"features differ from those in fp32: the smallest cosine is {least:.4f}")
    return least


def check_close(output: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare with a result of higher precision.

    Raises:
        ValueError: the relative error is above 1 %.
    """
    error = float((output.double() - expected.double()).norm() / expected.double().norm())
    if not error < 0.01:
        raise ValueError(f"the result is wrong: relative error {error:.2g}")
