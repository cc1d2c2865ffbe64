"""Charts: learning curves, and the agreement between runs."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.report.charts import COLOURS, Curves, draw_agreement, draw_curves

FALLING = dict(enumerate([2.0, 1.5, 1.2, 1.1], start=1))
RISING = dict(enumerate([0.2, 0.5, 0.7, 0.72], start=1))
BLUE, RED = COLOURS[:2]


def decoded(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    assert not picture.info.keys() - {"transparency"}, "no date and no version"
    return np.asarray(picture.convert("RGB"), np.int64)


def pixels(*panels: Curves, best_epoch: int = 3) -> np.ndarray:
    return decoded(draw_curves(panels, best_epoch=best_epoch))


def near(found: np.ndarray, colour: tuple[int, int, int], reach: int = 24) -> np.ndarray:
    return np.abs(found - np.array(colour)).max(-1) < reach


def test_a_line_goes_from_left_to_right_as_its_values_do() -> None:
    drawn = near(pixels(Curves("loss", {"learned from": FALLING})), BLUE)[:, :500]  # the legend is at the right
    columns = np.flatnonzero(drawn.any(0))
    height = [np.flatnonzero(drawn[:, column]).mean() for column in (columns[2], columns[-3])]
    assert height[0] < height[1] - 100, "it falls"
    assert columns[-1] - columns[0] > 350


def test_panels_are_side_by_side_and_lines_have_different_colours() -> None:
    both = pixels(Curves("loss", {"a": FALLING, "b": RISING}), Curves("accuracy", {"b": RISING}))
    assert both.shape == (400, 1120, 3)
    assert near(both[:, :560], RED).any() and near(both[:, :560], BLUE).any()
    assert near(both[:, 560:], RED).any() and not near(both[:, 560:], BLUE).any(), "a line keeps its colour"


def test_the_epoch_that_was_kept_is_marked() -> None:
    marks = []
    for epoch in (1, 2, 4):
        drawn = pixels(Curves("loss", {"a": FALLING}), best_epoch=epoch)[60:330, 55:780]
        dark = (drawn.max(-1) - drawn.min(-1) < 20) & (drawn.max(-1) < 190)  # the grid is lighter
        marks.append(dark.sum(0))
    assert all(mark.max() > 100 for mark in marks), "a dashed line from top to bottom"
    assert marks[0].argmax() < marks[1].argmax() < marks[2].argmax()


def test_lines_of_one_epoch_or_one_value_can_be_drawn() -> None:
    assert near(pixels(Curves("loss", {"a": {0: 1.0}}), best_epoch=0), BLUE).any()
    assert near(pixels(Curves("loss", {"a": {1: 0.0, 2: 0.0}})), BLUE).any()


def test_a_line_that_begins_later_is_drawn_at_its_epochs() -> None:
    later = {"later": {2: 1.0, 3: 1.0}, "all": {0: 2.0, 1: 2.0, 2: 2.0, 3: 2.0}}
    both = pixels(Curves("loss", later), best_epoch=0)
    blue, red = (np.flatnonzero(near(both, colour).sum(0) >= 7) for colour in (BLUE, RED))  # markers, not lines
    blue, red = (found[(found > 60) & (found < 760)] for found in (blue, red))
    assert blue[0] > red[0] + 250


def test_agreement_is_darker_where_runs_agree_more() -> None:
    names = ["base_cls_full", "base_cls_3x3", "finetuned_cls_4x4"]
    picture = decoded(draw_agreement(names, [[1.0, 0.1, 0.5], [0.1, 1.0, 0.2], [0.5, 0.2, 1.0]]))
    brightness = picture.sum(-1)
    dark, light = brightness.min(), np.median(brightness[near(picture, (255, 255, 255))])
    assert dark < 250 and light == 765
    most = near(picture, (8, 29, 88), 12)  # the darkest colour: a value of 1
    rows = np.flatnonzero(most[:, : picture.shape[1] - 100].any(1))
    assert len(rows) > 3 * 60, "the diagonal, from the first row to the last"


@pytest.mark.parametrize("count", [1, 3, 24])
def test_agreement_of_few_or_many_runs_is_of_a_readable_size(count: int) -> None:
    data = draw_agreement([f"finetuned_head_{number}" for number in range(count)], np.eye(count).tolist())
    height, width, _ = decoded(data).shape
    assert 250 <= height <= 1000 and 300 <= width <= 1250
    assert len(data) < 120_000


def test_charts_do_not_depend_on_the_style_of_the_user_and_leave_it_alone() -> None:
    import matplotlib

    plain = draw_curves([Curves("loss", {"a": FALLING})], best_epoch=2)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert draw_curves([Curves("loss", {"a": FALLING})], best_epoch=2) == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_charts_do_not_load_pyplot() -> None:
    code = (
        "import sys; from plantclef_assets.report import charts; assert 'matplotlib' not in sys.modules; "
        "charts.draw_curves([charts.Curves('loss', {'a': {1: 2.0}})], best_epoch=1); "
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
