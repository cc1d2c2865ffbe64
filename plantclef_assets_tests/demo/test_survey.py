"""The written survey: layout, consistency, determinism, and what is broken on purpose."""

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from plantclef_assets.demo import survey
from plantclef_assets.demo.records import COLUMNS, plan_photographs, plan_plots, species_id
from plantclef_assets.demo.survey import write_survey

SMALL = {"seed": 3, "species": 5, "photographs": 84, "plots": 4}


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def _path(folder: Path, row: dict[str, str]) -> Path:
    return folder / "images" / row["learn_tag"] / row["species_id"] / row["image_name"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small survey, to be read only."""
    folder = tmp_path_factory.mktemp("flora") / "nested" / "survey"
    told: list[tuple[int, int]] = []
    write_survey(folder, **SMALL, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 88) for done in range(1, 89)]
    return folder


def test_layout_is_that_of_plantclef(small: Path) -> None:
    header = (small / "metadata.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == ";".join(f'"{column}"' for column in COLUMNS)
    rows = _rows(small)
    assert len(rows) == 84 + 2
    assert {_path(small, row) for row in rows} == {path for path in (small / "images").rglob("*") if path.is_file()}
    for row in rows:
        assert re.fullmatch(r"[0-9a-f]{40}\.jpg", row["image_name"])
        assert re.fullmatch(r"\d{7}", row["species_id"])
        assert row["learn_tag"] in ("train", "val")
    assert len({row["image_name"] for row in rows}) == len(rows)
    assert [path.name for path in small.parent.iterdir()] == ["survey"]


def test_exactly_two_photographs_are_broken(small: Path) -> None:
    broken = []
    for row in _rows(small):
        try:
            with Image.open(_path(small, row)) as image:
                image.load()
        except OSError as error:
            broken.append(type(error).__name__)
    assert sorted(broken) == ["OSError", "UnidentifiedImageError"]


def test_truth_fits_the_metadata_and_leaves_two_plots_out(small: Path) -> None:
    lines = (small / "plots_truth.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == '"quadrat_id","species_ids"'
    assert all(re.fullmatch(r'"DEMO-[A-Z]\d-\d{8}","\[\d+(, \d+)*\]"', line) for line in lines[1:])
    with (small / "plots_truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["quadrat_id"]: json.loads(row["species_ids"]) for row in csv.DictReader(file)}
    names = {path.stem for path in (small / "plots").iterdir()}
    assert len(names) == 4 and truth.keys() < names and len(truth) == 2
    known = {int(row["species_id"]) for row in _rows(small)}
    for species in truth.values():
        assert 2 <= len(set(species)) == len(species) <= 5
        assert set(species) <= known


def test_same_arguments_give_the_same_bytes_whatever_the_number_of_workers(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey.os, "cpu_count", lambda: 1)
    write_survey(tmp_path / "again", **SMALL)
    assert _digests(tmp_path / "again") == _digests(small)


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "survey").mkdir()
    write_survey(tmp_path / "survey")
    assert list((tmp_path / "survey").iterdir()) == []


def test_nothing_is_left_behind_when_drawing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[str]:
        raise OSError("no space left")

    monkeypatch.setattr(survey, "_draw_all", fail)
    with pytest.raises(OSError, match="no space left"):
        write_survey(tmp_path / "survey")
    assert list(tmp_path.iterdir()) == []


def test_too_few_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need 80 photographs"):
        write_survey(tmp_path / "survey", species=5, photographs=79)
    assert list(tmp_path.iterdir()) == []


def test_the_full_plan_has_a_long_tail_and_keeps_observations_together() -> None:
    records = plan_photographs(2024, 24, 1080)
    assert len(records) == 1080
    counts = sorted(Counter(record.species for record in records).values())
    assert len(counts) == 24 and counts[0] >= 16 and counts[-1] > 6 * counts[0] and counts[12] < 40
    sides: dict[int, set[str]] = {}
    for record in records:
        sides.setdefault(record.observation, set()).add(record.learn_tag)
    assert all(len(tags) == 1 for tags in sides.values())
    shots = Counter(record.observation for record in records)
    assert set(shots.values()) == {1, 2, 3}
    validated = Counter(record.species for record in records if record.learn_tag == "val")
    assert min(validated[number] for number in range(24)) >= 3
    assert 0.2 < validated.total() / 1080 < 0.3


def test_the_full_survey_visits_sixteen_places_three_times() -> None:
    plots = plan_plots(2024, 24, 48)
    visits = Counter(plot.name.rsplit("-", maxsplit=1)[0] for plot in plots)
    assert len(visits) == 16 and set(visits.values()) == {3}
    assert {len(plot.species) for plot in plots} == {2, 3, 4, 5}
    assert len({species_id(number) for number in range(24)}) == 24


@pytest.mark.slow
def test_a_killed_run_leaves_no_folder_behind(tmp_path: Path) -> None:
    """The folder of a process that was killed, and one of an earlier version, which named no process."""
    folder = tmp_path / "demo_survey"
    program = (
        "from pathlib import Path; from plantclef_assets.demo.survey import write_survey; "
        f"write_survey(Path({str(folder)!r}), **{SMALL!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    while not list(tmp_path.glob(".demo_survey*/images/**/*.jpg")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(tmp_path.iterdir())) == 1
    old, new = tmp_path / ".demo_survey-abcd1234", tmp_path / ".demo_survey-dcba4321"
    for one in (old, new):
        one.mkdir()
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    write_survey(folder, **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, folder.name]
