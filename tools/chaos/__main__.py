"""Run chaos trials: `python -m tools.chaos --seed 1 --minutes 18`, or print docs/reliability.md with `--table`."""

import argparse
import math
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.chaos.verdicts import Verdict
    from tools.chaos.world import World

_SHARE_OF_COMMANDS = 0.4
"""Of the time, for kills of whole commands; each waits for an interpreter to start."""


def main(arguments: list[str] | None = None) -> int:
    """Run the trials of a seed; return 1 if one lost something, left something wrong or did not recover."""
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="chooses faults and moments (default 0)")
    parser.add_argument("--minutes", type=float, default=18, help="after which no trial starts (default 18)")
    parser.add_argument("--short", action="store_true", help="one trial of each quick fault, no whole commands")
    parser.add_argument(
        "--output", type=Path, help="results to add to (default tools/chaos/results.json; --short: none)"
    )
    parser.add_argument("--table", action="store_true", help="print docs/reliability.md and end")
    parser.add_argument("--only", default="", metavar="PATTERN", help="only faults whose name has this pattern")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the default one has a thread; forks copy none
    from tools.chaos.table import RESULTS, add_result, load_results, page, save_results

    if options.table:
        print(page(load_results()), end="")
        return 0
    output = options.output or (None if options.short else RESULTS)
    results = load_results(output) if output else {}
    results.pop(str(options.seed), None)
    started = time.monotonic()
    bad = 0
    for name, verdict in _trials(options):
        failed = bool(verdict.lost or verdict.wrong or not verdict.recovered)
        bad += failed
        said = f"FAILED: lost {verdict.lost[:3]}, wrong {verdict.wrong[:3]}, {verdict.note}" if failed else "recovered"
        print(f"{time.monotonic() - started:6.0f} s  {name}: {verdict.kills} kills, {said}", flush=True)
        add_result(results, options.seed, name, verdict)
        if output:
            save_results(results, output)
    for name, counts in sorted(results.get(str(options.seed), {}).items()):
        print(f"{name}: " + ", ".join(f"{value} {count}" for count, value in counts.items()))
    print(f"Seed {options.seed}: {bad or 'none'} of the trials failed.")
    return 1 if bad else 0


def _trials(options: argparse.Namespace) -> Iterator[tuple[str, "Verdict"]]:
    from tools.chaos.plan import COMMANDS, ENDED_COMMANDS, FAULTS, plan_round
    from tools.chaos.world import World

    started = time.monotonic()
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=fast, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # for the trials that change their user
        world = World(Path(folder))

        def remaining() -> float:
            return options.minutes * 60 - (time.monotonic() - started)

        number = 0
        for_commands = _seconds_for_commands(options, [fault.name for fault in FAULTS])
        if remaining() > for_commands:
            world.build()
        while remaining() > for_commands and (number == 0 or not options.short):
            for planned in plan_round(options.seed, number, short=options.short):
                if (
                    re.search(options.only, planned.fault.name)
                    and planned.fault.possible()
                    and remaining() > for_commands
                ):
                    yield planned.fault.name, planned.fault.run(world, planned.random())
            number += 1
        if for_commands:
            world.write_survey()
            yield from _command_trials(world, options.seed, remaining, COMMANDS, ENDED_COMMANDS)


def _seconds_for_commands(options: argparse.Namespace, others: list[str]) -> float:
    if options.only:
        return 0.0 if any(re.search(options.only, name) for name in others) else math.inf
    return 0.0 if options.short else _SHARE_OF_COMMANDS * options.minutes * 60


def _command_trials(
    world: "World", seed: int, remaining: Callable[[], float], killed: str, ended: str
) -> Iterator[tuple[str, "Verdict"]]:
    from tools.chaos.commands import KILLS_A_CHAIN, Commands

    commands, number = Commands(world), 0
    while remaining() > 0:
        choose = random.Random(f"{seed}/commands/{number}")
        gentle = number % 4 == 3
        one_of = [signal.SIGINT, signal.SIGTERM] if gentle else [signal.SIGKILL]
        signals = [choose.choice(one_of) for _ in range(4 if gentle else KILLS_A_CHAIN)]
        for verdict in commands.chain(choose, signals):
            yield ended if gentle else killed, verdict
        number += 1


if __name__ == "__main__":
    sys.exit(main())
