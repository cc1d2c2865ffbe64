"""Training of classification heads: several of one shape side by side, one for each learning rate."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from plantclef_assets.models.closed_form import Layer
from plantclef_assets.models.linear import block_rows
from plantclef_assets.models.losses import LOSSES
from plantclef_assets.models.scaling import StandardisedRows
from plantclef_assets.models.training_config import TrainingConfig

Parameters = Mapping[str, torch.Tensor]
AfterEpoch = Callable[[int, float, float], None]
"""Called after each epoch with (epoch from 1, training loss, stopping loss), of the best head so far."""


@dataclass(frozen=True)
class LabelledRows:
    """Row numbers and classes: int64 (n,) each, on the device."""

    rows: torch.Tensor
    labels: torch.Tensor


@dataclass
class TrainedHead:
    """The best epoch of the best head.

    Attributes:
        parameters: `weight`, `bias` and, with a hidden layer, `hidden_weight`, `hidden_bias`; on the device.
        learning_rate: learning rate of the head.
        best_epoch: from 1; 0 if no epoch was better than the closed form at the start.
        start_loss: stopping loss of that closed form; None after a start from zeros.
        train_losses: the configured loss of each epoch, in nats.
        stopping_losses: mean negative log-likelihood of the stopping rows after each epoch, with adjusted logits.
        best_losses: learning rate → least stopping loss of its head.
    """

    parameters: Parameters
    learning_rate: float
    best_epoch: int
    start_loss: float | None
    train_losses: list[float] = field(default_factory=list)
    stopping_losses: list[float] = field(default_factory=list)
    best_losses: dict[float, float] = field(default_factory=dict)


class StackedHeads:
    """R heads over the same rows: one matrix product with the weights of all, one optimiser group for each.

    Args:
        width: width of the features.
        classes: number of classes.
        config: configuration with one learning rate for each head.
        start: first weights of all heads; zeros if None.
        device: device of the training.
    """

    def __init__(self, width: int, classes: int, config: TrainingConfig, start: Layer | None, device: torch.device):
        heads, inner = len(config.learning_rates), config.hidden or width
        one = {"weight": torch.zeros(classes, inner), "bias": torch.zeros(classes)}
        if start is not None:
            one["weight"], one["bias"] = start
        if config.hidden:
            # The last layer can start with zeros, since the loss is convex in it; the hidden layer cannot.
            random = torch.Generator().manual_seed(config.seed)
            one["hidden_weight"] = torch.randn(config.hidden, width, generator=random) * (2 / width) ** 0.5
            one["hidden_bias"] = torch.zeros(config.hidden)
        self._stacks = {
            name: torch.stack([value.float().to(device)] * heads).requires_grad_() for name, value in one.items()
        }
        groups = []
        for head, rate in enumerate(config.learning_rates):
            views = []
            for stack in self._stacks.values():
                if stack.grad is None:
                    stack.grad = torch.zeros_like(stack)
                view = stack.detach()[head]
                view.grad = stack.grad[head]
                views.append(view)
            groups.append({"params": views, "lr": rate})
        fused = device.type != "mps"
        self._optimiser = torch.optim.Adam(groups, weight_decay=config.weight_decay, fused=fused)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits of all heads: float32 (b, D) → (b, R, classes)."""
        weight, bias = self._stacks["weight"], self._stacks["bias"]
        heads, classes, inner = weight.shape
        if "hidden_weight" not in self._stacks:
            stacked = functional.linear(inputs, weight.view(heads * classes, inner), bias.view(heads * classes))
            return stacked.view(len(inputs), heads, classes)
        layer = self._stacks["hidden_weight"].view(heads * inner, -1), self._stacks["hidden_bias"].view(heads * inner)
        hidden = functional.gelu(functional.linear(inputs, *layer)).view(len(inputs), heads, inner)
        return torch.baddbmm(bias[:, None], hidden.transpose(0, 1), weight.transpose(1, 2)).transpose(0, 1)

    @property
    def values_of_a_row(self) -> int:
        """Number of logits of one row, over all heads."""
        return self._stacks["bias"].numel()

    def step(self, losses: torch.Tensor) -> None:
        """Take one optimiser step on the losses, float32 (R,); each head depends on its own loss only."""
        losses.sum().backward()
        self._optimiser.step()
        for stack in self._stacks.values():
            assert stack.grad is not None
            stack.grad.zero_()  # in place, since the optimiser holds views of it

    def parameters(self, head: int) -> Parameters:
        """Return a copy of the parameters of one head."""
        return {name: stack.detach()[head].clone() for name, stack in self._stacks.items()}


def train_heads(
    inputs: StandardisedRows,
    learn: LabelledRows,
    stop: LabelledRows,
    config: TrainingConfig,
    start: Layer | None,
    progress: AfterEpoch | None,
) -> TrainedHead:
    """Train until no head has improved for `patience` epochs; on a CPU equal arguments give equal parameters.

    Raises:
        ValueError: training diverges.
    """
    counts = learn.labels.bincount()
    prior = config.logit_adjustment * (counts / counts.sum()).log()
    heads = StackedHeads(inputs.features.shape[1], len(counts), config, start, inputs.device)
    rates = len(config.learning_rates)
    least, least_epochs = [math.inf] * rates, [0] * rates
    best, best_head, best_epoch = heads.parameters(0), 0, 0
    begin = None if start is None else _stopping_losses(heads, inputs, stop, prior)[0]
    best_loss = math.inf if begin is None else begin
    order = torch.Generator().manual_seed(config.seed)
    curves: list[tuple[list[float], list[float]]] = []
    for epoch in range(1, config.epochs + 1):
        curves.append((_run_epoch(heads, inputs, learn, prior, config, order), []))
        curves[-1][1].extend(_stopping_losses(heads, inputs, stop, prior))
        for head, loss in enumerate(curves[-1][1]):
            if loss < least[head]:
                least[head], least_epochs[head] = loss, epoch
            if loss < best_loss:
                best_loss, best_head, best_epoch, best = loss, head, epoch, heads.parameters(head)
        if progress is not None:
            progress(epoch, curves[-1][0][best_head], curves[-1][1][best_head])
        if epoch - max(least_epochs) >= config.patience:
            break
    if math.isinf(best_loss) or math.isnan(best_loss):
        raise ValueError("training diverged: no epoch has a finite stopping loss; lower learning_rates")
    return TrainedHead(
        best,
        config.learning_rates[best_head],
        best_epoch,
        begin,
        [train[best_head] for train, _ in curves],
        [stopping[best_head] for _, stopping in curves],
        dict(zip(config.learning_rates, least, strict=True)),
    )


def _run_epoch(
    heads: StackedHeads,
    inputs: StandardisedRows,
    learn: LabelledRows,
    prior: torch.Tensor,
    config: TrainingConfig,
    order: torch.Generator,
) -> list[float]:
    """Train on all training rows once, in random order; return the mean loss of each head."""
    rates = len(config.learning_rates)
    total = torch.zeros(rates, device=inputs.device)
    for batch in torch.randperm(len(learn.rows), generator=order).to(inputs.device).split(config.batch_size):
        logits = heads.logits(inputs.take(learn.rows[batch])) + prior
        labels = learn.labels[batch].repeat_interleave(rates)
        losses = LOSSES[config.loss](logits.flatten(0, 1), labels).view(len(batch), rates).mean(dim=0)
        heads.step(losses)
        total += losses.detach() * len(batch)  # on the device, without synchronisation
    return (total / len(learn.rows)).tolist()


@torch.no_grad()
def _stopping_losses(
    heads: StackedHeads, inputs: StandardisedRows, stop: LabelledRows, prior: torch.Tensor
) -> list[float]:
    """Return the mean negative log-likelihood of each head over the stopping rows, computed in blocks."""
    total = torch.zeros(0, device=inputs.device)
    for block, labels in inputs.blocks(stop.rows, stop.labels, block_rows(heads.values_of_a_row)):
        logits = heads.logits(block) + prior
        labels = labels.repeat_interleave(logits.shape[1])
        losses = functional.cross_entropy(logits.flatten(0, 1), labels, reduction="none")
        summed = losses.view(len(block), -1).sum(dim=0)
        total = summed if not len(total) else total + summed
    return (total / len(stop.rows)).tolist()
