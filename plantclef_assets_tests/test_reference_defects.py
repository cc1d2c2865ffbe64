"""The defects of the reference (DS@GT's code for PlantCLEF 2024), one test each that would fail if they were ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from plantclef_assets.images.tiling import tile_boxes
from plantclef_assets.ingest.validation_split import Sides, split_rows
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.classifier_files import read_classifier
from plantclef_assets.models.fitting import fit_classifier
from plantclef_assets.models.training_config import TrainingConfig
from plantclef_assets.scoring.cover_files import box_of
from plantclef_assets.scoring.submission_format import read_species_of_plots
from plantclef_assets.settings import Settings
from plantclef_assets_tests.defs.lake_corruption import record_of, rewrite
from plantclef_assets_tests.tiny import SPECIES, materialize

OwnLake = Callable[..., Settings]
SHARDS = ("00", "01")
PLOTS = [f"PLOT-{number}-20240501" for number in range(4)]


def rows_of(settings: Settings, asset: str, **wanted: Any) -> list[dict[str, Any]]:
    """Give the rows of all plot shards that have the wanted values."""
    tables = (Lake(settings.lake).read(Artifact(asset, shard)) for shard in SHARDS)
    rows = (row for table in tables for row in table.to_pylist())
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def classifier_of(settings: Settings, feature_set: str) -> Any:
    return read_classifier(Lake(settings.lake).path(Artifact("classifier", feature_set, "safetensors")))


def test_a_tile_has_one_number_and_one_place_in_every_table(tiny_lake: Settings) -> None:
    """There: the order of the tiles differs between modules."""
    wanted = {(plot, tile.index): tile.box for plot in PLOTS for tile in tile_boxes(240, 240, "2x2")}
    embedded = rows_of(tiny_lake, "base_tile_embeddings", tiling="2x2")
    predicted = rows_of(tiny_lake, "tile_predictions", tiling="2x2", feature_set="base_dct", rank=1)
    covered = {
        (row["plot_id"], place["tile_index"]): box_of(place)
        for row in rows_of(tiny_lake, "species_cover")
        for place in row["positions"]
    }
    for rows in (embedded, predicted):
        boxes = {(row["plot_id"], row["tile_index"]): (row["x"], row["y"], row["width"], row["height"]) for row in rows}
        assert boxes == wanted
    assert covered == wanted
    features = np.array([row["dct"] for row in embedded], np.float32)
    best = classifier_of(tiny_lake, "base_dct").top_k(features, 1)[0][:, 0].tolist()
    said = {(row["plot_id"], row["tile_index"]): row["species_id"] for row in predicted}
    assert said == {(row["plot_id"], row["tile_index"]): one for row, one in zip(embedded, best, strict=True)}


def test_labels_are_those_that_the_classifier_learned(own_lake: OwnLake) -> None:
    """There: the numbers of the classes are counted anew at inference, and mean other species if the data changed."""
    settings = own_lake()
    before = rows_of(settings, "tile_predictions")
    official = Path(settings.lake).parent / "class_mapping.txt"
    official.write_text("".join(f"{species}\n" for species in reversed(SPECIES)))
    renumbered = own_lake(class_mapping=str(official))
    assert materialize(renumbered, "class_map,training_manifest").success
    classes = Lake(settings.lake).read(Artifact("class_map")).to_pylist()
    assert [row["species_id"] for row in classes] == [*reversed(SPECIES)]
    assert materialize(renumbered, "classifier", first="base_dct", last="base_cls").success
    assert materialize(renumbered, "tile_predictions", first="00", last="01").success
    assert rows_of(settings, "tile_predictions") == before


def test_no_observation_is_on_both_sides_and_tags_decide(tiny_lake: Settings) -> None:
    """There: photographs are split at random, whatever their obs_id and learn_tag."""
    observations = [f"o{number // 4}" for number in range(400)]
    train, validation = split_rows([None] * 400, observations, seed=1)
    names = np.array(observations)
    assert not set(names[train]) & set(names[validation])
    assert validation.any() and (train | validation).all()
    tags = ["train", "val", "test", "train"] * 100
    train, validation = split_rows(tags, observations, seed=1)
    assert np.array(tags)[train].tolist() == ["train"] * 200
    assert np.array(tags)[validation].tolist() == ["val"] * 100
    figures = record_of(tiny_lake, Artifact("classifier", "base_cls", "safetensors")).statistics
    assert figures["train_rows"] + figures["holdout_rows"] == 36
    assert (figures["validation_rows"], figures["shared_observations"]) == (12, 0)


def test_the_best_epoch_is_kept() -> None:
    """There: the last one."""
    random = np.random.default_rng(0)
    features, species = random.normal(size=(90, 30)).astype(np.float32), random.integers(0, 3, 90)
    learn, held_out, reported = np.arange(90) < 30, np.arange(90) // 30 == 1, np.arange(90) >= 60
    config = TrainingConfig(epochs=40, patience=40, learning_rates=(0.05,), calibrate=False)
    sides = Sides(learn=learn, holdout=held_out, validation=reported)
    classifier = fit_classifier(features, species, sides, config=config)
    losses = classifier.metrics["stopping_losses"]
    likelihood = classifier.probabilities(features[held_out])[np.arange(30), species[held_out]]
    assert -np.log(likelihood).mean() == pytest.approx(min(losses), rel=1e-4)
    assert losses[-1] > 1.1 * min(losses)


def test_a_species_with_one_photograph_can_be_answered(tiny_lake: Settings) -> None:
    """There: 3,009 species with fewer than a hundred photographs are no classes."""
    species = np.repeat([1, 2, 3], [100, 100, 1])
    features = np.eye(3, dtype=np.float32)[species - 1]
    held_out = np.arange(len(species)) % 5 == 1
    held_out[-1] = False
    sides = Sides(learn=~held_out, holdout=np.zeros(len(species), bool), validation=held_out)
    classifier = fit_classifier(features, species, sides, config=TrainingConfig(epochs=50))
    assert classifier.top_k(features[-1:], 1)[0].tolist() == [[3]]
    classes = Lake(tiny_lake.lake).read(Artifact("class_map"), ["species_id"]).column("species_id").to_pylist()
    assert sorted(classes) == classifier_of(tiny_lake, "base_cls").species_ids.tolist()


def test_a_plot_without_predictions_is_answered_all_the_same(own_lake: OwnLake) -> None:
    """There: an inner join can lose plots."""
    settings = own_lake()
    lost = PLOTS[1]
    rewrite(
        settings,
        Artifact("tile_predictions", "00"),
        lambda table: table.filter(pc.not_equal(table.column("plot_id"), lost)),
    )
    assert materialize(settings, "submission", first="base_cls_full", last="base_dct_2x2_max2").success
    assert materialize(settings, "species_cover", first="00", last="01").success
    for run in settings.active_runs:
        for suffix in ("csv", "2024.csv"):
            answers = read_species_of_plots(Path(settings.lake, "submission", f"{run}.{suffix}"))
            assert [plot for plot, species in answers.items() if not species] == [lost]
            assert list(answers) == PLOTS
    assert {row["plot_id"] for row in rows_of(settings, "species_cover")} == set(PLOTS)


def test_a_confident_tile_does_not_take_the_answers_of_the_others(own_lake: OwnLake) -> None:
    """There: the entries of all tiles are sorted and the first five taken, and all may be of one tile.

    Here the first tile is so sure that its second species beats what the other three tiles agree on. (`max` and `mean`
    rank species by probability alone; whoever wants an answer for each tile chooses one of these three.)
    """
    first, second, third = SPECIES
    sure = {1: (first, 0.5), 2: (second, 0.45), 3: (third, 0.05)}
    others = {1: (third, 0.4), 2: (first, 0.3), 3: (second, 0.3)}
    entries = sorted([*sure.values(), *[*others.values()] * 3], key=lambda entry: -entry[1])
    assert [species for species, _ in entries[:2]] == [first, second], "the first two of the reference"

    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        for row in rows:
            row["species_id"], row["probability"] = (others if row["tile_index"] else sure)[row["rank"]]
        return pa.Table.from_pylist(rows, schema=table.schema)

    rules: dict[str, dict[str, Any]] = {
        "argmax_union": {},
        "topk_union": {"top_per_tile": 1, "species_per_plot": 2},
        "vote": {"species_per_plot": 2},
    }
    tiles = {"feature_set": "base_cls", "tiling": "2x2"}
    runs = {rule: {**tiles, "aggregation": rule, **parameters} for rule, parameters in rules.items()}
    settings = own_lake(runs={**own_lake().model_dump()["runs"], **runs})
    for shard in SHARDS:
        rewrite(settings, Artifact("tile_predictions", shard), change)
    assert materialize(settings, "submission", first="argmax_union", last="vote").success
    for rule in rules:
        answers = read_species_of_plots(Path(settings.lake, "submission", f"{rule}.csv"))
        assert [sorted(species) for species in answers.values()] == [[first, third]] * len(PLOTS), rule


def test_of_257_tokens_only_the_first_and_64_coefficients_are_stored(finetuned_lake: Settings) -> None:
    """There: all tokens, 790 kB a photograph and 1.1 TB for the data set."""
    for asset in ("base_embeddings", "finetuned_embeddings", "base_tile_embeddings", "finetuned_tile_embeddings"):
        schema = record_of(finetuned_lake, Artifact(asset, "00")).schema
        assert schema is not None
        widths = {field.name: field.type.list_size for field in schema if pa.types.is_fixed_size_list(field.type)}
        of_dct = {"dct": 64} if asset.startswith("base") else {}
        assert widths == {"cls": classifier_of(finetuned_lake, "base_cls").weight.shape[1], **of_dct}


def test_classifiers_and_runs_are_judged_by_what_they_have_not_seen(tiny_lake: Settings) -> None:
    """There: no evaluation, and no tests."""
    for feature_set in tiny_lake.feature_sets:
        figures = record_of(tiny_lake, Artifact("classifier", feature_set, "safetensors")).statistics
        assert 0 <= figures["accuracy"] <= 1 and 0 < figures["majority_rate"] <= 1
    board = Lake(tiny_lake.lake).read(Artifact("leaderboard")).to_pylist()
    assert {row["run"] for row in board} == set(tiny_lake.active_runs)
    assert all(row["plots"] == 3 and 0 < row["f1_plot"] <= 1 for row in board)
