"""Pictures of a training."""

import io

import numpy as np
from PIL import Image

from plantclef_assets.report.curves import Curves, draw_curves

FALLING = dict(enumerate([2.0, 1.5, 1.2, 1.1], start=1))
RISING = dict(enumerate([0.2, 0.5, 0.7, 0.72], start=1))
BLUE, RED = (68, 119, 170), (238, 102, 119)


def pixels(*panels: Curves, best_epoch: int = 3) -> np.ndarray:
    picture = Image.open(io.BytesIO(draw_curves(panels, best_epoch=best_epoch)))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB"), np.int64)


def near(found: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(found - np.array(colour)).max(-1) < 24


def test_a_line_goes_from_left_to_right_as_its_values_do() -> None:
    drawn = near(pixels(Curves("loss", {"learned from": FALLING}))[60:], BLUE)
    columns = np.flatnonzero(drawn.any(0))
    height = [np.flatnonzero(drawn[:, column]).mean() for column in (columns[2], columns[-3])]
    assert height[0] < height[1] - 50, "it falls"
    assert columns[-1] - columns[0] > 300


def test_panels_lie_side_by_side_and_lines_have_colours_of_their_own() -> None:
    both = pixels(Curves("loss", {"a": FALLING, "b": RISING}), Curves("accuracy", {"a": RISING}))
    assert both.shape == (250, 800, 3)
    assert near(both[:, :400], RED).any() and not near(both[:, 400:], RED).any()
    assert near(both[:, 400:], BLUE).any()


def test_the_epoch_that_was_kept_is_marked() -> None:
    panel = Curves("loss", {"a": FALLING})
    marks = []
    for epoch in (1, 2, 4):
        grey = pixels(panel, best_epoch=epoch)
        dark = (grey.max(-1) - grey.min(-1) < 20) & (grey.max(-1) < 215)
        marks.append(dark[80:180, 45:].sum(0))
    assert all(mark.max() > 60 for mark in marks), "a line from top to bottom"
    assert marks[0].argmax() < marks[1].argmax() < marks[2].argmax()


def test_lines_of_one_epoch_or_one_value_can_be_drawn() -> None:
    assert near(pixels(Curves("loss", {"a": {0: 1.0}}), best_epoch=0), BLUE).any()
    assert near(pixels(Curves("loss", {"a": {1: 0.0, 2: 0.0}})), BLUE).any()


def test_a_line_that_begins_later_is_drawn_at_its_epochs() -> None:
    both = pixels(Curves("loss", {"later": {2: 1.0, 3: 1.0}, "all": {0: 2.0, 1: 2.0, 2: 2.0, 3: 2.0}}), best_epoch=0)
    blue, red = (np.flatnonzero(near(both[46:], colour).any(0)) for colour in (BLUE, RED))
    assert blue[0] > red[0] + 200
    assert abs(int(blue[-1]) - int(red[-1])) <= 1
