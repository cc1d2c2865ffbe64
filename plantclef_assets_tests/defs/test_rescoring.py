"""Scoring anew: another rule for the same tiles costs seconds, and touches nothing that took hours."""

from collections.abc import Callable
from pathlib import Path

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.settings import Settings
from plantclef_assets_tests.tiny import materialize, materialized

OwnLake = Callable[..., Settings]


def files_of(settings: Settings) -> dict[str, tuple[int, bytes]]:
    """Give the time of the last change and the content of every file of a lake."""
    root = Path(settings.lake)
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


def stale(settings: Settings) -> list[str]:
    """Say what is not as the settings, the sources and its inputs ask for."""
    recipes = build_graph(settings).recipes
    lineage = Lineage(Lake(settings.lake), recipes)
    artifacts = (artifact for recipe in recipes.values() for artifact in recipe.artifacts)
    return [reason for artifact in artifacts if (reason := lineage.stale(artifact, with_sources=True))]


def test_another_aggregation_makes_lists_and_scores_again_and_nothing_else(own_finetuned_lake: OwnLake) -> None:
    settings = own_finetuned_lake()
    before = files_of(settings)
    assert not stale(settings)
    runs = settings.model_dump()["runs"]
    runs["base_dct_2x2_max2"] |= {"aggregation": "mean", "species_per_plot": 1}
    runs["finetuned_head_2x2"] |= {"aggregation": "vote", "min_votes": 3}
    changed = own_finetuned_lake(runs=runs)
    assert [reason.split(" was made with ")[0] for reason in stale(changed)][:2] == [
        "submission/base_dct_2x2_max2",
        "submission/finetuned_head_2x2",
    ]
    results = ("submission,leaderboard,run_agreement", "base_cls_full", "finetuned_head_2x2"), ("sweep", None, None)
    for selection, first, last in results:
        result = materialize(changed, selection, first=first, last=last)
        assert result.success
        assert materialized(result) == set(selection.split(","))
    after = files_of(changed)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {
        "leaderboard.parquet",
        "run_agreement.parquet",
        "sweep.parquet",
        *(f"submission/base_dct_2x2_max2.{suffix}" for suffix in ("csv", "2024.csv", "parquet")),
        *(f"submission/finetuned_head_2x2.{suffix}" for suffix in ("csv", "2024.csv", "parquet")),
    }
    assert all(reason.startswith(("plot_report ", "figure_")) for reason in stale(changed)), (
        "only what shows them is left"
    )
    rules = {row["run"]: row["aggregation"] for row in Lake(changed.lake).read(Artifact("leaderboard")).to_pylist()}
    assert rules["base_dct_2x2_max2"] == "mean(species_per_plot=1)"
    assert rules["finetuned_head_2x2"] == "vote(min_votes=3)"
