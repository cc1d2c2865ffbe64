"""Augmentation for fine-tuning: random views of photographs, computed in batches on the device.

The random numbers come from a generator on the CPU, so that a seed gives the same views on every device. Composed
plots, with masks and ground, are in `images/composition.py`.
"""

import math

import torch
from torch.nn import functional

_SMALLEST_PASTE, _LARGEST_PASTE = 0.4, 0.7
"""Range of the side of a pasted picture, as a share of the side of the picture below."""


def random_views(images: torch.Tensor, side: int, smallest_crop: float, generator: torch.Generator) -> torch.Tensor:
    """Return random views: crops of random area, aspect ratio and rotation, mirrored, with random light.

    Half of them are rotated by any angle, since the plants on a plot, photographed from above, have any direction.

    Args:
        images: uint8, (n, 3, height, width).
        side: side of the views in px.
        smallest_crop: least area of a crop as a share of the image's.
        generator: source of randomness.

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
    """Return whole pictures, resized, half of them mirrored; arguments and result as in `random_views`."""
    views = functional.interpolate(images.float() / 255, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    mirror = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(mirror[:, None, None, None], views.flip(-1), views)


def paste_together(
    views: torch.Tensor, targets: torch.Tensor, share: float, layers: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste shrunken views of a batch onto others, since a plot is a mixture of plants.

    As in CutMix (Yun et al. 2019, arXiv 1905.04899), a target is the share of the area of each plant; but whole views
    are shrunk into the boxes, and a picture can contain several.

    Args:
        views: float32, (n, 3, side, side).
        targets: float32, (n, classes), the share of each class; rows sum to 1.
        share: share of the views that others are pasted on, the first ones of the batch.
        layers: number of views that are pasted one after the other.
        generator: source of randomness.

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
