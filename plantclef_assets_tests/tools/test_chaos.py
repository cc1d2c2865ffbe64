"""The chaos trials: seeded, able to see what is wrong, and their committed results."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plantclef_assets_tests.cli.commands import PROJECT

pytest.importorskip("tools.chaos.plan", reason="the trials are not part of the installed package")

from tools.chaos.plan import COMMANDS, FAULTS, SHORT, plan_round
from tools.chaos.steps import STEPS
from tools.chaos.table import add_result, load_results, page, save_results, totals
from tools.chaos.verdicts import Verdict, compare_restarted, inspect_visible
from tools.chaos.world import World

LEAST_KILLS, LEAST_KILLS_OF_COMMANDS, LEAST_FAULTS = 300, 40, 20
SWEEP = STEPS["sweep"]


def choices(seed: int) -> list[tuple[str, float]]:
    return [(one.fault.name, one.random().random()) for number in range(3) for one in plan_round(seed, number)]


def test_a_seed_chooses_the_same_faults_and_moments_every_time() -> None:
    assert choices(1) == choices(1)
    assert choices(1) != choices(2)
    assert {name for name, _ in choices(1)} == {fault.name for fault in FAULTS} > set(SHORT)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A lake of three files, and its undisturbed copy."""
    world = World(tmp_path)
    for name in ("sweep.parquet", "class_map.parquet", "submission/base.csv"):
        path = world.undisturbed_lake / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    shutil.copytree(world.undisturbed_lake, world.lake)
    return world


def test_what_a_step_has_not_made_yet_is_neither_lost_nor_wrong(world: World) -> None:
    world.remove(SWEEP)
    (world.lake / ".sweep.parquet.host-1-00000000.incomplete").write_text("half")
    verdict = Verdict()
    inspect_visible(world, SWEEP, (), {}, verdict)
    assert (verdict.lost, verdict.wrong) == ([], [])


def test_half_a_file_under_its_final_name_is_wrong(world: World) -> None:
    (world.lake / "sweep.parquet").write_text("swe")
    verdict = Verdict()
    inspect_visible(world, SWEEP, (), {}, verdict)
    assert verdict.wrong == ["sweep.parquet (before the restart)"]


def test_a_file_of_another_step_that_disappears_is_lost(world: World) -> None:
    (world.lake / "class_map.parquet").unlink()
    verdict = Verdict()
    inspect_visible(world, SWEEP, (), {}, verdict)
    assert verdict.lost == ["class_map.parquet (before the restart)"]


def test_a_restart_has_to_bring_every_file_back_and_leave_no_other(world: World) -> None:
    (world.lake / "sweep.parquet").unlink()
    (world.lake / "class_map.parquet").write_text("other")
    (world.lake / ".leftover").write_text("")
    verdict = Verdict()
    compare_restarted(world, verdict)
    assert (verdict.lost, verdict.wrong) == (["sweep.parquet"], ["class_map.parquet"])
    assert verdict.note == "left over: .leftover"


def test_results_add_up_over_seeds(tmp_path: Path) -> None:
    results: dict = {}
    add_result(results, 1, "SIGINT", Verdict(kills=2))
    add_result(results, 1, "SIGINT", Verdict(kills=1, wrong=["a"], recovered=False))
    add_result(results, 2, "SIGINT", Verdict(lost=["b", "c"]))
    save_results(results, tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == results
    assert totals(results) == {"SIGINT": {"trials": 3, "kills": 3, "lost": 2, "wrong": 1, "recovered": 1}}


def test_the_page_is_that_of_the_results_and_nothing_was_lost() -> None:
    results = load_results()
    assert (PROJECT / "docs/reliability.md").read_text() == page(results)
    counts = totals(results)
    assert len(counts) >= LEAST_FAULTS
    assert sum(one["kills"] for one in counts.values()) >= LEAST_KILLS
    assert counts[COMMANDS]["kills"] >= LEAST_KILLS_OF_COMMANDS
    assert [name for name, one in counts.items() if one["lost"] or one["wrong"]] == []
    assert [name for name, one in counts.items() if one["recovered"] != one["trials"]] == []


@pytest.mark.slow
def test_the_short_form_loses_nothing() -> None:
    command = [sys.executable, "-m", "tools.chaos", "--seed", "0", "--short"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{name}: 1 trials" in done.stdout for name in SHORT)
