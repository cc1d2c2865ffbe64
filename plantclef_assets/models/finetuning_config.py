"""What fine-tuning is asked for, and which photographs it learns from."""

from dataclasses import dataclass

import numpy as np

from plantclef_assets.ingest.validation_split import hold_out
from plantclef_assets.models.shuffled_photographs import Photographs


@dataclass(frozen=True)
class FinetuningConfig:
    """How a backbone is fine-tuned.

    Attributes:
        head_epochs: passes over the stored [CLS] in which only the classifier learns.
        epochs: passes over the photographs after those, in which the backbone learns too.
        blocks: how many of its last blocks learn; None for the whole backbone.
        head_learning_rate: of AdamW in the first passes.
        learning_rate: of AdamW afterwards, for the classifier and the last block.
        layer_decay: factor of the learning rate from one block to the one before.
        weight_decay: of AdamW.
        batch_size: photographs a step.
        smallest_crop: the least area of a view as a share of its photograph's.
        plain: share of the photographs that are shown whole; without them the backbone gets worse at photographs.
        paste: share of the views that others are pasted on.
        paste_layers: how many are pasted on each.
        logit_adjustment: the factor τ of the logarithm of the class shares in the loss.
        average: decay of the running average of the weights.
        holdout_share: share of the observations set aside to choose the epoch by.
        seed: of the split, the order and the views.
    """

    head_epochs: int = 12
    epochs: int = 8
    blocks: int | None = None
    head_learning_rate: float = 0.002
    learning_rate: float = 0.0005
    layer_decay: float = 0.8
    weight_decay: float = 0.05
    batch_size: int = 16
    smallest_crop: float = 0.5
    plain: float = 0.3
    paste: float = 0.5
    paste_layers: int = 2
    logit_adjustment: float = 0.5
    average: float = 0.97
    holdout_share: float = 0.1
    seed: int = 42


def split_holdout(
    photographs: Photographs, train: np.ndarray, config: FinetuningConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training rows into those to learn from and those to choose the epoch by, no obs_id on both sides.

    The classifiers set the same ones aside, see `hold_out`.

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
