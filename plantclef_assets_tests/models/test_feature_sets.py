import pytest

from plantclef_assets.lake.keys import CHECKPOINT_HEAD, TRAINED_FEATURE_SETS
from plantclef_assets.models.feature_sets import FEATURE_SETS, FeatureSet, feature_set


@pytest.mark.parametrize("declared", FEATURE_SETS)
def test_a_declared_name_is_its_feature_set(declared: FeatureSet) -> None:
    assert feature_set(declared.name) is declared


@pytest.mark.parametrize(
    ("name", "backbone", "column"),
    [
        ("base_cls_centroid", "base", "cls"),
        ("base_dct_two_layers", "base", "dct"),
        ("finetuned_cls_head", "finetuned", "cls"),
    ],
)
def test_a_suffix_names_another_classifier_on_the_same_features(name: str, backbone: str, column: str) -> None:
    assert feature_set(name) == FeatureSet(name, backbone, column)


@pytest.mark.parametrize("name", ["", "base", "base_", "base_clsx", "other_cls", "finetuned_head_lda", "finetuned_dct"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"no feature set '{name}'; use one of base_dct, base_cls"):
        feature_set(name)


def test_the_keys_of_the_lake_are_those_of_the_feature_sets() -> None:
    assert tuple(one.name for one in FEATURE_SETS if not one.from_checkpoint) == TRAINED_FEATURE_SETS
    assert [one.name for one in FEATURE_SETS if one.from_checkpoint] == [CHECKPOINT_HEAD]
