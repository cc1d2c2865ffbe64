"""Several writers on one lake, with equal and with different settings; writers that pause; clocks that jump."""

import os
import random
import signal
import time
from typing import Any

from tools.chaos.kills import any_step
from tools.chaos.steps import STEPS
from tools.chaos.verdicts import Verdict, disturbed
from tools.chaos.world import Snapshot, World, snapshot

_DAY_SECONDS = 86400
_OTHER_SETTINGS: dict[str, dict[str, Any]] = {
    "resizing in worker processes": {"image_size": 40},
    "classifiers": {"top_k": 3, "classifier": {"epochs": 3}},
    "predictions and cover": {"top_k": 2},
    "composed validation plots": {"validation": {"plots": 6, "side": 200}},
}
"""Steps, and settings that change the bytes of their artifacts."""
_others: dict[str, Snapshot] = {}


def equal_writers(world: World, random: random.Random) -> Verdict:
    """Run a step in three processes at the same time."""
    step = any_step(random)

    def disturb() -> int:
        running = [world.fork(world.make(step), name=f"writer{number}") for number in range(3)]
        for one in running:
            one.wait()
        return 0

    return disturbed(world, step, disturb)


def different_writers(world: World, random: random.Random) -> Verdict:
    """Run a step in two processes at the same time, one of them with other settings."""
    step = STEPS[random.choice(sorted(_OTHER_SETTINGS))]
    changes = _OTHER_SETTINGS[step.name]
    if step.name not in _others:
        world.remove(step)
        world.run(world.make(step, **changes))
        _others[step.name] = snapshot(world.lake)
        world.restore()
    wait = random.random() * 0.3

    def disturb() -> int:
        first = world.fork(world.make(step), name="writer0")
        time.sleep(wait)
        second = world.fork(world.make(step, **changes), name="writer1")
        first.wait()
        second.wait()
        return 0

    return disturbed(world, step, disturb, other=_others[step.name])


def paused_writer(world: World, random: random.Random) -> Verdict:
    """Stop a writer at a file event, let another one finish, and continue the first."""
    step = any_step(random)
    event, _ = world.moment(step, random.random())

    def disturb() -> int:
        paused = world.fork(world.make(step), {event: lambda: os.kill(os.getpid(), signal.SIGSTOP)})
        os.waitpid(paused.number, os.WUNTRACED)
        other = world.fork(world.make(step), name="other")
        try:
            other.wait(seconds=10.0)  # it may wait for the accelerator that the first holds
        finally:
            os.kill(paused.number, signal.SIGCONT)
        paused.wait()
        return 0

    return disturbed(world, step, disturb)


def jumping_clock(world: World, random: random.Random) -> Verdict:
    """Move the clock of a step by up to ten years, forward or back, at a file event."""
    step = any_step(random)
    event, _ = world.moment(step, random.random())
    seconds = random.uniform(-3650, 3650) * _DAY_SECONDS

    def jump() -> None:
        clock, nanoseconds = time.time, time.time_ns
        time.time = lambda: clock() + seconds
        time.time_ns = lambda: nanoseconds() + int(seconds * 1e9)

    def disturb() -> int:
        world.fork(world.make(step), {event: jump}).wait()
        return 0

    return disturbed(world, step, disturb)
