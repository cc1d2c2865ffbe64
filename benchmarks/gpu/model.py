"""The model only: peak rates of the device, rates of the forward pass, and time by kernel."""

import copy
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch._functorch import config as functorch_config
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu.bench import Bench, check_close, least_cosine
from benchmarks.gpu.inputs import PHOTOGRAPHS, Inputs, Shape, flops_per_picture
from benchmarks.gpu.kernels import KINDS, profile_kernels
from plantclef_assets.models.backbones import Backbone
from plantclef_assets.models.cls_only import cls_features

ATTENTION = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
}
"""The backends of scaled_dot_product_attention to compare."""

MODEL = "model alone"
EAGER, COMPILED = "eager, [CLS] alone", "compiled, [CLS] alone"
_MODEL_UNITS = {
    "rate": "images/s",
    "share of peak": "%",
    "cosine": "",
    "memory": "GB",
    "first call": "s",
}


def measure_device(bench: Bench, backbone: Backbone) -> None:
    """Measure rates of the device in the operations of the model: matrix products, attention, copies."""
    size, device, shape = bench.size, bench.device, Shape.of(backbone)
    tokens, width, hidden, heads = shape.tokens, shape.width, shape.hidden, shape.heads
    generator = torch.Generator(device).manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=torch.bfloat16)

    def product(rows: int, inner: int, columns: int) -> Mapping[str, float]:
        a, b = random(rows, inner), random(columns, inner)
        check_close(functional.linear(a, b)[:64], functional.linear(a[:64].double(), b.double()))
        return bench.rate(2 * rows * inner * columns, bench.seconds(lambda _: functional.linear(a, b)))

    def attention(backend: SDPBackend) -> Mapping[str, float]:
        # Laid out as timm does: strided views (batch, heads, tokens, channels) of the output of one linear layer.
        joint = random(size.batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        query, key, value = joint.unbind(0)
        with sdpa_kernel(backend):
            output = functional.scaled_dot_product_attention(query, key, value)
            seconds = bench.seconds(lambda _: functional.scaled_dot_product_attention(query, key, value))
        with sdpa_kernel(SDPBackend.MATH):
            first = [one[:1].float() for one in (query, key, value)]
            expected = functional.scaled_dot_product_attention(first[0], first[1], first[2])
        check_close(output[:1], expected)
        return bench.rate(4 * size.batch * tokens**2 * width, seconds)

    rows = size.batch * tokens
    bench.results.start("arithmetic in bf16", {"rate": "TFLOP/s", "share of peak": "%"}, f"product {size.matrix}³")
    bench.arm(f"product {size.matrix}³", 3, partial(product, size.matrix, size.matrix, size.matrix))
    for name, inner, columns in (
        ("qkv", width, 3 * width),
        ("proj", width, width),
        ("fc1", width, hidden),
        ("fc2", hidden, width),
    ):
        bench.arm(f"{name} of {size.batch} pictures", 2, partial(product, rows, inner, columns))
    for name, backend in ATTENTION.items():
        bench.arm(f"attention of {size.batch} pictures, {name}", 2, partial(attention, backend))

    def copying(source: torch.Tensor, target: torch.Tensor, moved: float) -> Mapping[str, float]:
        return {"rate": moved / bench.seconds(lambda _: target.copy_(source, non_blocking=True)) / 1e9}

    batch = torch.zeros(size.batch, 3, size.side, size.side, dtype=torch.uint8)
    large = torch.zeros(size.matrix**2 * 8, dtype=torch.uint8, device=device)
    pinned = batch.pin_memory() if device.type == "cuda" else batch
    pictures, on_device = [one.clone() for one in batch], batch.to(device)
    bench.results.start("copies", {"rate": "GB/s"})
    bench.arm("within the device, bytes read and written", 2, lambda: copying(large, large.clone(), 2 * large.nbytes))
    bench.arm("a batch from pinned memory to the device", 2, lambda: copying(pinned, on_device, batch.nbytes))
    bench.arm(
        "a batch into pinned memory",
        2,
        lambda: {"rate": batch.nbytes / bench.seconds(lambda _: torch.stack(pictures, out=pinned)) / 1e9},
    )


def measure_state(bench: Bench) -> dict[str, str]:
    """Read clock, power and temperature during matrix products; nothing without nvidia-smi."""
    if bench.device.type != "cuda":
        return {}
    a = torch.randn(bench.size.matrix, bench.size.matrix, device=bench.device, dtype=torch.bfloat16)
    for _ in range(1000):
        torch.mm(a, a)
    names = ["clocks.sm", "clocks.mem", "power.draw", "power.limit", "temperature.gpu", "driver_version"]
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    finally:
        bench.synchronize()
    return dict(zip(names, done.stdout.splitlines()[0].split(", "), strict=False))


class Forward:
    """Times forward passes of the project's backbones, and compares their features with those in fp32."""

    def __init__(self, bench: Bench, inputs: Inputs, base: Backbone):
        self._bench, self._inputs, self._base = bench, inputs, base
        self.half = self.backbone("bf16")
        """In bf16, eager."""
        self.compiled = Backbone(self.half.model, base.info, bench.device, "bf16", True)
        """In bf16, compiled as PLANTCLEF_COMPILE=on does."""

    def backbone(self, precision: str) -> Backbone:
        """Copy the model in another precision."""
        return Backbone(copy.deepcopy(self._base.model), self._base.info, self._bench.device, precision)

    def by_blocks(self) -> Backbone:
        """Copy the model in bf16 and compile each block instead of the whole: one compilation serves all blocks."""
        backbone = self.backbone("bf16")
        for block in backbone.model.blocks.children():
            block.compile(dynamic=False)
        return backbone

    def measure(self, backbone: Backbone, batch: int, *, dct: bool = False, whole: bool = False) -> Mapping[str, float]:
        """Time a backbone's forward pass from uint8 pictures on the device to features.

        Args:
            backbone: the model.
            batch: pictures per forward pass.
            dct: whether the DCT is wanted too.
            whole: whether the whole last block is computed, without `models/cls_only.py`.
        """
        pixels, bench = self._inputs.pixels, self._bench
        shown = [(torch.arange(batch) + shift) % len(pixels) for shift in (0, 1)]
        batches = [pixels[rows.to(pixels.device)] for rows in shown]
        start = time.perf_counter()
        cls = backbone.forward(batches[0], dct=dct)[0].cpu().numpy()
        first = time.perf_counter() - start
        cosine = least_cosine(cls, self._inputs.expected[PHOTOGRAPHS][shown[0].numpy()])
        seconds = bench.seconds(lambda number: backbone.forward(batches[number % 2], dct=dct))
        flops = flops_per_picture(Shape.of(backbone), cls_only=not (dct or whole))
        share = {name: value for name, value in bench.rate(batch * flops, seconds).items() if name != "rate"}
        return {"rate": batch / seconds, **share, "cosine": cosine, **bench.memory(), "first call": first}

    def start(self) -> None:
        """Start the table."""
        self._bench.results.start(MODEL, _MODEL_UNITS, EAGER)

    def measure_eager(self) -> None:
        """Measure the arms that need no compiler."""
        bench, half, batch = self._bench, self.half, self._bench.size.batch
        bench.arm(EAGER, 3, partial(self.measure, half, batch))
        for other in bench.size.other_batches:
            bench.arm(f"{EAGER}, batch {other}", 3, partial(self.measure, half, other))
        bench.arm("eager, [CLS] alone without cls_only", 3, partial(self.measure, _whole(half), batch, whole=True))
        bench.arm("eager, [CLS] and DCT", 3, partial(self.measure, half, batch, dct=True))
        for name, backend in ATTENTION.items():
            bench.arm(f"{EAGER}, {name} attention", 3, partial(self._with_attention, backend, half))
        bench.arm(f"{EAGER}, channels last", 3, self._channels_last)
        bench.arm(f"{EAGER}, fp16", 3, lambda: self.measure(self.backbone("fp16"), batch))
        bench.arm(f"{EAGER}, fp32", 4, lambda: self.measure(self._base, batch))

    def measure_compiled(self) -> None:
        """Measure the project's compiled model, and each block compiled by itself."""
        bench, batch = self._bench, self._bench.size.batch
        bench.arm(COMPILED, 40, partial(self.measure, self.compiled, batch))
        blocks = self.by_blocks()
        bench.arm("compiled by blocks, [CLS] alone", 15, partial(self.measure, blocks, batch))
        bench.arm("compiled by blocks, [CLS] alone without cls_only", 15, lambda: self._whole_by_blocks(blocks))

    def measure_further(self) -> None:
        """Measure arms that take long to compile, the most promising first, within the time limit."""
        bench, size, batch = self._bench, self._bench.size, self._bench.size.batch
        bench.arm("eager, [CLS] alone, once more", 3, partial(self.measure, self.half, batch))
        for name in ("cuDNN", "flash"):
            bench.arm(
                f"compiled by blocks, [CLS] alone, {name} attention",
                12,
                partial(self._compiled_with_attention, ATTENTION[name]),
            )
        for other in size.other_batches:
            bench.arm(
                f"compiled by blocks, [CLS] alone, batch {other}",
                10,
                lambda other=other: self.measure(self.by_blocks(), other),
            )
        bench.arm("compiled, [CLS] and DCT", 30, lambda: self.measure(self.compiled, batch, dct=True))
        bench.arm(f"{COMPILED}, max-autotune", 75, self._autotuned)

    def profile(self) -> None:
        """Measure the time of the eager and the compiled forward pass by kind of kernel."""
        bench, pixels = self._bench, self._inputs.pixels
        rows = torch.arange(bench.size.batch, device=pixels.device) % len(pixels)
        batch = pixels[rows]
        bench.results.start("kernels, ms per 100 images", dict.fromkeys(KINDS, ""))
        for name, backbone in ((EAGER, self.half), (COMPILED, self.compiled)):
            forward = partial(backbone.forward, batch, dct=False)
            bench.arm(name, 4, partial(self._kernels, name, forward))

    def _kernels(self, name: str, forward: Callable[[], object]) -> Mapping[str, float]:
        repeats = 5
        kinds, _ = profile_kernels(self._bench, name, lambda: [forward() for _ in range(repeats)])
        return {kind: 1e5 * seconds / repeats / self._bench.size.batch for kind, seconds in kinds.items()}

    def _with_attention(self, backend: SDPBackend, backbone: Backbone) -> Mapping[str, float]:
        """Prefer a backend; flash attention is used for unsupported calls, such as the last block's few queries."""
        with sdpa_kernel([backend, SDPBackend.FLASH_ATTENTION], set_priority=True):
            return self.measure(backbone, self._bench.size.batch)

    def _compiled_with_attention(self, backend: SDPBackend) -> Mapping[str, float]:
        """Compile again: compiled code contains the backend, which is not part of the keys of torch's caches."""
        torch._dynamo.reset()
        with functorch_config.patch(enable_autograd_cache=False):
            return self._with_attention(backend, self.by_blocks())

    def _channels_last(self) -> Mapping[str, float]:
        backbone = self.backbone("bf16")
        backbone.model.patch_embed.to(memory_format=torch.channels_last)
        return self.measure(backbone, self._bench.size.batch)

    def _whole_by_blocks(self, blocks: Backbone) -> Mapping[str, float]:
        return self.measure(_whole(blocks), self._bench.size.batch, whole=True)

    def _autotuned(self) -> Mapping[str, float]:
        backbone = Backbone(self.half.model, self._base.info, self._bench.device, "bf16")
        forward: Any = partial(cls_features, self.half.model)
        vars(backbone)["_cls_first"] = torch.compile(forward, dynamic=False, mode="max-autotune-no-cudagraphs")
        return self.measure(backbone, self._bench.size.batch)


def _whole(backbone: Backbone) -> Backbone:
    """Return the same backbone without `models/cls_only.py`: the last block is computed for all tokens."""
    changed = copy.copy(backbone)
    vars(changed)["_cls_first"] = changed._all_tokens
    return changed
