"""Runs that need all classes, priors and lists of species through the real chain, and how alike runs are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dagster import AssetKey, DagsterInstance

from plantclef_assets.definitions import build_defs
from plantclef_assets.defs.graph import build_graph
from plantclef_assets.lake.provenance import Lineage
from plantclef_assets.lake.store import Artifact, Lake, record_metadata
from plantclef_assets.lake.tables import Shard
from plantclef_assets.models.classifier_files import fingerprint_classifier, read_classifier, write_classifier
from plantclef_assets.models.linear import LinearClassifier
from plantclef_assets.scoring import priors
from plantclef_assets.scoring.agreement import RunAgreement
from plantclef_assets.scoring.prediction import predict
from plantclef_assets.scoring.rules import Rule
from plantclef_assets.scoring.tile_probabilities import read_top_species
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import SettingsError
from plantclef_assets_tests.defs.chain_runs import evaluate_checks, evaluations
from plantclef_assets_tests.defs.lake_corruption import record_of, rewrite, with_column
from plantclef_assets_tests.defs.test_graph import upstream_keys
from plantclef_assets_tests.defs.test_materialization import materialization_metadata
from plantclef_assets_tests.tiny import SPECIES, failed_checks, materialize

OwnLake = Callable[..., Settings]
FIRST_SPECIES, SECOND_SPECIES, THIRD_SPECIES = SPECIES
MEAN = {"feature_set": "base_cls", "tiling": "2x2", "aggregation": "mean", "species_per_plot": 1}


def with_runs(own_lake: OwnLake, runs: dict[str, dict[str, Any]], **changes: Any) -> Settings:
    """Give the settings of a lake of one's own with more runs."""
    return own_lake(runs=own_lake().model_dump()["runs"] | runs, **changes)


def answers(settings: Settings, run: str) -> dict[str, list[int]]:
    rows = Lake(settings.lake).read(Artifact("submission", run)).to_pylist()
    return {row["plot_id"]: row["species_ids"] for row in rows}


def let_tiles_say(settings: Settings, said: np.ndarray) -> None:
    """Let tile i of every plot be row i of said (T, S), over again: features choose a row, a classifier says it."""
    lake = Lake(settings.lake)
    artifact = Artifact("classifier", "base_cls", "safetensors")
    before, record = read_classifier(lake.path(artifact)), record_of(settings, artifact)
    weight = np.zeros((len(SPECIES), len(before.mean)), np.float32)
    weight[:, : len(said)] = np.log(said).T
    still = np.zeros_like(before.mean)
    classifier = LinearClassifier(still, still + 1, weight, np.zeros(len(SPECIES), np.float32), before.species_ids)
    stamp = record_metadata(record.provenance, fingerprint_classifier(classifier), record.statistics)
    write_classifier(lake.path(artifact), classifier, stamp)

    def change(table: pa.Table) -> pa.Table:
        rows = np.eye(len(before.mean), dtype=np.float32)[np.array(table.column("tile_index")) % len(said)]
        kind = table.schema.field("cls").type
        return with_column(table, "cls", pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), type=kind))

    for shard in ("00", "01"):
        rewrite(settings, Artifact("base_tile_embeddings", shard), change)


SAID = np.array([[0.5, 0.45, 0.05], [0.05, 0.45, 0.5]])
"""Each tile is surest of another species, but both know the second one well."""


def test_a_mean_over_all_classes_is_another_than_over_the_best_of_each_tile(own_lake: OwnLake) -> None:
    settings = with_runs(own_lake, {"mean": MEAN}, top_k=1)
    let_tiles_say(settings, SAID)
    assert materialize(settings, "tile_predictions", first="00", last="01").success
    assert materialize(settings, "submission", first="mean").success
    over_all = answers(settings, "mean")
    kept = pa.concat_tables(
        Lake(settings.lake).read(Artifact("tile_predictions", shard), filters=[("tiling", "=", "2x2")])
        for shard in ("00", "01")
    ).filter(pa.compute.field("feature_set") == "base_cls")
    assert set(kept.column("rank").to_pylist()) == {1}
    of_kept = predict(read_top_species(kept), Rule("mean", {"species_per_plot": 1}))
    assert of_kept.keys() == over_all.keys()
    assert [*of_kept.values()] == [[FIRST_SPECIES]] * 4
    assert [*over_all.values()] == [[SECOND_SPECIES]] * 4


def test_a_run_reads_only_what_it_needs(own_lake: OwnLake) -> None:
    settings = with_runs(own_lake, {"mean": MEAN, "prior": MEAN | {"feature_set": "base_dct", "prior": "frequency"}})
    recipe = build_graph(settings).recipes["submission"]
    assert {str(one) for one in recipe.inputs("base_cls_2x2")} == {
        "tile_predictions/00",
        "tile_predictions/01",
        "plot_manifest",
        "class_map",
    }
    assert {str(one) for one in recipe.inputs("prior")} == {
        "base_tile_embeddings/00",
        "base_tile_embeddings/01",
        "classifier/base_dct",
        "plot_manifest",
        "class_map",
    }
    defs = build_defs(settings)
    for run, features, classifier, predictions in (
        ("base_cls_2x2", set(), set(), {"00", "01"}),
        ("mean", {"00", "01"}, {"base_cls"}, set()),
        ("prior", {"00", "01"}, {"base_dct"}, set()),
    ):
        assert upstream_keys(defs, "submission", run, "base_tile_embeddings") == features
        assert upstream_keys(defs, "submission", run, "classifier") == classifier
        assert upstream_keys(defs, "submission", run, "tile_predictions") == predictions
    parents = {parent.to_user_string() for parent in defs.resolve_asset_graph().get(AssetKey("submission")).parent_keys}
    assert parents == {"tile_predictions", "base_tile_embeddings", "classifier", "plot_manifest", "class_map"}


def test_other_runs_leave_a_submission_as_it_is(own_lake: OwnLake) -> None:
    settings = with_runs(own_lake, {"mean": MEAN | {"feature_set": "base_dct"}})
    lake, recipes = Lake(settings.lake), build_graph(settings).recipes
    assert Lineage(lake, recipes).stale(Artifact("submission", "base_dct_2x2_max2")) is None


PRIOR = {"feature_set": "base_cls", "tiling": "2x2", "prior": "frequency"}


def test_a_prior_has_its_effect_and_says_so(own_lake: OwnLake) -> None:
    settings = with_runs(own_lake, {"region": PRIOR | {"prior": "region", "prior_power": 4}})
    let_tiles_say(settings, np.array([[0.5, 0.45, 0.05], [0.45, 0.5, 0.05], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]]))
    result = materialize(settings, "submission", first="region")
    assert result.success
    assert ("submission", "prior_has_effect") not in failed_checks(result)
    figures = record_of(settings, Artifact("submission", "region")).statistics
    assert (figures["plots_changed"], figures["pairs_kept"]) == (4, 0.5)
    assert [*answers(settings, "region").values()] == [[SECOND_SPECIES]] * 4
    recipe = build_graph(settings).recipes["submission"]
    assert recipe.config("region")["region_patterns"] == []
    assert "region_patterns" not in recipe.config("base_cls_2x2")


def test_a_prior_over_class_indices_is_found(own_lake: OwnLake, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_runs(own_lake, {"frequency": PRIOR})
    by_species = priors.frequency_prior
    by_index = {0: 900, 1: 1, 2: 5}
    by_mistake = lambda inputs: by_species(replace(inputs, images=by_index))  # noqa: E731
    monkeypatch.setitem(priors.PRIORS, "frequency", by_mistake)
    result = materialize(settings, "submission", first="frequency")
    assert result.success
    assert ("submission", "prior_has_effect") in failed_checks(result)
    found = evaluations(evaluate_checks(settings, "submission"), "submission")["prior_has_effect"]
    assert "submission/frequency: its prior or list of species changes no plot" in str(found.description)


def test_a_list_of_species_limits_the_answers(own_lake: OwnLake) -> None:
    file = Path(own_lake().lake).parent / "checklist.csv"
    file.write_text(f"species_id,name\n{SECOND_SPECIES},b\n{THIRD_SPECIES},c\n7,unknown\n")
    listed = {"feature_set": "base_cls", "tiling": "2x2", "species_list": str(file)}
    settings = with_runs(own_lake, {"listed": listed})
    let_tiles_say(settings, SAID)
    assert materialize(settings, "submission", first="listed").success
    assert [*answers(settings, "listed").values()] == [[THIRD_SPECIES, SECOND_SPECIES]] * 4
    figures = record_of(settings, Artifact("submission", "listed")).statistics
    assert (figures["species_listed"], figures["species_matched"]) == (3, 2)
    assert (figures["plots_changed"], figures["pairs_kept"]) == (4, 0.5)
    assert Lineage(Lake(settings.lake), build_graph(settings).recipes).stale(Artifact("submission", "listed")) is None
    file.write_text(f"{SECOND_SPECIES}\n")
    reason = Lineage(Lake(settings.lake), build_graph(settings).recipes).stale(Artifact("submission", "listed"))
    assert reason is not None
    assert "species_list" in reason
    with pytest.raises(SettingsError, match=r"RUNS__LISTED__SPECIES_LIST: there is no file '/nowhere\.csv'"):
        load_settings(runs={"listed": listed | {"species_list": "/nowhere.csv"}})


def test_runs_are_held_side_by_side(tiny_lake: Settings) -> None:
    rows = Lake(tiny_lake.lake).read(Artifact("run_agreement")).to_pylist()
    runs = list(tiny_lake.active_runs)
    assert [(row["run_a"], row["run_b"]) for row in rows] == [
        (runs[0], runs[1]),
        (runs[0], runs[2]),
        (runs[1], runs[2]),
    ]
    full, grid = (answers(tiny_lake, run) for run in runs[:2])
    expected = [len({*full[plot]} & {*grid[plot]}) / len({*full[plot]} | {*grid[plot]}) for plot in full]
    assert rows[0]["jaccard"] == pytest.approx(np.mean(expected))
    assert (rows[0]["species_per_plot_a"], rows[0]["plots"]) == (1, 4)
    with DagsterInstance.ephemeral() as instance:
        assert materialize(tiny_lake, "run_agreement", instance=instance).success
        shown = materialization_metadata(instance, "run_agreement")[None]
    assert "data:image/png;base64," in str(shown["agreement"])


def test_one_run_alone_has_none_to_agree_with(own_lake: OwnLake) -> None:
    lake, artifact = Lake(own_lake().lake), Artifact("run_agreement")
    RunAgreement(lake, ["base_cls_full"])(Shard(artifact, {}))
    assert lake.read(artifact).num_rows == 0
