"""Configuration of fine-tuning, and the split into photographs to learn from and held-out ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plantclef_assets.configuration import setting
from plantclef_assets.ingest.validation_split import hold_out

if TYPE_CHECKING:  # settings import this module, and must not load torch
    from plantclef_assets.models.shuffled_photographs import Photographs


@dataclass(frozen=True)
class FinetuningSettings:
    """How the base backbone is fine-tuned on the training photographs."""

    head_epochs: int = setting(
        12, "Passes over the stored [CLS] features in which only the classifier learns.", unit="epochs", gt=0
    )
    epochs: int = setting(
        8, "Passes over the photographs after that, in which the backbone learns too.", unit="epochs", gt=0
    )
    blocks: int | None = setting(
        None, "Number of blocks that learn, from the last one; not set: the whole backbone.", gt=0
    )
    head_learning_rate: float = setting(0.002, "Learning rate of AdamW while only the classifier learns.", gt=0)
    learning_rate: float = setting(
        0.0005, "Learning rate of AdamW after that, for the classifier and the last block.", gt=0
    )
    layer_decay: float = setting(
        0.8, "Factor between the learning rate of a block and that of the block before it.", gt=0, le=1
    )
    weight_decay: float = setting(0.05, "Weight decay of AdamW.", ge=0)
    batch_size: int = setting(16, "Photographs per step.", unit="photographs", gt=0)
    smallest_crop: float = setting(0.5, "Smallest area of a view, as a share of its photograph.", gt=0, le=1)
    plain: float = setting(
        0.3,
        "Share of the photographs that are shown whole. Without them, the backbone becomes worse at photographs.",
        ge=0,
        le=1,
    )
    paste: float = setting(0.5, "Share of the views onto which other photographs are pasted.", ge=0, le=1)
    paste_layers: int = setting(2, "Number of photographs that are pasted onto such a view.", gt=0)
    logit_adjustment: float = setting(
        0.5, "Factor τ of the logarithm of the class shares in the loss, as for classifiers.", ge=0
    )
    average: float = setting(0.97, "Decay of the running average of the weights.", ge=0, lt=1)
    holdout_share: float = setting(
        0.1,
        "Share of the training observations that are held out to choose the epoch; the classifiers hold out the same "
        "ones.",
        gt=0,
        lt=1,
    )


@dataclass(frozen=True)
class FinetuningConfig(FinetuningSettings):
    """The settings of fine-tuning, with the seed that all parts of the platform share."""

    seed: int = setting(42, "Seed of the holdout, the order of the photographs and the views.")


def split_holdout(
    photographs: "Photographs", train: np.ndarray, config: FinetuningConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training rows into rows to learn from and rows that choose the epoch, with no obs_id on both sides.

    The classifiers hold out the same ones, see `hold_out`.

    Args:
        photographs: all of them.
        train: boolean (n,), rows of the training side.
        config: the share and the seed.

    Returns:
        two arrays of row numbers, ascending.
    """
    learn, hold = hold_out(
        train, photographs.species_id, photographs.obs_id, share=config.holdout_share, seed=config.seed
    )
    return np.flatnonzero(learn), np.flatnonzero(hold)
