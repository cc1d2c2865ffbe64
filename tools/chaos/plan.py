"""The kinds of fault, and the trials that a seed chooses: the same seed chooses the same faults and moments."""

import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tools.chaos import kills, network, storage, writers
from tools.chaos.steps import STEPS
from tools.chaos.verdicts import Verdict
from tools.chaos.world import World

Trial = Callable[[World, random.Random], Verdict]


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: a row of the table.
        run: runs one trial.
        each_round: trials of a round.
        possible: whether this machine can inflict it.
    """

    name: str
    run: Trial
    each_round: int = 1
    possible: Callable[[], bool] = lambda: True


_KILLS = [
    Fault(f"SIGKILL: {step.name}", partial(kills.kill_step, step), each_round=1 if step is kills.RESIZING else 2)
    for step in STEPS.values()
]
FAULTS = (
    *_KILLS,
    Fault("SIGKILL: one worker process", kills.kill_worker),
    Fault("SIGKILL: one of two writers", kills.kill_one_of_two, each_round=2),
    Fault("SIGKILL: a download, twice", network.killed_download, each_round=2),
    Fault("SIGKILL: an upload to a bucket", network.killed_upload, possible=network.has_bucket_server),
    Fault("SIGINT", partial(kills.interrupt, signal.SIGINT)),
    Fault("SIGTERM", partial(kills.interrupt, signal.SIGTERM)),
    Fault("disk full", storage.full_disk, possible=storage.can_mount),
    Fault("limit of file sizes", storage.file_size_limit),
    Fault("limit of open files", storage.open_files_limit),
    Fault("permission to write lost", storage.lost_permission, possible=storage.is_root),
    Fault("input that cannot be read (EIO)", storage.unreadable_input),
    Fault("input truncated", storage.truncated_input),
    Fault("input with flipped bits", storage.flipped_input),
    Fault("folder in the place of an input", storage.folder_for_input),
    Fault("input deleted while it is read", storage.deleted_input),
    Fault("photograph that cannot be read (EIO)", storage.unreadable_source),
    Fault("photograph truncated", storage.truncated_source),
    Fault("three writers, equal settings", writers.equal_writers),
    Fault("two writers, different settings", writers.different_writers),
    Fault("writer paused while another finishes", writers.paused_writer),
    Fault("clock of the process jumps", writers.jumping_clock),
    Fault("download server: 429, 5xx, broken connections", network.failing_download),
    Fault("bucket answers 429", partial(network.failing_bucket, 429), possible=network.has_bucket_server),
    Fault("bucket answers 500", partial(network.failing_bucket, 500), possible=network.has_bucket_server),
    Fault("bucket resets connections", partial(network.failing_bucket, None), possible=network.has_bucket_server),
)
COMMANDS = "SIGKILL: whole commands"
ENDED_COMMANDS = "SIGINT and SIGTERM: whole commands"
SHORT = (
    "SIGKILL: manifests",
    "SIGKILL: submissions and leaderboard",
    "SIGKILL: inbox delivery",
    "SIGKILL: a download, twice",
    "limit of file sizes",
    "input truncated",
    "input that cannot be read (EIO)",
    "photograph truncated",
    "two writers, different settings",
    "clock of the process jumps",
)
"""The faults of the short form, which takes about a minute with all that comes before."""


@dataclass(frozen=True)
class Planned:
    """A trial that a seed has chosen."""

    fault: Fault
    number: int
    seed: int

    def random(self) -> random.Random:
        """Return the source of its choices: steps, files, moments."""
        return random.Random(f"{self.seed}/{self.fault.name}/{self.number}")


def plan_round(seed: int, number: int, *, short: bool = False) -> Iterator[Planned]:
    """Yield the trials of a round of a seed, in the order that the seed chooses."""
    chosen = [
        Planned(fault, number * fault.each_round + one, seed)
        for fault in FAULTS
        if not short or fault.name in SHORT
        for one in range(1 if short else fault.each_round)
    ]
    random.Random(f"{seed}/round {number}").shuffle(chosen)
    yield from chosen
