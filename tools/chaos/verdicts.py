"""One trial: a step is made under a fault, what is visible is inspected, and the lake is compared after a restart."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from tools.chaos.steps import Step
from tools.chaos.world import Snapshot, World, is_visible, snapshot

Disturb = Callable[[], int]
"""Makes a step under a fault; returns how many processes were killed."""


@dataclass
class Verdict:
    """The result of one trial.

    Attributes:
        kills: processes that were killed before they had ended.
        lost: files that the fault deleted although nothing was to replace them, or that a restart did not make again.
        wrong: files that were visible, before or after the restart, with other bytes than the undisturbed ones.
        recovered: whether the restart succeeded, and verified and cleaned the lake is the undisturbed one.
        note: what is to be looked at, if anything.
    """

    kills: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    recovered: bool = True
    note: str = ""


def disturbed(
    world: World,
    step: Step,
    disturb: Disturb,
    *,
    undo: Callable[[], object] = lambda: None,
    again: Sequence[str] = (),
    planted: Collection[str] = (),
    other: Snapshot | None = None,
    times: int = 1,
) -> Verdict:
    """Run one trial.

    Args:
        world: with the undisturbed lake in place.
        step: it is removed first.
        disturb: makes it under a fault.
        undo: ends the fault before the restart.
        again: assets that the restart makes before those of the step.
        planted: files that the fault itself damages.
        other: the lake of other settings; their files may be visible until the restart.
        times: how often it is disturbed before the restart; what is visible is inspected each time.
    """
    world.measure(step)
    world.remove(step)
    verdict = Verdict()
    for _ in range(times):
        verdict.kills += disturb()
        inspect_visible(world, step, planted, other or {}, verdict)
    undo()
    problem = world.recover([*again, *step.assets])
    compare_restarted(world, verdict)
    if problem or verdict.note:
        verdict.recovered = False
        verdict.note = f"{verdict.note} {problem or ''}".strip()
    world.restore()
    return verdict


def inspect_visible(world: World, step: Step, planted: Collection[str], other: Snapshot, verdict: Verdict) -> None:
    """Add what a fault lost, and what is visible with wrong bytes, to a verdict."""
    now = snapshot(world.lake)
    for name in world.undisturbed.keys() - now.keys():
        if not step.holds(name) and name not in planted:
            verdict.lost.append(f"{name} (before the restart)")
    for name, digest in now.items():
        if is_visible(name) and name not in planted and digest not in (world.undisturbed.get(name), other.get(name)):
            verdict.wrong.append(f"{name} (before the restart)")


def compare_restarted(world: World, verdict: Verdict) -> None:
    """Add the differences of a restarted and cleaned lake from the undisturbed one to a verdict."""
    now = snapshot(world.lake)
    verdict.lost += sorted(world.undisturbed.keys() - now.keys())
    same = world.undisturbed.keys() & now.keys()
    verdict.wrong += sorted(name for name in same if now[name] != world.undisturbed[name])
    left = sorted(now.keys() - world.undisturbed.keys())
    if left:
        verdict.note = f"left over: {', '.join(left[:3])}"
