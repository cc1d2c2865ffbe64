"""Kills of whole command-line runs: `python -m plantclef_assets`, again and again on one lake, until it may finish.

A run is killed when the lake has a chosen number of files, so every part of the chain is hit. Each kill is a trial: no
visible file may differ from that of an undisturbed run. The last run of a chain finishes, and then the lake has to be
the undisturbed one after `verify` and `clean`.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tools.chaos.verdicts import Verdict
from tools.chaos.world import Snapshot, World, is_visible, snapshot

KILLS_A_CHAIN = 10
_LONGEST_SECONDS = 600.0
_PROJECT = Path(__file__).resolve().parents[2]


class Commands:
    """Runs of the command over the tiny survey, on a lake and an instance of their own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lake = world.folder / "command-lake"
        self._home = world.folder / "command-home"

    @cached_property
    def undisturbed(self) -> Snapshot:
        """The files of an undisturbed run.

        Raises:
            RuntimeError: it failed.
        """
        self._home.mkdir()
        shutil.copyfile(_PROJECT / "dagster.yaml", self._home / "dagster.yaml")
        dagster = Path(sys.executable).with_name("dagster")
        subprocess.run([dagster, "instance", "migrate"], check=True, capture_output=True, env=self._environment())
        self._finish()
        return snapshot(self._lake)

    def chain(self, random: random.Random, signals: list[signal.Signals]) -> Iterator[Verdict]:
        """Yield a verdict for each of the runs that are ended by a signal; the last one includes the comparison."""
        undisturbed = self.undisturbed
        shutil.rmtree(self._lake)
        moments = sorted(random.random() for _ in signals)
        for number, (moment, sent) in enumerate(zip(moments, signals, strict=True), 1):
            verdict = Verdict()
            self._end_at(int(moment * len(undisturbed)), random.random() * 0.5, sent, verdict)
            for name, digest in snapshot(self._lake).items():
                if is_visible(name) and digest != undisturbed.get(name):
                    verdict.wrong.append(f"{name} (before the restart)")
            if number == len(signals):
                self._compare(verdict)
            yield verdict

    def _compare(self, verdict: Verdict) -> None:
        try:
            self._finish()
        except RuntimeError as error:
            verdict.recovered, verdict.note = False, str(error)
        now = snapshot(self._lake)
        verdict.lost += sorted(self.undisturbed.keys() - now.keys())
        same = self.undisturbed.keys() & now.keys()
        verdict.wrong += sorted(name for name in same if now[name] != self.undisturbed[name])
        left = sorted(now.keys() - self.undisturbed.keys())
        if left:
            verdict.recovered, verdict.note = False, f"left over: {', '.join(left[:3])}"

    def _end_at(self, files: int, seconds: float, sent: signal.Signals, verdict: Verdict) -> None:
        """Start a run and send it a signal some seconds after the lake has so many files."""
        log = self._world.folder / "command.log"
        with log.open("wb") as output:
            running = subprocess.Popen(
                [sys.executable, "-m", "plantclef_assets"],
                env=self._environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + _LONGEST_SECONDS
        while running.poll() is None and _count(self._lake) < files and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(seconds)
        if running.poll() is None:
            running.send_signal(sent)
        try:
            status = running.wait(timeout=120)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            verdict.recovered, verdict.note = False, f"it did not end after {sent.name}"
            return
        verdict.kills = int(status == -signal.SIGKILL)

    def _finish(self) -> None:
        for command in ([], ["verify"], ["clean", "--delete"]):
            module = "plantclef_assets.lake" if command else "plantclef_assets"
            done = subprocess.run(
                [sys.executable, "-m", module, *command],
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=_LONGEST_SECONDS,
            )
            if done.returncode:
                raise RuntimeError((done.stdout + done.stderr)[-1500:])

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PLANTCLEF_")}
        variables = self._world.variables() | {"PLANTCLEF_LAKE": str(self._lake), "DAGSTER_HOME": str(self._home)}
        return kept | variables


def _count(lake: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(lake))
