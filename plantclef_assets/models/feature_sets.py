"""Feature sets: the features that classifiers are functions of, and the names of classifiers.

What belongs here: the declaration of every feature set, and the resolution of a name from the settings. Other code
uses a `FeatureSet` or its fields, and never derives them from a name. This module imports no library.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class FeatureSet:
    """A classifier and the features that it is a function of.

    Attributes:
        name: name of the classifier, and its partition key.
        backbone: `base` or `finetuned`.
        column: column of the embeddings, `cls` or `dct`.
        from_checkpoint: whether the classifier is the one inside the backbone's checkpoint, which is not trained here.
    """

    name: str
    backbone: str
    column: str
    from_checkpoint: bool = False


FEATURE_SETS = (
    FeatureSet("base_dct", "base", "dct"),
    FeatureSet("base_cls", "base", "cls"),
    FeatureSet("finetuned_cls", "finetuned", "cls"),
    FeatureSet("finetuned_head", "finetuned", "cls", from_checkpoint=True),
)
"""The declared feature sets."""
TRAINED = tuple(declared.name for declared in FEATURE_SETS if not declared.from_checkpoint)
"""The names of those that classifiers are trained on here."""


def feature_set(name: str) -> FeatureSet:
    """Return the feature set of a classifier's name.

    The name is that of a declared feature set, or one followed by `_` and a suffix for a further classifier on the same
    features: `base_cls_lda` is trained on `base_cls`.

    Raises:
        ValueError: the name begins with no declared feature set.
    """
    for declared in FEATURE_SETS:
        if name == declared.name:
            return declared
        if name.startswith(f"{declared.name}_") and not declared.from_checkpoint:
            return replace(declared, name=name)
    known = ", ".join(declared.name for declared in FEATURE_SETS)
    raise ValueError(f"there is no feature set '{name}'; use one of {known}")


@dataclass(frozen=True)
class PredictionConfig:
    """What tile predictions depend on; it is recorded in their provenance.

    Attributes:
        top_k: number of species per tile.
        feature_sets_and_tilings: pairs of a classifier's name and a tiling, sorted.
    """

    top_k: int
    feature_sets_and_tilings: tuple[tuple[str, str], ...]
