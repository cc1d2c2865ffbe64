"""Random views: what a model learns from."""

import pytest
import torch

from plantclef_assets.models.views import paste_together, plain_views, random_views


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (12, 3, 40, 40), dtype=torch.uint8, generator=generator(0))


def test_views_have_the_side_that_is_asked_for_and_values_of_pixels(images: torch.Tensor) -> None:
    views = random_views(images, 28, 0.4, generator())
    assert views.shape == (12, 3, 28, 28)
    assert 0 <= views.min() < views.max() <= 1


def test_views_follow_from_the_seed_alone(images: torch.Tensor) -> None:
    views = random_views(images, 28, 0.4, generator())
    assert torch.equal(views, random_views(images, 28, 0.4, generator()))
    assert not torch.equal(views, random_views(images, 28, 0.4, generator(4)))


def test_a_view_shows_the_colour_of_its_picture() -> None:
    red = torch.zeros(30, 3, 20, 20, dtype=torch.uint8)
    red[:, 0] = 150
    views = random_views(red, 20, 0.3, generator())
    assert (views[:, 0].amin() > 0.25) and (views[:, 0] > 2 * views[:, 1]).all()


def test_plain_views_are_whole_pictures_or_their_mirror_images(images: torch.Tensor) -> None:
    views = plain_views(images, 40, generator())
    assert torch.allclose(plain_views(images, 40, generator()), views)
    whole = images.float() / 255
    as_is = [torch.allclose(view, one, atol=1e-5) for view, one in zip(views, whole, strict=True)]
    mirrored = [torch.allclose(view, one.flip(-1), atol=1e-5) for view, one in zip(views, whole, strict=True)]
    assert any(as_is) and any(mirrored)
    assert all(one != other for one, other in zip(as_is, mirrored, strict=True))


def pasted(share: float, layers: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste views of one plain value each, which is also their class."""
    values = torch.arange(8) / 8
    views = values.view(8, 1, 1, 1).expand(8, 3, 64, 64)
    return paste_together(views, torch.eye(8), share, layers, generator())


def test_targets_are_the_areas_that_each_plant_covers() -> None:
    views, targets = pasted(share=1.0, layers=1)
    for view, target in zip(views, targets, strict=True):
        areas = torch.stack([(view[0] * 8).round().eq(one).float().mean() for one in range(8)])
        assert torch.allclose(areas, target, atol=1e-6)
    assert (targets > 0).sum() > 8, "something was pasted on something else"


def test_later_plants_hide_earlier_ones_and_targets_still_sum_to_one() -> None:
    _, targets = pasted(share=1.0, layers=3)
    assert torch.allclose(targets.sum(1), torch.ones(8))
    assert ((targets > 0).sum(1) >= 3).any()


def test_only_the_share_that_is_asked_for_is_pasted_on() -> None:
    views, targets = pasted(share=0.5, layers=2)
    assert torch.equal(targets[4:], torch.eye(8)[4:])
    assert all(len(view.unique()) == 1 for view in views[4:])
    untouched, same = pasted(share=0.0, layers=2)
    assert torch.equal(same, torch.eye(8))
    assert all(len(view.unique()) == 1 for view in untouched)
