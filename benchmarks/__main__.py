"""Run the benchmarks: `python -m benchmarks [--full] [NAME …]`, or `python -m benchmarks gpu`.

Prints markdown tables, and writes all numbers to `benchmarks/results/latest.json`. A benchmark alternates its arms,
since machines are noisy; only the ratios within one run are meaningful. Each benchmark runs in a process of its own, so
its peak memory is not that of an earlier one. `gpu` is described in `benchmarks/gpu`.
"""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

from benchmarks.results import Results, describe_machine
from benchmarks.timing import Size

BENCHMARKS = (
    "ingest",
    "resizing",
    "embedding",
    "one_pass",
    "classifier",
    "tiles",
    "rescoring",
    "scaling",
    "orchestration",
)
"""Modules with `measure(results, size)`; imported when they run, since machines for `gpu` lack some dependencies."""
LATEST = Path(__file__).parent / "results" / "latest.json"


def main() -> None:
    """Run the named benchmarks, or all that need no GPU."""
    if sys.argv[1:2] == ["gpu"]:
        from benchmarks.gpu.command import main as measure_gpu

        measure_gpu(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(BENCHMARKS)}; or gpu and its options")
    parser.add_argument("--full", action="store_true", help="measure what is otherwise extrapolated; takes hours")
    parser.add_argument("--output", type=Path, default=LATEST, help="JSON file of the numbers")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)} and gpu")
    names = options.names or BENCHMARKS
    if len(names) == 1:
        results = Results(options.output, describe_machine())
        importlib.import_module(f"benchmarks.{names[0]}").measure(results, Size.FULL if options.full else Size.USUAL)
        return
    for name in names:
        full = ["--full"] if options.full else []
        command = [sys.executable, "-m", "benchmarks", name, "--output", str(options.output), *full]
        ended = subprocess.run(command, check=False)
        if ended.returncode:
            sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
