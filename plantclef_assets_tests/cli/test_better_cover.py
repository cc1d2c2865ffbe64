"""The run of the cover: named at the end of a command, and which one truth or the sweep would select."""

import pyarrow as pa

from plantclef_assets.cli.results import answers, better_cover
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.lake_corruption import Change, OwnLake, rewrite, with_column

BEST = "base_cls_2x2"


def scored(column: str, **scores: float) -> Change:
    """Return a change that scores runs, and no other."""

    def change(table: pa.Table) -> pa.Table:
        found = [scores.get(run) for run in table.column("run").to_pylist()]
        return with_column(table, column, pa.array(found, pa.float64()))

    return change


def test_the_run_that_the_truth_selects_is_recommended(own_lake: OwnLake) -> None:
    settings = own_lake()
    assert settings.cover_run_name == "base_dct_2x2_max2"
    change = scored("f1_plot", base_cls_full=0.9, base_cls_2x2=0.8, base_dct_2x2_max2=0.5)
    rewrite(settings, Artifact("leaderboard"), change)
    (line,) = better_cover(settings)  # whole plots have no cover
    assert "by base_dct_2x2_max2; ground truth prefers base_cls_2x2 (F1 0.800 against 0.500)" in line
    assert "PLANTCLEF_COVER__RUN=base_cls_2x2" in line
    assert better_cover(own_lake(cover={"run": BEST})) == []


def test_without_truth_the_sweep_selects(own_lake: OwnLake) -> None:
    settings = own_lake()
    rewrite(settings, Artifact("leaderboard"), scored("f1_plot"))
    rewrite(settings, Artifact("sweep"), scored("f1_plot", base_cls_2x2=0.7, base_dct_2x2_max2=0.6))
    (line,) = better_cover(settings)
    assert "the sweep on validation plots prefers base_cls_2x2 (F1 0.700 against 0.600)" in line
    rewrite(settings, Artifact("sweep"), scored("f1_plot", base_cls_2x2=0.6, base_dct_2x2_max2=0.7))
    assert better_cover(settings) == []


def test_the_cover_names_its_run(tiny_lake: Settings) -> None:
    assert any("their cover, by base_dct_2x2_max2, for a spreadsheet" in line for line in answers(tiny_lake))
    lake, artifact = Lake(tiny_lake.lake), Artifact("species_cover", "00")
    record, describe = lake.record(artifact), build_graph(tiny_lake).assets["species_cover"].shown.describe
    assert record and describe
    assert describe(lake, artifact, record)["run"] == "base_dct_2x2_max2"
