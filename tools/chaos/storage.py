"""Storage that fails: full disks, limits, lost permissions, and files that cannot be read or are damaged."""

import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tools.chaos.kills import any_step
from tools.chaos.processes import Action
from tools.chaos.steps import STEPS, Step
from tools.chaos.verdicts import Verdict, disturbed
from tools.chaos.world import World, verify_and_clean

_NOBODY = 65534
_UNREADABLE = Path("/proc/self/mem")
"""Reading it at its beginning fails with EIO, as reading a bad block does."""
_READERS = {
    "raw_images": "resizing in worker processes",
    "resized_images": "embeddings",
    "base_embeddings": "classifiers",
    "base_tile_embeddings": "predictions and cover",
    "plot_images": "predictions and cover",
    "tile_predictions": "submissions and leaderboard",
}
"""Steps that read an asset, for faults of inputs."""
_FOLDERS = {
    "photographs and plots": "raw_images",
    "resizing in worker processes": "resized_images",
    "embeddings": "base_embeddings",
    "classifiers": "classifier",
    "predictions and cover": "species_cover",
    "submissions and leaderboard": "submission",
    "report site and map": "plot_report",
}
"""A folder that each step writes, to be put on a disk of its own."""


def is_root() -> bool:
    """Whether this process may change its user."""
    return os.geteuid() == 0


def can_mount() -> bool:
    """Whether this process may mount a file system."""
    return is_root() and bool(shutil.which("mount")) and _mounts()


def full_disk(world: World, random: random.Random) -> Verdict:
    """Put a folder of a step on a file system that is too small for it; the restart finds it enlarged."""
    name = random.choice(sorted(_FOLDERS))
    step, folder = STEPS[name], world.lake / _FOLDERS[name]
    needed = sum(file.stat().st_size for file in (world.undisturbed_lake / _FOLDERS[name]).rglob("*") if file.is_file())
    size = max(4096, int(random.random() * needed))

    def disturb() -> int:
        folder.mkdir(exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={size},mode=755", "chaos", str(folder))
        world.fork(world.make(step)).wait()
        return 0

    try:
        return disturbed(world, step, disturb, undo=lambda: _mount("-o", "remount,size=256m", str(folder)))
    finally:
        _unmount(folder)
        world.restore()


def file_size_limit(world: World, random: random.Random) -> Verdict:
    """Limit the size of every file that a step writes."""
    step, size = any_step(random), int(10 ** random.uniform(2, 5.5))
    return _with_limit(world, step, resource.RLIMIT_FSIZE, size)


def open_files_limit(world: World, random: random.Random) -> Verdict:
    """Limit the number of files that a step may have open to few more than it begins with."""
    return _with_limit(world, any_step(random), resource.RLIMIT_NOFILE, random.randrange(8, 40))


def lost_permission(world: World, random: random.Random) -> Verdict:
    """Take the right to write in the lake from a step at a file event, by changing its user."""
    step = any_step(random)
    event, _ = world.moment(step, random.random())

    def become_nobody() -> None:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)

    return disturbed(world, step, lambda: _run(world, step, {event: become_nobody}))


def unreadable_input(world: World, random: random.Random) -> Verdict:
    """Inject EIO into reads of an input in the lake."""
    return _with_bad_input(world, random, _make_unreadable)


def truncated_input(world: World, random: random.Random) -> Verdict:
    """Truncate an input in the lake."""
    share = random.random()
    return _with_bad_input(world, random, lambda path: os.truncate(path, int(share * path.stat().st_size)))


def folder_for_input(world: World, random: random.Random) -> Verdict:
    """Put a folder in the place of an input in the lake."""

    def replace(path: Path) -> None:
        path.unlink()
        path.mkdir()

    return _with_bad_input(world, random, replace)


def flipped_input(world: World, random: random.Random) -> Verdict:
    """Flip bits in an input in the lake, anywhere in its pages or footer."""
    share, bits = random.random(), random.randrange(1, 256)

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[min(len(content) - 1, int(share * len(content)))] ^= bits
        path.write_bytes(content)

    return _with_bad_input(world, random, flip)


def deleted_input(world: World, random: random.Random) -> Verdict:
    """Delete an input in the lake while a step reads it."""
    asset = random.choice(sorted(_READERS))
    step = STEPS[_READERS[asset]]
    name = _file_of(world, asset, random)
    event, _ = world.moment(step, random.random())
    delete: dict[int, Action] = {event: lambda: (world.lake / name).unlink(missing_ok=True)}
    return disturbed(world, step, lambda: _run(world, step, delete), again=[asset], planted=[name])


def unreadable_source(world: World, random: random.Random) -> Verdict:
    """Inject EIO into reads of a source photograph, and repair it before the restart."""
    return _with_bad_source(world, random, _make_unreadable)


def truncated_source(world: World, random: random.Random) -> Verdict:
    """Truncate a source photograph, and mend it for the restart."""
    share = random.random()
    return _with_bad_source(world, random, lambda path: os.truncate(path, int(share * path.stat().st_size)))


def _with_limit(world: World, step: Step, kind: int, value: int) -> Verdict:
    def limited() -> None:
        resource.setrlimit(kind, (value, value))
        world.make(step)()

    def disturb() -> int:
        world.fork(limited).wait()
        return 0

    return disturbed(world, step, disturb)


def _with_bad_input(world: World, random: random.Random, damage: Callable[[Path], object]) -> Verdict:
    """Damage an input; the restart deletes it if reading it completely finds it damaged, as the error says."""
    asset = random.choice(sorted(_READERS))
    step, name = STEPS[_READERS[asset]], _file_of(world, asset, random)
    path = world.lake / name

    def disturb() -> int:
        damage(path)
        world.fork(world.make(step)).wait()
        return 0

    def undo() -> None:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)

    return disturbed(world, step, disturb, undo=undo, again=[asset], planted=[name])


def _with_bad_source(world: World, random: random.Random, damage: Callable[[Path], object]) -> Verdict:
    """Damage a photograph: the step has to account for its row. After mending, its quarantine is deleted by hand."""
    step = STEPS["photographs and plots"]
    path = random.choice(sorted((world.survey / "images").rglob("*.jpg")))
    kept, status = path.read_bytes(), path.stat()
    running: list[int] = []

    def make_and_verify() -> None:
        world.make(step)()
        verify_and_clean(world.settings, world.graph, step.assets)

    def disturb() -> int:
        damage(path)
        running.append(world.fork(make_and_verify).wait())
        return 0

    def undo() -> None:
        path.unlink()
        path.write_bytes(kept)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        world.remove(step)

    planted = {name for name in world.undisturbed if step.holds(name)}
    verdict = disturbed(world, step, disturb, undo=undo, planted=planted)
    if running != [0]:
        verdict.recovered, verdict.note = False, "rows are not accounted for under the fault"
    return verdict


def _run(world: World, step: Step, actions: dict[int, Action] | None) -> int:
    world.fork(world.make(step), actions).wait()
    return 0


def _file_of(world: World, asset: str, random: random.Random) -> str:
    return random.choice(sorted(name for name in world.undisturbed if name.startswith(f"{asset}/")))


def _make_unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to(_UNREADABLE)


def _mounts() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=False, capture_output=True)
