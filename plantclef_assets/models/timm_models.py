"""timm's vision transformers, without classifier: made for one input size, and given the tensors of a checkpoint."""

import contextlib
from typing import cast

import torch

from plantclef_assets.models import small_vit  # noqa: F401  (timm knows our own model once it is imported)
from plantclef_assets.models.timm_import import import_timm
from plantclef_assets.models.weights import Weights, WeightsError, separate_classifier

timm = import_timm()

from timm.models import clean_state_dict  # noqa: E402
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn  # noqa: E402

_LISTED_AT_MOST = 3


def create_model(name: str, input_size: int | None, *, pretrained: bool = False) -> VisionTransformer:
    """Create a timm model without classifier, checking that it is one whose tokens we understand.

    Args:
        name: a vision transformer that timm (or this package) knows.
        input_size: side of the square input in pixels; the model's own if None.
        pretrained: whether timm fetches its own weights for it.

    Raises:
        ValueError: an unknown model, or an input size that patches do not divide.
        WeightsError: the weights could not be fetched.
    """
    if not timm.is_model(name):
        raise ValueError(f"timm {timm.__version__} knows no model {name!r}; timm.list_models('vit_*') lists them")
    arguments = {} if input_size is None else {"img_size": input_size}
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **arguments)
    except TypeError as error:
        raise ValueError(f"the model {name!r} is no plain vision transformer ({error})") from error
    except Exception as error:  # the hub's client raises errors of several HTTP libraries
        if not pretrained:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"the weights of {name!r} could not be fetched from the hub ({reason}); give a file of weights instead"
        ) from error
    if not isinstance(model, VisionTransformer) or not model.has_class_token:
        raise ValueError(f"the model {name!r} is no vision transformer with a [CLS] token")
    patch = model.patch_embed.patch_size[0]
    side = input_size or model.patch_embed.img_size[0]
    if side % patch:
        raise ValueError(
            f"an input size of {side} px is no multiple of {name!r}'s patches of {patch} px; "
            f"the nearest is {max(1, round(side / patch)) * patch}"
        )
    return model


def load_checkpoint(model: VisionTransformer, name: str, weights: Weights) -> None:
    """Load a checkpoint's backbone tensors strictly; those of its own classifier are set aside.

    Raises:
        WeightsError: the tensors do not fit; the first of each kind that does not are named.
    """
    tensors, _classifier = separate_classifier(clean_state_dict(dict(weights.tensors)))
    # In float32 first: resampling a half-precision position embedding would round it a second time.
    tensors = {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}
    # Where conversion fails the tensors are those of another model, which the comparison below says best.
    with contextlib.suppress(RuntimeError, KeyError, ValueError, AttributeError):
        tensors = cast("dict[str, torch.Tensor]", checkpoint_filter_fn(tensors, model))
    expected = model.state_dict()
    misshapen = [
        f"{key} {tuple(tensors[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & tensors.keys()
        if tensors[key].shape != expected[key].shape
    ]
    problems = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "misshapen": sorted(misshapen),
    }
    if any(problems.values()):
        listed = "; ".join(f"{kind}: {_listing(names)}" for kind, names in problems.items() if names)
        raise WeightsError(f"{weights.source} does not fit {name!r}: {listed}")
    model.load_state_dict(tensors)


def _listing(names: list[str]) -> str:
    """Name the tensors, up to a number that a person can still read."""
    more = len(names) - _LISTED_AT_MOST
    return ", ".join(names[:_LISTED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
