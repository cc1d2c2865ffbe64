"""Run the benchmarks: `python -m benchmarks [ingest] [resizing] [embedding]`.

Every comparison alternates its candidates and takes the best of several rounds, since machines are noisy; only the
ratios of one run mean anything.
"""

import argparse
import time
from collections.abc import Callable, Mapping

from benchmarks import embedding, ingest, resizing

BENCHMARKS = {"ingest": ingest.candidates, "resizing": resizing.candidates, "embedding": embedding.candidates}
ROUNDS = 3


def compare(candidates: Mapping[str, Callable[[], int]]) -> None:
    """Time candidates in turn; each returns how many images it worked on. The first one is what the others are to."""
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
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(BENCHMARKS)}")
    for name in parser.parse_args().names or BENCHMARKS:
        print(name)
        with BENCHMARKS[name]() as candidates:
            compare(candidates)


if __name__ == "__main__":
    main()
