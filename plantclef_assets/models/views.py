"""Random views of photographs, made in batches on the device: what a model learns from instead of the pictures.

All chance comes from a generator on the CPU, so that a seed gives the same views on every device.
"""

import math

import torch
from torch.nn import functional

_SMALLEST_PASTE, _LARGEST_PASTE = 0.4, 0.7
"""Sides of a pasted picture as shares of the side of the picture below."""


def random_views(images: torch.Tensor, side: int, smallest_crop: float, generator: torch.Generator) -> torch.Tensor:
    """Cut random views: crops of varied area, shape and turn, mirrored, with altered light.

    Half of them are turned by any angle: a plot is photographed from above, so its plants lie every way.

    Args:
        images: uint8, (n, 3, height, width).
        side: of the views, px.
        smallest_crop: the least area of a crop as a share of the image's.
        generator: the source of all chance.

    Returns:
        float32, (n, 3, side, side), of values in [0, 1], on the device of the images.
    """
    count, device = len(images), images.device

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    area = uniform(smallest_crop, 1.1)
    shape = torch.exp(uniform(-0.22, 0.22))
    across, down = torch.sqrt(area * shape), torch.sqrt(area / shape)
    turn = uniform(-math.pi, math.pi) * (uniform(0, 1) < 0.5)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    free = (1 - torch.minimum(across, down)).clamp(min=0)
    affine = torch.stack(
        [
            torch.stack([mirror * across * turn.cos(), -down * turn.sin(), free * uniform(-1, 1)], 1),
            torch.stack([mirror * across * turn.sin(), down * turn.cos(), free * uniform(-1, 1)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(affine.to(device), [count, 3, side, side], align_corners=False)
    views = functional.grid_sample(images.float() / 255, grid, padding_mode="reflection", align_corners=False)
    views = views * uniform(0.75, 1.25, 1, 1, 1).to(device) * uniform(0.92, 1.08, 3, 1, 1).to(device)
    mean = views.mean((2, 3), keepdim=True)
    views = mean + (views - mean) * uniform(0.75, 1.25, 1, 1, 1).to(device)
    return views.clamp(0, 1)


def plain_views(images: torch.Tensor, side: int, generator: torch.Generator) -> torch.Tensor:
    """Show whole pictures, resized, half of them mirrored; arguments and result as those of `random_views`."""
    views = functional.interpolate(images.float() / 255, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    mirror = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(mirror[:, None, None, None], views.flip(-1), views)


def paste_together(
    views: torch.Tensor, targets: torch.Tensor, share: float, layers: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste several plants together, as a plot is a mixture: shrunken views of the batch over others of it.

    Like CutMix (Yun et al. 2019, arXiv 1905.04899), a picture's target is divided by the area that each of its plants
    covers; but whole views are shrunk into the boxes, and several can lie in one picture.

    Args:
        views: float32, (n, 3, side, side).
        targets: float32, (n, classes), the share of each class; rows sum to 1.
        share: of the views that get others pasted on, the first ones of the batch.
        layers: how many are pasted one after the other.
        generator: the source of all chance.

    Returns:
        views and targets of the same shapes.
    """
    count = round(share * len(views))
    if not count:
        return views, targets
    below, shares, side = views[:count], targets[:count], views.shape[-1]
    for _ in range(layers):
        chosen = torch.randint(len(views), (count,), generator=generator).to(views.device)
        half = _SMALLEST_PASTE + (_LARGEST_PASTE - _SMALLEST_PASTE) * torch.rand(
            count, generator=generator
        )  # in the coordinates of a grid, whose side is 2, half a side is the share
        centre = (2 * torch.rand(count, 2, generator=generator) - 1) * (1 - half[:, None])
        affine = torch.zeros(count, 2, 3)
        affine[:, 0, 0] = affine[:, 1, 1] = 1 / half
        affine[:, :, 2] = -centre / half[:, None]
        grid = functional.affine_grid(affine.to(views.device), [count, 3, side, side], align_corners=False)
        pasted = functional.grid_sample(views[chosen], grid, padding_mode="border", align_corners=False)
        inside = (grid.abs() <= 1).all(-1)[:, None]
        covered = inside.float().mean((1, 2, 3))[:, None]
        below = torch.where(inside, pasted, below)
        shares = shares * (1 - covered) + targets[chosen] * covered
    return torch.cat([below, views[count:]]), torch.cat([shares, targets[count:]])
