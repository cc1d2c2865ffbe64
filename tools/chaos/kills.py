"""Signals: kills of every step, of single workers, of one of two writers, of a restart; Ctrl-C and SIGTERM."""

import os
import random
import signal
import time

from tools.chaos.processes import Fork, children_of, is_worker, kill_self
from tools.chaos.steps import STEPS, Step
from tools.chaos.verdicts import Verdict, disturbed
from tools.chaos.world import World

RESIZING = STEPS["resizing in worker processes"]
WORKERS = 2
_KILLS_A_TRIAL = 3
_WORKERS_START_SECONDS = 20.0


def any_step(random: random.Random) -> Step:
    """Choose a step."""
    return random.choice(list(STEPS.values()))


def kill_step(step: Step, world: World, random: random.Random) -> Verdict:
    """Kill a step and its first restarts, each at a file event or after a share of its undisturbed time."""
    if step is RESIZING:
        return disturbed(world, step, lambda: _kill_with_workers(world, random.random()))
    return disturbed(world, step, lambda: _kill(world, step, random), times=_KILLS_A_TRIAL)


def kill_worker(world: World, random: random.Random) -> Verdict:
    """Kill one worker process; the run itself goes on and fails."""
    share = random.random()

    def disturb() -> int:
        running = world.fork(world.make(RESIZING, workers=WORKERS))
        worker = _first_worker(running)
        if worker:
            time.sleep(share * 1.5)
        killed = 0
        if worker and is_worker(worker):
            os.kill(worker, signal.SIGKILL)
            killed = 1
        running.wait()
        return killed

    return disturbed(world, RESIZING, disturb)


def kill_one_of_two(world: World, random: random.Random) -> Verdict:
    """Kill one of two processes that make the same step."""
    step = any_step(random)
    event, _ = world.moment(step, random.random())

    def disturb() -> int:
        other = world.fork(world.make(step), name="other")
        killed = world.fork(world.make(step), {event: kill_self})
        status = killed.wait()
        other.wait()
        return int(status == -signal.SIGKILL)

    return disturbed(world, step, disturb)


def interrupt(number: signal.Signals, world: World, random: random.Random) -> Verdict:
    """Send a step SIGINT or SIGTERM at a file event."""
    step = any_step(random)
    event, _ = world.moment(step, random.random())

    def disturb() -> int:
        world.fork(world.make(step), {event: lambda: os.kill(os.getpid(), number)}).wait()
        return 0

    return disturbed(world, step, disturb)


def _kill(world: World, step: Step, random: random.Random) -> int:
    share, at_event = random.random(), random.random() < 0.5
    event, seconds = world.moment(step, share)
    running = world.fork(world.make(step), {event: kill_self} if at_event else None)
    if not at_event:
        running.kill_after(seconds)
    return int(running.wait() == -signal.SIGKILL)


def _kill_with_workers(world: World, share: float) -> int:
    running = world.fork(world.make(RESIZING, workers=WORKERS))
    workers = children_of(running.number) if _first_worker(running) else []
    time.sleep(share * 1.5)
    os.kill(running.number, signal.SIGKILL)
    killed = running.wait() == -signal.SIGKILL
    deadline = time.monotonic() + _WORKERS_START_SECONDS
    while any(is_worker(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.01)  # they end with their parent
    return int(killed)


def _first_worker(running: Fork) -> int | None:
    """Return the first worker process, once there is one; None if the process has ended before."""
    deadline = time.monotonic() + _WORKERS_START_SECONDS
    while time.monotonic() < deadline:
        workers = [child for child in children_of(running.number) if is_worker(child)]
        if workers:
            return workers[0]
        time.sleep(0.01)
    return None
