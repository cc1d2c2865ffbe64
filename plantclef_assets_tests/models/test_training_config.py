import pytest

from plantclef_assets.models.training_config import LOSSES, PRESETS, STARTS, TrainingConfig


@pytest.mark.parametrize("name", ["batch_size", "patience", "min_images"])
def test_what_has_to_be_positive_is(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be more than 0"):
        TrainingConfig(**{name: 0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "ones"}, "start is 'ones'; use one of zeros, centroids, lda, ridge"),
        ({"loss": "hinge"}, "loss is 'hinge'; use one of nll, asymmetric"),
        ({"stop_on": "test"}, "stop_on is 'test'"),
        ({"epochs": -1}, "epochs is -1; it must be at least 0"),
        ({"epochs": 0}, "the start is the classifier, and zeros cannot be one"),
        ({"hidden": 8, "start": "lda"}, "with hidden it has to be zeros"),
        ({"learning_rates": ()}, "at least one is needed"),
        ({"learning_rates": (0.1, 0.0)}, "all more than 0"),
        ({"shrinkage": 1.5}, "shrinkage is 1.5; it must be at most 1"),
        ({"stop_on": "val"}, "calibrate needs held-out photographs"),
    ],
)
def test_what_cannot_train_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**options)


def test_starts_and_losses_are_the_registered_functions():
    assert STARTS == ("zeros", "centroids", "lda", "ridge")
    assert LOSSES == ("nll", "asymmetric")


def test_only_what_differs_from_the_defaults_is_recorded():
    assert TrainingConfig().changes() == {}
    assert TrainingConfig(epochs=100, learning_rates=(0.002,)).changes() == {}
    assert TrainingConfig(**PRESETS["paper"]).changes() == {
        "epochs": 10,
        "min_images": 100,
        "calibrate": False,
        "stop_on": "val",
    }
    assert TrainingConfig(learning_rates=(0.1, 0.2)).changes() == {"learning_rates": [0.1, 0.2]}
