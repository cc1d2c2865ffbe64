"""The command line of the GPU benchmark."""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu import __doc__ as description
from benchmarks.gpu.bench import FULL, SMALL, Bench
from benchmarks.gpu.end_to_end import ALONE, END_TO_END, EndToEnd
from benchmarks.gpu.finetuning import FinetuningSteps
from benchmarks.gpu.inputs import PHOTOGRAPHS, prepare_inputs, random_backbone
from benchmarks.gpu.kernels import KERNELS_FILE
from benchmarks.gpu.model import COMPILED, MODEL, Forward, measure_device, measure_state
from benchmarks.results import Results, describe_machine
from plantclef_assets.models.backbones import Backbone
from plantclef_assets.models.timm_import import import_timm

_COMPILATIONS = 64
"""Functions of the model are compiled anew for each batch size and mode; torch's own limit is 8."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, and write `gpu.json` and `gpu_kernels.txt`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=description)
    parser.add_argument("--small", action="store_true", help="a tiny model on the CPU, to try the benchmark itself")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    parser.add_argument("--seconds", type=float, default=225, help="after which it stops; 420 measures all arms")
    options = parser.parse_args(arguments)
    if not options.small and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here; --small tries the benchmark on the CPU")
    end = time.monotonic() + options.seconds
    watchdog = threading.Timer(options.seconds, _stop)
    watchdog.daemon = True
    watchdog.start()
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / KERNELS_FILE).unlink(missing_ok=True)
    size, device = (SMALL, torch.device("cpu")) if options.small else (FULL, torch.device("cuda:0"))
    results = Results(options.output / "gpu.json", describe_machine() | _describe(device))
    run(Bench(size, device, results, options.output, end))
    watchdog.cancel()


def run(bench: Bench) -> None:
    """Run all arms, the most informative ones first."""
    start = time.monotonic()
    if bench.device.type == "cpu":
        torch.compiler.set_stance("force_eager")  # compiling takes longer than all arms together
    torch._dynamo.config.recompile_limit = _COMPILATIONS
    base = random_backbone(bench.size.model, bench.size.side)
    base = Backbone(base.model, base.info, bench.device, "fp32")
    with tempfile.TemporaryDirectory() as folder:
        inputs = prepare_inputs(bench.size, Path(folder), base)
        expected = torch.from_numpy(inputs.expected[PHOTOGRAPHS])
        similar = torch.nn.functional.cosine_similarity(expected[:-1], expected[1:]).median()
        print(f"Inputs are ready after {time.monotonic() - start:.0f} s.")
        print(f"The cosine of two different photographs is {float(similar):.3f} (median).")
        bench.freeze()
        bench.free()
        measure_device(bench, base)
        state = measure_state(bench)
        bench.results.machine = {**bench.results.machine, **state}
        forward = Forward(bench, inputs, base)
        forward.start()
        forward.measure_eager()
        forward.measure_compiled()
        bench.freeze()
        forward.profile()
        compiles = bench.results.value(MODEL, COMPILED, "rate") is not None
        whole = EndToEnd(bench, inputs, forward.half, forward.compiled if compiles else forward.half)
        whole.measure()
        FinetuningSteps(bench, inputs, base).measure()
        whole.measure_losses()
        whole.measure_preparing()
        forward.start()
        forward.measure_further()
    _conclude(bench, time.monotonic() - start)


def _conclude(bench: Bench, seconds: float) -> None:
    """Print the results that the aims refer to."""
    rows = bench.results.rows
    shares = [(row.value, row.arm) for row in rows if (row.table, row.metric) == (MODEL, "share of peak")]
    ratios = [(row.ratio, row.arm) for row in rows if row.table == END_TO_END and row.ratio and row.arm != ALONE]
    print(f"\nMeasured in {seconds:.0f} s on {bench.results.machine['device']}.")
    if shares:
        print("Aim: 40 % of peak bf16. Best: {:.1f} %, {}.".format(*max(shares)))
    if ratios:
        print("Aim: 0.9 of the model alone. Best: {:.3f}, {}.".format(*max(ratios)))


def _describe(device: torch.device) -> dict[str, str]:
    """Return a description of the device and of the relevant versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    versions = {"torch": torch.__version__, "timm": import_timm().__version__, "cuda": torch.version.cuda or "none"}
    return {"device": name, **versions}


def _stop() -> None:
    """End the process at its time limit; every finished arm is in the file already."""
    print("\nStopped at the time limit.", flush=True)
    os._exit(1)
