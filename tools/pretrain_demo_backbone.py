"""Pretrain the demo's small backbone on a herbarium of a procedural flora other than the demo's.

`python tools/pretrain_demo_backbone.py --output vit_mini.safetensors` repeats the recipe of the weights in
`plantclef_assets/demo/`; it takes about 25 minutes on two cores. A pool of photographs of 240 species is drawn once.
The vision transformer then learns to name the species and to predict their traits, through linear heads on [CLS] and on
the mean patch token, which are discarded. All floras share the same traits, so the features also serve unseen species.
Random crops of varied scale and rotation make the views resemble tiles of a plot.

All plants of the pool lie on paper: like a backbone pretrained elsewhere, this one has never seen the survey's site and
adapts to it by fine-tuning.

The same arguments on the same machine and number of threads give the same weights.
"""

import argparse
import json
import logging
import math
import time
from collections.abc import Sequence
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

from plantclef_assets.demo.flora import (
    FLOWER_KINDS,
    HABITS,
    LEAF_KINDS,
    LEAF_MARKS,
    PETAL_TIPS,
    PHYLLOTAXES,
    Species,
    species_of,
)
from plantclef_assets.demo.photographs import photograph_species
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
"""Licence of the weights, the same as the package's."""

POOL_SIDE = 128
"""Side of the pool's photographs in px, the same as that of the stored crops."""

ORGAN_SHARES = (0.46, 0.2, 0.16, 0.12, 0.06)
"""Share of each of `photographs.ORGANS` in the pool, with more close-ups of leaves than a survey has."""


TRAIT_CLASSES = (len(HABITS), len(LEAF_KINDS), len(FLOWER_KINDS), len(PHYLLOTAXES), len(LEAF_MARKS), len(PETAL_TIPS))
"""Number of values of each trait of `trait_classes`."""


@dataclass(frozen=True)
class Recipe:
    """Settings of a pretraining, stored in the header of the weights.

    `cycles` holds the number of species and of optimiser steps of each cycle; a cycle continues with the weights of the
    previous one, with new heads and its own schedule. `photographs` is the number drawn of each species, `on_paper` or
    in the field. `coarse_share` is the share of a cycle's steps run at `coarse_side` px, which is faster; the other
    steps run at 126 px.
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


def trait_classes(species: Sequence[Species]) -> NDArray[np.int64]:
    """Return the categorical traits as indices: shape (species, 6), in the order of `TRAIT_CLASSES`."""
    return np.array(
        [
            (
                HABITS.index(one.habit),
                LEAF_KINDS.index(one.leaf.kind),
                FLOWER_KINDS.index(one.flower.kind),
                PHYLLOTAXES.index(one.phyllotaxis),
                LEAF_MARKS.index(one.leaf.mark),
                PETAL_TIPS.index(one.flower.petal_tip),
            )
            for one in species
        ],
        dtype=np.int64,
    )


def trait_measures(species: Sequence[Species]) -> NDArray[np.float32]:
    """Return the numeric traits, each scaled to mean 0 and standard deviation 1 over the species.

    The shape is (species, 16). Sizes and counts enter as logarithms, since five petals differ more from four than 18
    rays from 17.
    """
    measures = np.array(
        [
            (
                np.log(one.leaf.width),
                one.leaf.widest,
                np.log(one.leaf.lobes),
                one.leaf.lobe_depth,
                np.log1p(one.leaf.teeth),
                np.log(one.leaf.veins),
                one.leaf.vein_contrast,
                one.leaf.stalk,
                np.log(one.flower.petals),
                np.log(one.flower.petal_width),
                one.flower.disc,
                one.flower.whorls,
                np.log(one.flower.density),
                np.log(one.leaves),
                one.flower_size,
                np.log(one.floweriness),
            )
            for one in species
        ]
    )
    return ((measures - measures.mean(axis=0)) / (measures.std(axis=0) + 1e-6)).astype(np.float32)


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
    # Full-strength layer scale: DINOv2's 1e-5 suits schedules of hundreds of thousands of steps.
    model = vit_mini_patch14_reg4_dinov2(num_classes=0, dynamic_img_size=True, init_values=1.0)
    initialise(model)
    whiten_patches(model, pool[: recipe.cycles[0][0]], generator)
    train_cycle(model, recipe, 0, pool, generator)
    for cycle in range(1, len(recipe.cycles)):
        # Rounded and reseeded, so that a cycle can also start from the saved weights of the previous one.
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
    """Train the model in place on the pool's first species; the cycle sets their number.

    Steps run in bfloat16 autocast. Muon updates the matrices inside the blocks, AdamW everything else, under one
    schedule: a linear warm-up, then a cosine to zero.
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
        # The heads also read the mean patch token, so that patch tokens learn from the first step.
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
    """Initialise a vision transformer for little training data: known positions, and attention to similar tokens.

    Positions are sines and cosines. Attention follows Trockman and Kolter, "Mimetic Initialization of
    Self-Attention Layers" (arXiv 2305.09828): in every head query × key is 0.7 (noise + identity), and value ×
    projection is 0.4 (noise − identity), both as found in trained transformers.
    """
    # Not at module level: timm must be imported after `small_vit` (see `models/timm_import.py`).
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
    """Initialise the patch embedding with the principal components of the pool's patches, scaled to variance 1.

    Neighbouring pixels are so similar that random filters mostly measure mean colour; whitened filters respond to
    edges, veins and petals from the first step (Coates, Lee and Ng, "An Analysis of Single-Layer Networks", 2011).
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
    parser.add_argument("--steps", type=int, help="steps of a single trial cycle, in place of the recipe's cycles")
    parser.add_argument("--workers", type=int, default=2, help="processes for drawing, threads for training")
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
