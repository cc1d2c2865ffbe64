"""Time of the device by kernel, from torch's profiler."""

import re
import time
from collections.abc import Callable

from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.bench import Bench

KERNELS_FILE = "gpu_kernels.txt"
_LISTED = 25
_LONGEST_NAME = 110

_KINDS = {
    "fused by the compiler": re.compile(r"^triton_(poi|red|per)"),
    "copies to the device": re.compile(r"Memcpy HtoD"),
    "other copies": re.compile(r"Memcpy|Memset|copy|CatArray", re.IGNORECASE),
    "attention": re.compile(r"flash|fmha|sdpa|attention", re.IGNORECASE),
    "convolution": re.compile(r"conv(?!ert)|implicit_gemm|nchw|nhwc", re.IGNORECASE),
    "matrix products": re.compile(r"gemm|nvjet|cutlass|cublas|xmma|splitk|triton_tem|addmm|::mm", re.IGNORECASE),
    "layer norm": re.compile(r"layer_?norm", re.IGNORECASE),
    "elementwise": re.compile(r"elementwise", re.IGNORECASE),
}
_OTHER = "everything else"
KINDS = (*_KINDS, _OTHER)
"""Kinds of kernels, by the first pattern that a name contains."""


def profile_kernels(bench: Bench, name: str, run: Callable[[], object]) -> tuple[dict[str, float], float]:
    """Run a function once under the profiler, and append its kernels to `gpu_kernels.txt`.

    Returns:
        kind of kernel → seconds on the device, and the seconds of the whole run.
    """
    on_gpu = bench.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        run()
        bench.synchronize()
        wall = time.perf_counter() - start
    wanted = DeviceType.CUDA if on_gpu else DeviceType.CPU
    kernels = [
        (event.key, event.self_device_time_total if on_gpu else event.self_cpu_time_total, event.count)
        for event in profiler.key_averages()
        if event.device_type == wanted
    ]
    kernels.sort(key=lambda kernel: -kernel[1])
    kinds = dict.fromkeys(KINDS, 0.0)
    for key, microseconds, _ in kernels:
        kinds[_kind(key)] += microseconds / 1e6
    lines = [
        f"{microseconds / 1e3:10.2f} ms {count:7} ×  {_kind(key):20} {key[:_LONGEST_NAME]}"
        for key, microseconds, count in kernels[:_LISTED]
    ]
    total = sum(kinds.values())
    heading = f"{name}: {total * 1e3:.1f} ms of kernels in {wall * 1e3:.1f} ms"
    with (bench.output / KERNELS_FILE).open("a", encoding="utf-8") as file:
        file.write("\n".join([heading, *lines, "", ""]))
    return kinds, wall


def _kind(key: str) -> str:
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(key)), _OTHER)
