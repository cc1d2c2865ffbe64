"""Unknown scores: of features, and as tables of the lake."""

import numpy as np
import pytest

from plantclef_assets.ingest.validation_split import Sides
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.models.classifier_files import open_classifier
from plantclef_assets.models.fitting import fit_classifier
from plantclef_assets.models.linear import LinearClassifier
from plantclef_assets.models.novelty import SCORES, quantiles, unknown_scores
from plantclef_assets.models.training_config import TrainingConfig
from plantclef_assets_tests.models.blobs import SPECIES, blobs


def test_scores_follow_from_the_logits() -> None:
    weight = np.eye(2, dtype=np.float32)
    ids, zeros = np.array([1, 2]), np.zeros(2, np.float32)
    classifier = LinearClassifier(zeros, np.ones(2, np.float32), weight, zeros, ids)
    features = np.array([[0.0, 0.0], [3.0, 1.0]], np.float32)
    found = {name: unknown_scores(classifier, features, score) for name, score in SCORES.items()}
    np.testing.assert_allclose(found["energy"], [-np.log(2), -np.log(np.exp(3) + np.exp(1))], rtol=1e-6)
    np.testing.assert_allclose(found["max_logit"], [0, -3])
    np.testing.assert_allclose(found["max_probability"], [-0.5, -1 / (1 + np.exp(-2))], rtol=1e-6)
    assert len(unknown_scores(classifier, features[:0])) == 0


@pytest.mark.parametrize("score", SCORES)
def test_a_species_that_was_left_out_scores_higher(score: str) -> None:
    features, species_id = blobs(600, spread=0.3)
    known = species_id != SPECIES[2]
    third = np.arange(600) % 3
    sides = Sides(known & (third == 0), known & (third == 1), known & (third == 2))
    classifier = fit_classifier(features, species_id, sides, config=TrainingConfig(start="ridge", epochs=0))
    scores = unknown_scores(classifier, features, SCORES[score])
    assert np.median(scores[~known]) > np.quantile(scores[sides.validation], 0.8)


def test_a_quantile_is_the_share_of_lower_reference_scores() -> None:
    reference = np.array([-4.0, -2.0, -2.0, 0.0], np.float32)
    found = quantiles(np.array([-5.0, -4.0, -2.0, -1.0, 1.0], np.float32), reference)
    assert found.tolist() == [0.0, 0.0, 0.25, 0.75, 1.0]
    assert found.dtype == np.float32


def test_tiles_are_compared_with_the_validation_photographs_of_their_classifier(tiny_lake) -> None:
    lake = Lake(tiny_lake.lake)
    validated = lake.read(Artifact("val_predictions", "base_cls"), ["image_name"]).column("image_name")
    reference = lake.read(Artifact("val_novelty", "base_cls"))
    assert reference.column("image_name") == validated
    rows = lake.read(Artifact("tile_novelty", "00")).to_pylist()
    predicted = lake.read(Artifact("tile_predictions", "00"), filters=[("rank", "=", 1)]).to_pylist()
    tile = ("plot_id", "feature_set", "tiling", "tile_index")
    assert [[row[name] for name in tile] for row in rows] == [[row[name] for name in tile] for row in predicted]
    embedded = lake.read(Artifact("base_tile_embeddings", "00"), filters=[("tiling", "=", "2x2")])
    features = np.array(embedded.column("cls").to_pylist(), np.float32)
    wanted = unknown_scores(open_classifier(lake, "base_cls"), features)
    found = [row for row in rows if (row["feature_set"], row["tiling"]) == ("base_cls", "2x2")]
    np.testing.assert_allclose([row["score"] for row in found], wanted, rtol=1e-5)
    known = np.array(reference.column("score").to_pylist())
    for row in found:
        assert row["unknown"] == pytest.approx(np.mean(known < row["score"]))
