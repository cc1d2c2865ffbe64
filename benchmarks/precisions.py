"""Other precisions and runtimes on a CPU: `python -m benchmarks.precisions`, see docs/decisions/cpu-inference.md.

Forward passes on tensors that are ready, with random weights: oneDNN's linear layers, bf16, torch.compile, int8 weights
and activations (torchao) and OpenVINO against fp32. [CLS] of every arm is compared with that in fp32. torchao and
openvino are no dependencies of the project; an arm whose package is missing is left out.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch.utils.mkldnn import to_mkldnn

from benchmarks.gpu.inputs import draw_photographs, random_backbone
from benchmarks.results import Results, describe_machine
from benchmarks.timing import CORES, add_rates, alternate, rates
from plantclef_assets.images.decoding import decode_image
from plantclef_assets.models.backbone_files import open_backbone, save_backbone
from plantclef_assets.models.data_config import eval_transform, normalise

Forward = Callable[[], np.ndarray]
"""One batch: returns [CLS]."""


def open_torch(weights: Path, pixels: torch.Tensor, precision: str, compile: str) -> Forward:
    """Return the platform's own forward pass for [CLS]."""
    backbone = open_backbone(weights, "cpu", precision, compile)
    return lambda: backbone.forward(pixels, dct=False)[0].numpy()


def open_int8(weights: Path, pixels: torch.Tensor, compile: bool) -> Forward:
    """Return a forward pass with linear layers in int8: weights by channel, activations by token."""
    quantization = import_module("torchao.quantization")
    backbone = open_backbone(weights, "cpu")
    quantization.quantize_(backbone.model, quantization.Int8DynamicActivationInt8WeightConfig())
    model = torch.compile(backbone.model, dynamic=False) if compile else backbone.model
    inputs = normalise(pixels, backbone.info.data_config)

    @torch.no_grad()
    def forward() -> np.ndarray:
        return model(inputs).numpy()

    return forward


def open_onednn(weights: Path, pixels: torch.Tensor) -> Forward:
    """Return a forward pass whose linear layers in fp32 are oneDNN's in place of those of torch's BLAS library."""
    backbone = open_backbone(weights, "cpu")
    model = to_mkldnn(backbone.model)
    inputs = normalise(pixels, backbone.info.data_config)

    @torch.no_grad()
    def forward() -> np.ndarray:
        return model(inputs).numpy()

    return forward


def open_openvino(weights: Path, pixels: torch.Tensor, precision: str) -> Forward:
    """Return a forward pass of OpenVINO; `precision` is its hint for the arithmetic."""
    openvino = import_module("openvino")
    backbone = open_backbone(weights, "cpu")
    inputs = normalise(pixels, backbone.info.data_config)
    converted = openvino.convert_model(backbone.model, example_input=inputs, input=list(inputs.shape))
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.compile_model(converted, "CPU", options)
    return lambda: compiled(inputs.numpy())[0]


def main() -> None:
    """Measure one model and input size, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precisions", description=__doc__)
    parser.add_argument("--model", default="vit_base_patch14_reg4_dinov2.lvd142m", help="timm's name")
    parser.add_argument("--side", type=int, default=224, help="side of the input, px")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--output", type=Path, default=Path("precisions.json"), help="JSON file of the numbers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "backbone.safetensors")
        backbone = random_backbone(options.model, options.side)
        save_backbone(weights, backbone)
        transform = eval_transform(backbone.info.data_config)
        pixels = torch.stack([transform(decode_image(data)) for data in draw_photographs(options.batch, 128)])
        results = Results(options.output, describe_machine())
        threads = "1 thread" if options.threads == 1 else f"{options.threads} threads"
        title = f"forward passes of {options.model.partition('.')[0]} at {options.side} px, {threads}"
        results.start(title, rates("images/s") | {"processor time": "s/image", "start": "s", "cosine": ""}, "fp32")
        measure(results, weights, pixels, options.rounds)


def measure(results: Results, weights: Path, pixels: torch.Tensor, rounds: int) -> None:
    """Open the arms, time them in turn, and add their rows."""
    openers: dict[str, Callable[[], Forward]] = {
        "fp32": lambda: open_torch(weights, pixels, "fp32", "off"),
        "fp32, torch.compile": lambda: open_torch(weights, pixels, "fp32", "on"),
        "fp32, oneDNN": lambda: open_onednn(weights, pixels),
        "bf16": lambda: open_torch(weights, pixels, "bf16", "off"),
        "bf16, torch.compile": lambda: open_torch(weights, pixels, "bf16", "on"),
        "int8, torchao": lambda: open_int8(weights, pixels, compile=False),
        "int8, torchao, torch.compile": lambda: open_int8(weights, pixels, compile=True),
        "fp32, OpenVINO": lambda: open_openvino(weights, pixels, "f32"),
        "bf16, OpenVINO": lambda: open_openvino(weights, pixels, "bf16"),
    }
    arms: dict[str, Arm] = {}
    failed: dict[str, str] = {}
    expected = np.empty(0)
    for name, opener in openers.items():
        start = time.perf_counter()
        try:
            forward = opener()
            cls = forward()
        except Exception as error:  # a package is missing, or does not fit torch; the others are still measured
            failed[name] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:150]}"
            continue
        expected = cls if name == "fp32" else expected
        products = (cls * expected).sum(1) / np.linalg.norm(cls, axis=1) / np.linalg.norm(expected, axis=1)
        arms[name] = Arm(forward, time.perf_counter() - start, float(products.min()))
    seconds = alternate(arms, rounds)
    images = len(pixels)
    further = {
        name: {"processor time": min(arm.processor) / images, "start": arm.start, "cosine": arm.cosine}
        for name, arm in arms.items()
    }
    add_rates(results, seconds, images, further)
    for name, reason in failed.items():
        results.fail(name, reason)


@dataclass
class Arm:
    """A forward pass that measures the processor time of its calls, which other programs change less than the rate.

    Attributes:
        forward: one batch.
        start: seconds of opening and of the first call.
        cosine: least cosine of [CLS] to fp32.
        processor: seconds of each call, summed over threads.
    """

    forward: Forward
    start: float
    cosine: float
    processor: list[float] = field(default_factory=list)

    def __call__(self) -> None:
        """Run one batch."""
        start = time.process_time()
        self.forward()
        self.processor.append(time.process_time() - start)


if __name__ == "__main__":
    main()
