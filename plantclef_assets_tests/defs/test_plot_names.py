"""Plots with unusual names and truths that cannot be: the answers of all other plots are written all the same."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.scoring.submission_format import read_submission
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import failed_checks, materialize

NAMES = ["north; wet-20240501", "scan.tif", "IMG_1.JPG", "IMG_1", "two\nlines", "B1", "old\rline"]
FILES = {
    "north; wet-20240501.jpg": 0,
    "scan.tif.jfif": 1,
    "IMG_1.JPG.jpg": 2,
    "IMG_1.jpg": 3,
    "two\nlines.jpg": 0,
    " B1.jpg": 1,
    "old\rline.jpg": 2,
    "IMG_2.HEIC": 2,
}
PLOTS = "plot_manifest,plot_images,base_tile_embeddings,tile_predictions,species_cover"
RUNS = ("base_cls_full", "base_dct_2x2_max2")


@pytest.fixture
def unusual(own_lake: Callable[..., Settings], tiny_survey: Path, tmp_path: Path) -> Settings:
    """A lake over plots with unusual names, up to its submissions."""
    for name, number in FILES.items():
        (tmp_path / "plots").mkdir(exist_ok=True)
        shutil.copy(tiny_survey / "plots" / f"PLOT-{number}-20240501.jpg", tmp_path / "plots" / name)
    truth = {"IMG_1.JPG.jpg": [1000001], "IMG_1.jpg": [1000002], "scan": [1000003], "win\\B1": [1000002]}
    lines = ['"quadrat_id","species_ids"', *(f'"{plot}","{json.dumps(species)}"' for plot, species in truth.items())]
    (tmp_path / "truth.csv").write_text("\n".join(lines))
    plots, truth_file = str(tmp_path / "plots"), str(tmp_path / "truth.csv")
    settings = own_lake(plot_images=plots, plot_truth=truth_file, replace_sources=True)
    listed = materialize(settings, "plot_manifest")
    assert listed.success
    assert failed_checks(listed) == {("plot_manifest", "files_used")}
    assert materialize(settings, PLOTS, first="00", last="01").success
    return settings


def test_no_unusual_name_keeps_the_other_plots_from_being_answered(unusual: Settings) -> None:
    done = materialize(unusual, "submission,leaderboard", first=RUNS[0], last=RUNS[-1])
    assert done.success
    assert ("submission", "every_plot_written") in failed_checks(done)
    lake = Lake(unusual.lake)
    for run in RUNS:
        stored = {row["plot_id"]: row["species_ids"] for row in lake.read(Artifact("submission", run)).to_pylist()}
        assert set(stored) == set(NAMES)
        other, own = ("2025", "2024") if unusual.dialect == "2024" else ("2024", "2025")
        files = {own: f"{run}.csv", other: f"{run}.{other}.csv"}
        assert dict(read_submission(Path(unusual.lake, "submission", files["2025"]))) == stored
        left = {"north; wet-20240501", "two\nlines", "old\rline"}
        held = {plot: answer for plot, answer in stored.items() if plot not in left}
        assert dict(read_submission(Path(unusual.lake, "submission", files["2024"]))) == held
        record = lake.record(Artifact("submission", run))
        assert record is not None
        assert set(record.statistics["left_out"]["2024"]) == left
        assert record.statistics["left_out"]["2025"] == []
    rows = lake.read(Artifact("leaderboard")).to_pylist()
    assert {row["plots"] for row in rows} == {4}, "each name of the truth is that of one plot"
    covered: set[str] = set()
    for shard in ("00", "01"):
        with Path(unusual.lake, "species_cover", f"{shard}.csv").open(encoding="utf-8-sig", newline="") as stream:
            covered.update(row["plot_id"] for row in csv.DictReader(stream))
    assert covered == set(NAMES)
    (finding,) = lake.read(Artifact("quarantine/plot_manifest")).to_pylist()
    assert (finding["source"], finding["reason"]) == ("IMG_2.HEIC", "unsupported")


TRUTHS = {
    "twice": ("PLOT-0-20240501;[1000001]\nPLOT-1-20240501;[1000002]\nPLOT-0-20240501;[1000003]\n", "'PLOT-0-20240501'"),
    "twice by extension": ("PLOT-0-20240501;[1000001]\nPLOT-0-20240501.jpg;[1000003]\n", "'PLOT-0-20240501.jpg'"),
    "empty": ("", "no plot"),
    "impossible": ("PLOT-0-20240501;[0]\n", "0 of plot 'PLOT-0-20240501' is not a species id"),
    "elsewhere": ("OTHER-1;[1000001]\n", ""),
}


@pytest.mark.parametrize("kind", TRUTHS)
def test_a_truth_that_cannot_be_is_refused_by_leaderboard_and_sweep(
    kind: str, own_lake: Callable[..., Settings], tmp_path: Path
) -> None:
    text, said = TRUTHS[kind]
    (tmp_path / "truth.csv").write_text("plot_id;species_ids\n" + text)
    settings = own_lake(plot_truth=str(tmp_path / "truth.csv"))
    for asset in ("leaderboard", "sweep"):
        done = materialize(settings, asset)
        assert not done.success
        (failure,) = done.get_step_failure_events()
        error = failure.step_failure_data.error
        assert error is not None
        assert error.cause is not None
        message = error.cause.message
        assert said in message
        assert "PLANTCLEF_PLOT_TRUTH" in message or (kind, asset) == ("elsewhere", "sweep")
