"""Classifiers of a long-tailed flora: the time to the macro-F1 of the reference's loop.

The features are synthetic (`long_tail`): 100,000 rows of width 768 from 7,806 species with Zipf's shares, and two
smaller sizes of the same shape. Of the held-out rows, half stop a training and half give the macro-F1.

The reference is the loop of DS@GT PlantCLEF 2024 in plain torch, without the cost of Lightning and of a data loader:
one linear layer on features as they are, negative log-likelihood, Adam at 0.002, batches of 32, at most 10 epochs,
stopped when the loss on held-out rows has not fallen for 3 epochs (Lightning's default). Its target is the best
macro-F1 of its epochs, and its time is that until this epoch; computing macro-F1 is not part of its time.

Ours is `fit_classifier`, as the product calls it, from arrays to a calibrated classifier with its metrics, all of which
is part of its time: closed forms, and trainings with the default settings and in larger batches. A training runs for 1,
2, 4, … epochs until one reaches the target. An arm below the target has no rate.

At the two smaller sizes all is measured. At the full size two things are measured, unless with `--full`: the macro-F1
of the reference after 20 times the time of the best closed form, or after 150 seconds if these are fewer; and its
seconds per step, as the slope over two numbers of steps. Its whole time is extrapolated from these and from the number
of epochs at the larger of the smaller sizes. Trainings are left out there.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.long_tail import Problem, generate_problem
from benchmarks.results import Results
from benchmarks.timing import Size
from plantclef_assets.models.closed_form import STARTS
from plantclef_assets.models.evaluation import Predictions, macro_f1
from plantclef_assets.models.fitting import fit_classifier
from plantclef_assets.models.training_config import PRESETS, TrainingConfig

SIZES = {(6_250, 488): 2_500, (12_500, 976): 5_000}
"""Rows to learn from and species → held-out rows, of the sizes that are measured completely."""
FULL = (100_000, 7_806, 20_000)
REFERENCE = "reference's loop"
PAPER = PRESETS["paper"]
PATIENCE, REQUIRED_RATIO, LONGEST_TRAINING = 3, 20, 16
BUDGET = 150.0
"""Most seconds that the reference's loop runs at the full size."""
STEPS = (20, 60)
"""Steps of the reference's loop between which its seconds per step are measured."""
TRAININGS = {
    "default settings": TrainingConfig(),
    "default settings from lda, batches of 1,024": TrainingConfig(start="lda", batch_size=1024),
}
UNITS = {"rate": "1/h", "seconds": "s", "macro-F1": "", "epochs": ""}
_BLOCK_ROWS = 512


@dataclass(frozen=True)
class Epoch:
    """The reference's loop after an epoch.

    Attributes:
        seconds: since the start of the loop, without those of computing macro-F1.
        loss: on the rows that stop the training.
        macro_f1: on the rows that judge it.
    """

    seconds: float
    loss: float
    macro_f1: float


class Loop:
    """The reference's loop over the rows of a problem."""

    def __init__(self, problem: Problem) -> None:
        torch.manual_seed(0)
        self.features, self.sides = torch.from_numpy(problem.features), problem.sides
        species, labels = np.unique(problem.species_id, return_inverse=True)
        self.labels, self.learn = torch.from_numpy(labels), problem.learn
        self.layer = nn.Linear(problem.features.shape[1], len(species))
        self.optimiser = torch.optim.Adam(self.layer.parameters(), lr=PAPER["learning_rates"][0])

    def batches(self) -> Iterator[torch.Tensor]:
        """Yield the rows of the batches of an epoch, in random order."""
        yield from torch.randperm(self.learn).split(PAPER["batch_size"])

    def step(self, rows: torch.Tensor) -> None:
        """Train on one batch."""
        loss = functional.cross_entropy(self.layer(self.features[rows]), self.labels[rows])
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    @torch.no_grad()
    def loss(self) -> float:
        """Return the loss on the rows that stop the training."""
        rows = torch.from_numpy(np.flatnonzero(self.sides.holdout))
        losses = [
            functional.cross_entropy(self.layer(self.features[block]), self.labels[block], reduction="sum").item()
            for block in rows.split(_BLOCK_ROWS)
        ]
        return sum(losses) / len(rows)

    @torch.no_grad()
    def macro_f1(self) -> float:
        """Return the macro-F1 of the rows that judge the training."""
        rows = torch.from_numpy(np.flatnonzero(self.sides.validation))
        best = torch.cat([self.layer(self.features[block]).argmax(dim=1) for block in rows.split(_BLOCK_ROWS)])
        return macro_f1(Predictions(self.labels[rows].numpy(), best[:, None].numpy(), np.zeros(len(rows))))

    def run(self) -> list[Epoch]:
        """Train as the reference does, and return all epochs."""
        epochs: list[Epoch] = []
        seconds, least, least_epoch = 0.0, float("inf"), 0
        while len(epochs) < PAPER["epochs"] and len(epochs) - least_epoch < PATIENCE:
            start = time.perf_counter()
            for rows in self.batches():
                self.step(rows)
            loss = self.loss()
            seconds += time.perf_counter() - start
            epochs.append(Epoch(seconds, loss, self.macro_f1()))
            if loss < least:
                least, least_epoch = loss, len(epochs)
        return epochs

    def run_for(self, budget: float) -> tuple[float, int]:
        """Train for some seconds; return the seconds and the steps that it took."""
        steps, start = 0, time.perf_counter()
        while True:
            for rows in self.batches():
                self.step(rows)
                steps += 1
                seconds = time.perf_counter() - start
                if seconds >= budget:
                    return seconds, steps


def measure(results: Results, size: Size) -> None:
    """Compare the loop, closed forms and trainings, at all sizes."""
    if size is Size.SMALL:
        measure_completely(results, 600, 40, 400)
        measure_partly(results, generate_problem(600, 40, 400), epochs=2, budget=1.0)
        return
    epochs = 0
    for (rows, classes), held_out in SIZES.items():
        epochs = measure_completely(results, rows, classes, held_out)
    if size is Size.FULL:
        measure_completely(results, *FULL)
    else:
        measure_partly(results, generate_problem(*FULL), epochs, BUDGET)


def start_table(results: Results, problem: Problem, baseline: str) -> None:
    """Start the table of a size."""
    classes = len(np.unique(problem.species_id))
    results.start(f"classifier, {problem.learn:,} rows, {classes:,} species", UNITS, baseline)


def measure_completely(results: Results, rows: int, classes: int, held_out: int) -> int:
    """Measure all arms at one size; return the epochs in which the reference reaches its best macro-F1."""
    problem = generate_problem(rows, classes, held_out)
    epochs = Loop(problem).run()
    best = max(range(len(epochs)), key=lambda place: epochs[place].macro_f1)
    target = epochs[best].macro_f1
    start_table(results, problem, REFERENCE)
    add(results, REFERENCE, epochs[best].seconds, target, target, best + 1)
    for name in STARTS:
        fit(results, f"closed form {name}", problem, TrainingConfig(start=name, epochs=0), target)
    for name, config in TRAININGS.items():
        number = 1
        while not fit(results, f"{name}, {number} epochs", problem, replace(config, epochs=number), target):
            if number >= LONGEST_TRAINING:
                break
            number *= 2
    return best + 1


def measure_partly(results: Results, problem: Problem, epochs: int, budget: float) -> None:
    """Measure closed forms and a part of the reference's loop; extrapolate the whole loop with so many epochs."""
    fitted = {}
    for name in STARTS:
        start = time.perf_counter()
        classifier = fit_classifier(
            problem.features, problem.species_id, problem.sides, config=TrainingConfig(start=name, epochs=0)
        )
        fitted[name] = time.perf_counter() - start, classifier.metrics["macro_f1"]
    best = max(fitted, key=lambda name: fitted[name][1])
    loop = Loop(problem)
    seconds, steps = loop.run_for(min(budget, REQUIRED_RATIO * fitted[best][0]))
    reached = loop.macro_f1()
    per_step = seconds_per_step(problem)
    whole = epochs * -(-problem.learn // PAPER["batch_size"]) * per_step
    name = f"{REFERENCE} (extrapolated)"
    start_table(results, problem, name)
    results.add(name, {"rate": 3600 / whole, "seconds": whole, "epochs": epochs})
    results.add(f"{REFERENCE}, stopped after {steps:,} steps", {"seconds": seconds, "macro-F1": reached})
    for form, (taken, found) in fitted.items():
        add(results, f"closed form {form}", taken, found, reached, 0)


def seconds_per_step(problem: Problem) -> float:
    """Return the seconds per step of the reference's loop: the slope between two numbers of steps."""
    loop, taken = Loop(problem), {}
    for steps in STEPS:
        start = time.perf_counter()
        for _, rows in zip(range(steps), loop.batches(), strict=False):
            loop.step(rows)
        taken[steps] = time.perf_counter() - start
    first, last = STEPS
    return max(taken[last] - taken[first], 1e-9) / (last - first)


def fit(results: Results, arm: str, problem: Problem, config: TrainingConfig, target: float) -> bool:
    """Fit a classifier as the product does, add its row, and return whether it reaches the target."""
    start = time.perf_counter()
    classifier = fit_classifier(problem.features, problem.species_id, problem.sides, config=config)
    seconds = time.perf_counter() - start
    found = classifier.metrics["macro_f1"]
    add(results, arm, seconds, found, target, classifier.metrics["epochs"])
    return found >= target


def add(results: Results, arm: str, seconds: float, found: float, target: float, epochs: int) -> None:
    """Add a row; a rate only if the macro-F1 reaches the target."""
    rate = {"rate": 3600 / seconds} if found >= target else {}
    results.add(arm, rate | {"seconds": seconds, "macro-F1": found, "epochs": epochs})
