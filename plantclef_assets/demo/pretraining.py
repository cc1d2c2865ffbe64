"""Pretraining the demo's small backbone on the herbarium of a procedural flora that is not the demo's.

`python -m plantclef_assets.demo.pretraining --output vit_mini.safetensors` repeats the recipe whose result ships
with the package; it takes some 25 minutes on two cores. A pool of photographs of 240 species of another flora is
drawn once; the vision transformer then learns, through linear heads on [CLS] and on the mean patch that are thrown
away, to name the species and to read its traits. Traits are shared by all floras, so the features also serve species
that were never seen. Random crops of varied scale and turn make the views resemble tiles of a plot.

All plants of the pool lie on paper. A backbone that was made elsewhere knows much of plants and little of the place
where its user photographs them; this one has never seen the field, and learns of it by fine-tuning.

The same arguments on the same machine and number of threads give the same weights.
"""

import argparse
import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from plantclef_assets.demo.flora import species_of
from plantclef_assets.demo.photographs import photograph_species
from plantclef_assets.demo.traits import TRAIT_CLASSES, trait_classes, trait_measures
from plantclef_assets.engines.processes import worker_processes
from plantclef_assets.models.small_vit import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    SMALL_VIT,
    VisionTransformer,
    vit_mini_patch14_reg4_dinov2,
)
from plantclef_assets.models.views import random_views

logger = logging.getLogger(__name__)

LICENCE = "Apache-2.0"
"""Of the weights: that of this package."""

POOL_SIDE = 128
"""Side in px of the pool's photographs: that of the platform's stored crops."""

ORGAN_SHARES = (0.46, 0.2, 0.16, 0.12, 0.06)
"""How often each of `photographs.ORGANS` is in the pool: more close-ups of leaves than a survey has."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a pretraining, kept in the header of its weights.

    `cycles` gives the number of species and of optimiser steps of each cycle: a cycle goes on with the weights of
    the one before, with new heads and a schedule of its own. `photographs` are drawn of each species, `on_paper` or
    in the field. `coarse_share` is the share of a cycle's steps taken at `coarse_side` px, which is faster; the rest
    is at 126 px.
    """

    flora_seed: int = 77
    cycles: tuple[tuple[int, int], ...] = ((120, 1000), (240, 1600))
    photographs: int = 90
    on_paper: bool = True
    batch: int = 80
    coarse_side: int = 84
    coarse_share: float = 0.75
    matrix_rate: float = 0.003
    other_rate: float = 0.0015
    warm_up: int = 50
    smallest_crop: float = 0.4
    seed: int = 1


def draw_pool(recipe: Recipe, workers: int) -> NDArray[np.uint8]:
    """Draw the pool: shape (species, photographs, 3, 128, 128), channels first, in `workers` processes."""
    species = max(species for species, _ in recipe.cycles)
    draw = partial(_draw_species, recipe)
    with worker_processes(workers) as pool:
        return np.stack(list(pool.map(draw, range(species), chunksize=8)))


def _draw_species(recipe: Recipe, number: int) -> NDArray[np.uint8]:
    species = species_of(recipe.flora_seed, number)
    images = []
    for shot in range(recipe.photographs):
        rng = np.random.default_rng([recipe.flora_seed, 3, number, shot])
        image = photograph_species(species, 176, rng, ORGAN_SHARES, on_paper=recipe.on_paper)[1]
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        images.append(np.asarray(image.resize((POOL_SIDE, POOL_SIDE), Image.Resampling.BOX, box)))
    return np.stack(images).transpose(0, 3, 1, 2)


def augment(images: torch.Tensor, side: int, smallest_crop: float, generator: torch.Generator) -> torch.Tensor:
    """Cut random views (see `models/views.py`), normalised with ImageNet's mean and standard deviation."""
    centre = torch.tensor(IMAGENET_DEFAULT_MEAN).view(3, 1, 1)
    spread = torch.tensor(IMAGENET_DEFAULT_STD).view(3, 1, 1)
    return (random_views(images, side, smallest_crop, generator) - centre) / spread


def pretrain(recipe: Recipe, pool: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
    """Train the small vision transformer on the pool in all cycles; return its weights without heads, as float16."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    # Full-strength layer scale: the family's 1e-5 suits schedules of hundreds of thousands of steps.
    model = vit_mini_patch14_reg4_dinov2(num_classes=0, dynamic_img_size=True, init_values=1.0)
    initialise(model)
    whiten_patches(model, pool[: recipe.cycles[0][0]], generator)
    train_cycle(model, recipe, 0, pool, generator)
    for cycle in range(1, len(recipe.cycles)):
        # Rounded and seeded anew, so that a cycle may also start from the saved weights of the one before.
        model.load_state_dict(_rounded(model))
        torch.manual_seed(recipe.seed + cycle)
        generator = torch.Generator().manual_seed(recipe.seed + cycle)
        train_cycle(model, recipe, cycle, pool, generator)
    return _rounded(model)


def _rounded(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}


def train_cycle(
    model: VisionTransformer, recipe: Recipe, cycle: int, pool: NDArray[np.uint8], generator: torch.Generator
) -> None:
    """Train the model in place on the pool's first species, as many as the cycle says.

    Steps run in bfloat16 autocast. Matrices inside the blocks are stepped by Muon, all else by AdamW, under one
    schedule: a linear rise, then a cosine to zero.
    """
    species, steps = recipe.cycles[cycle]
    flora = [species_of(recipe.flora_seed, number) for number in range(species)]
    kinds, measures = torch.from_numpy(trait_classes(flora)), torch.from_numpy(trait_measures(flora))
    outputs = (species, *TRAIT_CLASSES, measures.shape[1])
    heads = torch.nn.Linear(model.embed_dim, sum(outputs))
    optimizers = _optimizers(model, heads, recipe)
    images = torch.from_numpy(pool[:species]).flatten(0, 1)
    labels = torch.arange(species).repeat_interleave(recipe.photographs)

    started = time.monotonic()
    recent: list[torch.Tensor] = []
    order = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        if len(order) < recipe.batch:
            order = torch.randperm(len(images), generator=generator)
        chosen, order = order[: recipe.batch], order[recipe.batch :]
        side = recipe.coarse_side if step < recipe.coarse_share * steps else 126
        views = augment(images[chosen], side, recipe.smallest_crop, generator)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * _schedule(step, steps, recipe.warm_up)
        with torch.autocast("cpu", torch.bfloat16):
            tokens = model.forward_features(views)
        # The mean patch answers beside [CLS]: through it the patches learn from the first step.
        pooled = torch.cat([tokens[:, 0], tokens[:, model.num_prefix_tokens :].mean(1)])
        answers = heads(pooled.float()).split(outputs, dim=1)
        target = labels[chosen].repeat(2)
        naming = functional.cross_entropy(answers[0], target, label_smoothing=0.1)
        reading = torch.stack(
            [functional.cross_entropy(answer, kinds[target, trait]) for trait, answer in enumerate(answers[1:-1])]
        )
        measuring = functional.mse_loss(answers[-1], measures[target])
        loss = naming + 0.5 * reading.sum() + 2.0 * measuring
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        right = 100 * (answers[0].argmax(1) == target).float().mean()
        recent.append(torch.stack([naming, right, reading.mean(), measuring]).detach())
        if (step + 1) % 50 == 0 or step == steps - 1:
            logger.info(
                "cycle %d, step %d of %d, %.0f s: species %.3f (%.1f %% right), kinds %.3f, measures %.3f",
                *(cycle + 1, step + 1, steps, time.monotonic() - started),
                *torch.stack(recent).mean(0).tolist(),
            )
            recent.clear()


def initialise(model: VisionTransformer) -> None:
    """Start a vision transformer where it learns from little: known positions and attention to what is alike.

    Positions are the usual sines and cosines. Attention follows Trockman and Kolter, "Mimetic Initialization of
    Self-Attention Layers" (arXiv 2305.09828): in every head query × key is 0.7 (noise + identity), and value ×
    projection is 0.4 (noise − identity), both as found in trained transformers.
    """
    # Not at the top of the file: timm may only be imported once `small_vit` has made that possible.
    from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed

    blocks: Any = model.blocks
    grid: Any = model.patch_embed.grid_size
    width, heads = model.embed_dim, blocks[0].attn.num_heads
    with torch.no_grad():
        positions = build_sincos2d_pos_embed(list(grid), dim=width)
        model.get_parameter("pos_embed").copy_(0.3 * positions.view(1, -1, width))
        for block in blocks:
            queries, keys = [], []
            for _ in range(heads):
                near = 0.7 * torch.randn(width, width) / width**0.5 + 0.7 * torch.eye(width)
                query, key = _factors(near, width // heads)
                queries.append(query)
                keys.append(key)
            value, projection = _factors(0.4 * torch.randn(width, width) / width**0.5 - 0.4 * torch.eye(width), width)
            block.attn.qkv.weight.copy_(torch.cat([*queries, *keys, value]))
            block.attn.proj.weight.copy_(projection.T)


def whiten_patches(model: VisionTransformer, pool: NDArray[np.uint8], generator: torch.Generator) -> None:
    """Start the patch embedding with the principal components of the pool's patches, each scaled to variance 1.

    Neighbouring pixels are so alike that random filters see little but mean colour; whitened ones see edges, veins
    and petals from the first step (as in Coates, Lee and Ng, "An Analysis of Single-Layer Networks", 2011).
    """
    images = torch.from_numpy(pool).flatten(0, 1)
    chosen = torch.randperm(len(images), generator=generator)[:1500]
    views = augment(images[chosen], 126, 0.4, generator)
    patches = functional.unfold(views, 14, stride=14).transpose(1, 2).flatten(0, 1).double()
    mean = patches.mean(0)
    variances, directions = torch.linalg.eigh(torch.cov((patches - mean).T))
    kept = directions[:, -model.embed_dim :] / (variances[-model.embed_dim :] + 1e-2).sqrt()
    with torch.no_grad():
        model.get_parameter("patch_embed.proj.weight").copy_(kept.T.reshape(-1, 3, 14, 14))
        model.get_parameter("patch_embed.proj.bias").copy_(-(mean @ kept))


def _factors(product: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split a square matrix: `left.T @ right` is its best approximation of that rank; both are (rank, width)."""
    left, scale, right = torch.linalg.svd(product)
    root = scale[:rank].sqrt()
    return (left[:, :rank] * root).T, right[:rank] * root[:, None]


def _optimizers(model: torch.nn.Module, heads: torch.nn.Linear, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and name.startswith("blocks.") else others).append(parameter)
    muon = torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW([*others, *heads.parameters()], lr=recipe.other_rate, weight_decay=0.02)
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return [muon, adam]


def _schedule(step: int, steps: int, warm_up: int) -> float:
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return 0.5 * (1 + math.cos(math.pi * done))


def main() -> None:
    """Draw the pool, pretrain, and write the weights with the recipe in their header."""
    parser = argparse.ArgumentParser(description="Pretrain the demo's small backbone.")
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--steps", type=int, help="one cycle of so many steps, for a trial, instead of the recipe's")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw, threads that learn")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = Recipe(cycles=((40, arguments.steps),)) if arguments.steps else Recipe()
    torch.set_num_threads(arguments.workers)
    pool = draw_pool(recipe, arguments.workers)
    logger.info("drew %d photographs of %d species", pool.shape[0] * pool.shape[1], pool.shape[0])
    weights = pretrain(recipe, pool)
    header = {"license": LICENCE, "model": SMALL_VIT, "recipe": json.dumps(asdict(recipe), sort_keys=True)}
    save_file(weights, arguments.output, metadata=header)
    logger.info("wrote %s", arguments.output)


if __name__ == "__main__":
    main()
