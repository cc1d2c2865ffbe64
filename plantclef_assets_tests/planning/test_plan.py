"""`plantclef plan`: its counts against the rows of a finished lake, its arithmetic, and what it prints."""

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from plantclef_assets.cli import plan
from plantclef_assets.cli import run as whole_chain
from plantclef_assets.cli.main import main
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.planning import source_counts
from plantclef_assets.planning.estimates import (
    H200,
    Load,
    ModelShape,
    Speed,
    Stage,
    divide,
    duration_in_words,
    vector_bytes,
    workers_used,
)
from plantclef_assets.planning.source_counts import UncountedError
from plantclef_assets.planning.speeds import Speeds
from plantclef_assets.planning.work import ASSUMED_PLOT, Work, count_tiles
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets_tests.cli.commands import PROJECT, file_stamps
from plantclef_assets_tests.cli.test_command_line import environment
from plantclef_assets_tests.tiny import tiny_settings

OwnLake = Callable[..., Settings]
SPEEDS = Speeds(photograph=0.01, plot=0.1, passes={"base": 0.5, "finetuned": 0.5})


def work_of(settings: Settings, *, quick: bool = False) -> Work:
    return Work(settings, build_graph(settings), quick=quick)


def stage_of(work: Work, asset: str) -> Stage:
    (found,) = [stage for stage in work.stages if stage.asset == asset]
    return found


def rows(settings: Settings, asset: str) -> int:
    lake = Lake(settings.lake)
    artifacts = build_graph(settings).recipes[asset].artifacts
    return sum(lake.open(artifact).metadata.num_rows for artifact in artifacts)


def test_counts_are_the_rows_of_the_finished_lake(tiny_lake: Settings) -> None:
    work = work_of(tiny_lake)
    assert work.photographs and work.plots
    assert work.photographs.count == rows(tiny_lake, "raw_images") == 48
    assert work.plots.count == rows(tiny_lake, "plot_images") == 4
    for asset in ("base_embeddings", "raw_images", "resized_images", "plot_images", "validation_plots"):
        assert stage_of(work, asset).total.items == rows(tiny_lake, asset)
    for plots, asset in (
        ("plot_images", "base_tile_embeddings"),
        ("validation_plots", "base_validation_tile_embeddings"),
    ):
        tiles = work.tiles[plots, "base"]
        assert sum(one.rows for one in tiles.values()) == rows(tiny_lake, asset)
        assert stage_of(work, asset).total.passes == rows(tiny_lake, asset)  # full and 2x2 share no tile
    assert stage_of(work, "tile_predictions").total.items == rows(tiny_lake, "tile_predictions")
    assert stage_of(work, "base_embeddings").total.passes == 48


def test_bytes_follow_from_schemas_and_files(tiny_lake: Settings) -> None:
    work = work_of(tiny_lake)
    raw = stage_of(work, "raw_images").total
    assert (
        raw.read
        == raw.written
        == sum(path.stat().st_size for path in Path(tiny_lake.training_images or "").rglob("*.jpg"))
    )
    width = work.shapes["base"].width
    assert vector_bytes(width, dct=True) == 4 * (192 + 64) + 64
    assert stage_of(work, "base_embeddings").total.written == 48 * vector_bytes(width, dct=True)
    assert stage_of(work, "base_tile_embeddings").total.written == 4 * 5 * vector_bytes(width, dct=True)


@pytest.mark.parametrize("quick", [False, True])
def test_nothing_remains_of_a_finished_lake(tiny_lake: Settings, quick: bool) -> None:
    work = work_of(tiny_lake, quick=quick)
    assert {stage.asset: stage.remaining for stage in work.stages} == {stage.asset: Load() for stage in work.stages}
    assert not work.has_remaining
    assert plan.estimate_lines(tiny_lake, build_graph(tiny_lake)) == []


def test_the_shard_that_is_deleted_remains(own_lake: OwnLake) -> None:
    settings = own_lake()
    lake = Lake(settings.lake)
    photographs = lake.open(Artifact("base_embeddings", "01")).metadata.num_rows
    lake.path(Artifact("base_embeddings", "01")).unlink()
    for work in (work_of(settings), work_of(settings, quick=True)):
        stage = stage_of(work, "base_embeddings")
        assert (stage.total.passes, stage.remaining.passes) == (48, photographs)
        assert stage_of(work, "resized_images").remaining == Load()
        assert stage_of(work, "raw_images").remaining == Load()


@pytest.mark.parametrize("quick", [False, True])
def test_what_other_settings_make_stale_remains(own_lake: OwnLake, quick: bool) -> None:
    work = work_of(own_lake(image_size=56), quick=quick)
    assert stage_of(work, "raw_images").remaining == Load()
    assert stage_of(work, "resized_images").remaining == stage_of(work, "resized_images").total
    assert stage_of(work, "base_embeddings").remaining.passes == 48
    assert stage_of(work, "plot_images").remaining == Load()


def test_sources_are_listed_before_there_is_a_lake(tiny_survey: Path, tmp_path: Path) -> None:
    for quick in (False, True):
        work = work_of(tiny_settings(tiny_survey, tmp_path / "lake"), quick=quick)
        assert work.photographs and work.plots
        assert (work.photographs.count, work.photographs.origin) == (48, "listed in the source")
        assert sum(one.distinct for one in work.tiles["plot_images", "base"].values()) == 4 * 5
        assert all(stage.remaining == stage.total for stage in work.stages)
    assert not (tmp_path / "lake").exists()


def test_published_numbers_are_used_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TRAINING_METADATA", "TRAINING_IMAGES", "PLOT_IMAGES", "FINETUNED_WEIGHTS"):
        monkeypatch.setenv(f"PLANTCLEF_{name}", "published")
    work = work_of(load_settings(profile="plantclef2025", lake=str(tmp_path / "lake"), validation={"plots": 0}))
    assert work.photographs and work.plots
    assert (work.photographs.count, work.photographs.origin) == (1_408_033, "published")
    assert sum(work.photographs.sizes.values()) == 160_000_000_000
    assert stage_of(work, "base_tile_embeddings").total.passes == 2105 * (1 + 9 + 16)
    assert stage_of(work, "finetuned_embeddings").total.passes == 1_408_033
    assert f"plots are taken to have {ASSUMED_PLOT[0]:,} × {ASSUMED_PLOT[1]:,} px" in work.notes


def test_an_archive_that_is_not_indexed_is_not_listed_at_the_start_of_a_run(tiny_survey: Path, tmp_path: Path) -> None:
    archive = tmp_path / "images.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(tiny_survey / "images", "images")
    settings = tiny_settings(tiny_survey, tmp_path / "lake", training_images=str(archive))
    with pytest.raises(UncountedError, match="materialize training_manifest first"):
        _ = work_of(settings, quick=True).photographs
    (line,) = plan.estimate_lines(settings, build_graph(settings))
    assert "`plantclef plan`" in line
    full = work_of(settings).photographs
    assert full and full.count == 48


def test_a_listing_that_takes_long_is_cut_short(
    tiny_survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_counts, "_LISTING_SECONDS", -1.0)
    work = work_of(tiny_settings(tiny_survey, tmp_path / "lake"), quick=True)
    assert work.is_cut_short and work.photographs and work.photographs.count == 1


def test_fine_tuning_is_counted_in_forward_passes(finetuned_lake: Settings) -> None:
    work = work_of(finetuned_lake)
    assert stage_of(work, "finetuned_backbone").total.passes == 48 * (3 * 2 + 1)
    assert stage_of(work, "finetuned_backbone").remaining == Load()
    assert stage_of(work, "finetuned_tile_embeddings").total.passes == rows(finetuned_lake, "finetuned_tile_embeddings")


def test_deliveries_of_the_inbox_are_not_counted(inbox_lake: Settings) -> None:
    work = work_of(inbox_lake)
    assert not work.has_remaining
    assert not [stage for stage in work.stages if "inbox" in stage.asset]
    assert "deliveries of the inbox are not counted" in work.notes


def test_a_survey_without_training_photographs_has_plots_alone(finetuned_lake: Settings, tmp_path: Path) -> None:
    backbone = Path(finetuned_lake.lake) / "finetuned_backbone.safetensors"
    settings = finetuned_lake.model_copy(
        update={"training_metadata": None, "training_images": None, "finetuned_weights": str(backbone)}
        | {"finetuned_model": finetuned_lake.base_model, "finetuned_input_size": 42, "lake": str(tmp_path / "lake")}
    )
    work = work_of(settings)
    assert work.photographs is None
    assert {stage.asset for stage in work.stages} >= {"plot_images", "finetuned_tile_embeddings"}
    assert not [stage for stage in work.stages if stage.unit == "photographs"]


def test_tiles_are_counted_once_for_several_tilings() -> None:
    tiles = count_tiles([(300, 200), (300, 200), (1, 1)], ["full", "2x2", "1x1+2x2", "w100s100"])
    assert tiles.by_tiling == {"full": 2, "2x2": 8, "1x1+2x2": 10, "w100s100": 12}, "the third plot is too small"
    assert (tiles.rows, tiles.distinct) == (32, 22)
    assert count_tiles([(300, 200)], ["2x2"], plots=7).distinct == 28


def test_loads_and_seconds() -> None:
    stage = Stage("asset", "photographs", {"00": Load(2, 3, 5, 7), "01": Load(1, 1, 1, 1)}, {"01"}, workers=True)
    assert stage.total == Load(3, 4, 6, 8)
    assert stage.remaining == Load(1, 1, 1, 1)
    assert Speed(per_item=2, per_pass=10, per_byte=1).seconds(stage.total, workers=2) == (6 + 40 + 14) / 2
    assert workers_used(stage, 1, workers=8, cores=4) == 1
    assert workers_used(stage, 512, workers=8, cores=4) == 4
    assert divide(10, ["a", "b", "c"]) == {"a": 3, "b": 3, "c": 4}
    assert [duration_in_words(one) for one in (3, 600, 7200, 720_000)] == ["3 s", "10 min", "2.0 h", "200 h"]


def test_flops_and_rates_are_those_of_the_gpu_benchmark() -> None:
    assert round(H200.model.flops(all_tokens=False) / 1e9) == 282
    assert round(H200.model.flops(all_tokens=True) / 1e9) == 304
    measured = json.loads((PROJECT / "benchmarks" / "results" / "gpu.json").read_text())
    assert measured["machine"]["device"] == H200.name
    rates = {row["arm"]: row["value"] for row in measured["rows"] if row["metric"] == "rate"
             and row["table"] in ("end to end", "preparing pictures")}  # fmt: skip
    assert H200.alone == rates["model alone"]
    assert H200.photographs == rates["128 px"]
    assert H200.tiles == rates["2100 px plots, full+3x3+4x4"]
    assert H200.prepared == rates["128 px, 16 threads"]
    reference = H200.model.flops(all_tokens=False)
    assert H200.seconds_per_photograph(reference) == pytest.approx(1 / H200.photographs)
    assert H200.seconds_per_tile(2 * reference) == pytest.approx(1 / H200.tiles + 1 / H200.alone)
    small = ModelShape(192, 768, 6, 81, 5, 14).flops(all_tokens=True)
    assert H200.seconds_per_photograph(small) == 1 / H200.prepared, "decoding does not become faster"


def test_the_screen_names_counts_and_assumptions(
    own_lake: OwnLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = own_lake()
    Lake(settings.lake).path(Artifact("base_embeddings", "01")).unlink()
    for name, value in environment(settings, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PLANTCLEF_VALIDATION__PLOTS", "6")
    monkeypatch.setenv("PLANTCLEF_VALIDATION__SIDE", "240")
    before = file_stamps(Path(settings.lake))
    assert main(["plan"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^photographs +48 +0  in the manifest$", out, re.MULTILINE)
    assert re.search(r"^plots +4 +0  in the manifest$", out, re.MULTILINE)
    assert re.search(r"^tiles, base +20 +0  5.0 a plot; distinct over full, 2x2$", out, re.MULTILINE)
    assert re.search(r"^forward passes, base +98 +16 ", out, re.MULTILINE)
    assert "1,088 bytes a row: [CLS] and DCT" in out
    assert "8 of your photographs" in out
    assert "with its weights" in out
    assert "NVIDIA H200: 1,180 photographs/s" in out
    assert "the base backbone is scaled" in out
    assert "are not counted" in out
    assert len(out.splitlines()) < 40, "one screen"
    assert file_stamps(Path(settings.lake)) == before


def test_what_cannot_be_planned_is_a_sentence(
    own_lake: OwnLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = own_lake()
    for name, value in environment(settings, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PLANTCLEF_BASE_MODEL", "resnet18")
    assert main(["plan"]) == 1
    assert capsys.readouterr().err.startswith("base backbone: ")


def test_a_long_run_begins_with_its_estimate(
    tiny_survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(tiny_survey, tmp_path / "lake")
    graph = build_graph(settings)

    def unused(work: Work) -> Speeds:
        raise AssertionError("short work is not measured")

    monkeypatch.setattr(plan, "measure_speeds", unused)
    assert plan.estimate_lines(settings, graph) == []
    monkeypatch.setattr(plan, "LONG_SECONDS", 0.02)
    monkeypatch.setattr(plan, "measure_speeds", lambda work: SPEEDS)
    first, second = plan.estimate_lines(settings, graph)
    assert re.match(r"About \d+ s of work on this machine: 98 forward passes, \d\.\d GB to write; ", first)
    assert "`plantclef plan`" in second


def test_a_failing_estimate_does_not_prevent_a_run(tiny_lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(settings: Settings, graph: object) -> list[str]:
        raise OSError("no such disk")

    monkeypatch.setattr(whole_chain, "estimate_lines", failing)
    assert whole_chain._estimate(tiny_lake, build_graph(tiny_lake)) == []
