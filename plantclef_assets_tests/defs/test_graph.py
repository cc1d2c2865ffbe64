"""The asset graph: what there is, what depends on what, and who waits for which partitions."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from dagster import AssetKey, Definitions, FreshnessPolicy

from plantclef_assets.definitions import build_defs
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.keys import shard_keys
from plantclef_assets.settings import load_settings
from plantclef_assets_tests.tiny import tiny_settings, with_finetuned

SNAPSHOT = Path(__file__).with_name("graph.json")


def describe(defs: Definitions) -> dict:
    """Describe the graph in plain values."""
    graph = defs.resolve_asset_graph()
    described = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        described[key.to_user_string()] = {
            "depends_on": sorted(parent.to_user_string() for parent in node.parent_keys),
            "partitions": node.partitions_def.get_partition_keys() if node.partitions_def else None,
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "pools": sorted(node.pools or []),
            "code_version": node.code_version,
            "checks": sorted(check.name for check in node.check_keys),
        }
    return described


def test_the_demo_graph_is_the_one_in_the_snapshot(request: pytest.FixtureRequest) -> None:
    """After a wanted change, write the snapshot anew: python -m plantclef_assets_tests.defs.test_graph."""
    assert describe(build_defs(load_settings())) == json.loads(SNAPSHOT.read_text())


def test_loading_the_definitions_imports_no_heavy_library() -> None:
    code = "import plantclef_assets.definitions, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    heavy = {"torch", "torchvision", "timm", "pyspark", "dagster_pyspark", "dagster_gcp", "gcsfs", "pandas"}
    heavy |= {"scipy", "sklearn", "umap", "numba", "matplotlib", "google.cloud.storage"}
    assert heavy & set(loaded) == set()
    assert "plantclef_assets.defs.submissions" in loaded


def test_the_command_line_validates_the_definitions() -> None:
    command = [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "-m"]
    done = subprocess.run([*command, "plantclef_assets.definitions"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("finetuned", "inbox"), [(False, False), (True, False), (True, True)])
def test_recipes_and_dependencies_name_the_same_edges(
    tiny_survey: Path, tmp_path: Path, finetuned: bool, inbox: bool
) -> None:
    make = with_finetuned if finetuned else tiny_settings
    settings = make(tiny_survey, tmp_path, inbox=str(tmp_path) if inbox else None)
    graph = build_defs(settings).resolve_asset_graph()
    recipes = build_graph(settings).recipes
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == set(recipes)
    for name, recipe in recipes.items():
        inputs = {one.asset for artifact in recipe.artifacts for one in recipe.inputs(artifact.partition)}
        if name == "plot_report" and inbox:  # it reads the deliveries that are there; here are none
            inputs |= {"inbox_plots", "inbox_predictions", "inbox_cover", "inbox_novelty"}
        assert inputs == {parent.to_user_string() for parent in graph.get(AssetKey(name)).parent_keys}, name


def upstream_keys(defs: Definitions, downstream: str, key: str | None, upstream: str) -> set[str]:
    """Give the upstream partitions that one downstream partition waits for."""
    graph = defs.resolve_asset_graph()
    child, parent = graph.get(AssetKey(downstream)), graph.get(AssetKey(upstream))
    assert parent.partitions_def is not None
    mapping = graph.get_partition_mapping(child.key, parent.key)
    wanted = None if child.partitions_def is None else child.partitions_def.subset_with_partition_keys([key or ""])
    result = mapping.get_upstream_mapped_partitions_result_for_partitions(
        wanted, child.partitions_def, parent.partitions_def
    )
    return set(result.partitions_subset.get_partition_keys())


def test_every_edge_between_families_waits_for_what_it_needs(tiny_survey: Path, tmp_path: Path) -> None:
    settings = with_finetuned(tiny_survey, tmp_path)
    defs = build_defs(settings)
    training, plots = set(shard_keys(settings.training_shards)), set(shard_keys(settings.plot_shards))
    assert upstream_keys(defs, "classifier", "base_cls", "base_embeddings") == training
    assert upstream_keys(defs, "classifier", "base_cls", "finetuned_embeddings") == set()
    assert upstream_keys(defs, "classifier", "finetuned_cls", "finetuned_embeddings") == training
    used = {"base_cls", "base_dct", "finetuned_cls", "finetuned_head"}
    assert upstream_keys(defs, "tile_predictions", "01", "classifier") == used
    assert upstream_keys(defs, "finetuned_backbone", None, "resized_images") == training
    assert upstream_keys(defs, "tile_predictions", "01", "base_tile_embeddings") == {"01"}
    assert upstream_keys(defs, "submission", "base_cls_full", "tile_predictions") == plots
    assert upstream_keys(defs, "validation_plots", "01", "raw_images") == training
    assert upstream_keys(defs, "validation_plots", "01", "resized_images") == training
    assert upstream_keys(defs, "base_validation_tile_embeddings", "01", "validation_plots") == {"01"}
    assert upstream_keys(defs, "leaderboard", None, "submission") == set(settings.active_runs)
    assert upstream_keys(defs, "embedding_map", None, "base_embeddings") == training
    assert upstream_keys(defs, "embedding_map", None, "finetuned_embeddings") == training


def test_an_inbox_adds_a_side_of_its_own_that_waits_for_the_classifiers(tiny_survey: Path, tmp_path: Path) -> None:
    plain = describe(build_defs(tiny_settings(tiny_survey, tmp_path / "lake")))
    defs = build_defs(tiny_settings(tiny_survey, tmp_path / "lake", inbox=str(tmp_path), inbox_shards=101))
    with_inbox = describe(defs)
    reported = {"inbox_plots", "inbox_predictions", "inbox_novelty", "inbox_cover"}
    inbox = {"inbox_delivery", "base_inbox_tile_embeddings", *reported}
    assert set(with_inbox) - set(plain) == inbox
    plain["plot_report"]["depends_on"] = sorted({*plain["plot_report"]["depends_on"], *reported})
    assert {name: told for name, told in with_inbox.items() if name not in inbox} == plain
    for name in inbox:
        assert with_inbox[name]["partitions"] == [f"{number:02d}" for number in range(101)]
    assert upstream_keys(defs, "inbox_predictions", "100", "classifier") == {"base_cls", "base_dct"}
    assert upstream_keys(defs, "inbox_predictions", "100", "base_inbox_tile_embeddings") == {"100"}
    assert upstream_keys(defs, "inbox_plots", "07", "inbox_delivery") == {"07"}
    assert set(with_inbox["inbox_cover"]["depends_on"]) == {"inbox_predictions", "inbox_plots", "class_map"}


def test_the_assets_are_in_at_most_six_groups(tiny_survey: Path, tmp_path: Path) -> None:
    assets = describe(build_defs(with_finetuned(tiny_survey, tmp_path, inbox=str(tmp_path))))
    assert len({told["group"] for told in assets.values()}) <= 6


def test_owners_tags_and_freshness_are_settings(tiny_survey: Path, tmp_path: Path) -> None:
    changes = {"owners": ("ada@example.org", "team:botany"), "tags": {"survey": "alps-2026"}, "fresh_within_hours": 36}
    settings = tiny_settings(tiny_survey, tmp_path, inbox=str(tmp_path), **changes)
    graph = build_defs(settings).resolve_asset_graph()
    nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
    for node in nodes.values():
        assert node.owners == ["ada@example.org", "team:botany"]
        assert node.tags["survey"] == "alps-2026"
    windows = {name: node.freshness_policy for name, node in nodes.items() if node.freshness_policy}
    assert windows == dict.fromkeys(
        ("leaderboard", "species_cover", "inbox_cover"), FreshnessPolicy.time_window(fail_window=timedelta(hours=36))
    )


def test_an_inbox_needs_no_survey(tiny_survey: Path, tmp_path: Path) -> None:
    settings = tiny_settings(tiny_survey, tmp_path, plot_images=None, plot_truth=None, inbox=str(tmp_path))
    assets = describe(build_defs(settings))
    assert {"inbox_plots", "inbox_predictions", "inbox_cover"} <= set(assets)
    assert not {"plot_images", "tile_predictions", "validation_plots"} & set(assets)


def test_finetuned_assets_exist_only_with_finetuned_weights(tiny_survey: Path, tmp_path: Path) -> None:
    plain = describe(build_defs(tiny_settings(tiny_survey, tmp_path / "a")))
    tuned = describe(build_defs(with_finetuned(tiny_survey, tmp_path / "b")))
    assert set(tuned) - set(plain) == {
        "finetuned_backbone",
        "finetuned_embeddings",
        "finetuned_tile_embeddings",
        "finetuned_validation_tile_embeddings",
        "embedding_map",
    }
    assert tuned["classifier"]["partitions"] == ["base_dct", "base_cls", "finetuned_cls", "finetuned_head"]
    assert "finetuned_cls_full" in tuned["submission"]["partitions"]


@pytest.mark.parametrize("shards_per_run", [None, 2])
def test_backfills_are_cut_into_runs_where_a_setting_says_so(
    tiny_survey: Path, tmp_path: Path, shards_per_run: int | None
) -> None:
    graph = build_defs(tiny_settings(tiny_survey, tmp_path, shards_per_run=shards_per_run)).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.backfill_policy is not None
        expected = shards_per_run if node.partitions_def else None
        assert node.backfill_policy.max_partitions_per_run == expected, key


def test_without_plots_there_is_no_plot_side(tiny_survey: Path, tmp_path: Path) -> None:
    complete = describe(build_defs(tiny_settings(tiny_survey, tmp_path)))
    assets = describe(build_defs(tiny_settings(tiny_survey, tmp_path, plot_images=None, plot_truth=None)))
    plot_side = {"plot_manifest", "plot_images", "base_tile_embeddings", "tile_predictions", "tile_novelty"}
    plot_side |= {"species_cover"}
    results = {"submission", "leaderboard", "run_agreement", "plot_report"}
    validation = {"validation_plots", "base_validation_tile_embeddings", "sweep"}
    figures = {"figure_tiles", "figure_f1_by_species"}
    assert set(complete) - set(assets) == plot_side | results | validation | figures


@pytest.mark.parametrize(("changes", "composed"), [({}, True), ({"plots": 0}, False)])
def test_validation_plots_can_be_switched_off(
    tiny_survey: Path, tmp_path: Path, changes: dict[str, int], composed: bool
) -> None:
    defs = build_defs(tiny_settings(tiny_survey, tmp_path, validation=changes))
    validating = {name for name in describe(defs) if "validation" in name}
    assert validating == ({"validation_plots", "base_validation_tile_embeddings"} if composed else set())
    assert ("validation_side" in {job.name for job in defs.jobs or []}) is composed


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(describe(build_defs(load_settings())), indent=1) + "\n")
