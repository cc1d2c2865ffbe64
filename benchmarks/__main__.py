"""Run the benchmarks: `python -m benchmarks [ingest] [resizing] [embedding]`, or `python -m benchmarks gpu`.

Every comparison alternates its candidates and takes the best of several rounds, since machines are noisy; only the
ratios within one run are meaningful. `gpu` is described in `benchmarks/gpu`.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Mapping

BENCHMARKS = ("ingest", "resizing", "embedding")
"""Modules with `candidates`; imported when they run, since machines for `gpu` lack some of their dependencies."""
ROUNDS = 3


def compare(candidates: Mapping[str, Callable[[], int]]) -> None:
    """Time candidates in turn and print ratios to the first; a candidate returns its number of images."""
    best = dict.fromkeys(candidates, 0.0)
    for _ in range(ROUNDS):
        for name, work in candidates.items():
            start = time.perf_counter()
            images = work()
            best[name] = max(best[name], images / (time.perf_counter() - start))
    plain = next(iter(best.values()))
    for name, rate in best.items():
        print(f"  {name:45} {rate:8.1f} images/s   × {rate / plain:.2f}")


def main() -> None:
    """Run the named benchmarks, or all that need no GPU."""
    if sys.argv[1:2] == ["gpu"]:
        from benchmarks.gpu.command import main as measure_gpu

        measure_gpu(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(BENCHMARKS)}; or gpu and its options")
    for name in parser.parse_args().names or BENCHMARKS:
        print(name)
        with importlib.import_module(f"benchmarks.{name}").candidates() as candidates:
            compare(candidates)


if __name__ == "__main__":
    main()
