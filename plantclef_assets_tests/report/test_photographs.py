"""Pictures on photographs: contact sheets, tiled plots, and plots coloured by species."""

import io

import numpy as np
import pytest
from PIL import Image

from plantclef_assets.images.decoding import UndecodableImage
from plantclef_assets.images.tiling import tile_boxes
from plantclef_assets.report.charts import COLOURS
from plantclef_assets.report.photographs import Shown, contact_sheet, draw_cover, side_by_side, tiled_plot

PAPER = np.array([246, 245, 240])
SIDE = 400
GROUND = 60


def picture(colour: tuple[int, int, int], width: int = 60, height: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB")).astype(int)


def square(sheet: np.ndarray, index: int, columns: int = 8, side: int = 72, gap: int = 4) -> np.ndarray:
    """Give the inner pixels of one place of a sheet."""
    left, top = gap + index % columns * (side + gap), gap + index // columns * (side + gap)
    return sheet[top + 8 : top + side - 8, left + 8 : left + side - 8]


@pytest.mark.parametrize(("count", "rows"), [(0, 1), (1, 1), (8, 1), (9, 2), (17, 3)])
def test_a_sheet_has_as_many_rows_as_its_pictures_need(count: int, rows: int) -> None:
    sheet = decoded(contact_sheet([picture((200, 0, 0))] * count))
    assert sheet.shape == (rows * 76 + 4, 8 * 76 + 4, 3)


def test_every_picture_is_in_its_place() -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 30), (120, 30, 160)]
    sheet = decoded(contact_sheet([picture(colour) for colour in colours], columns=3))
    for index, colour in enumerate(colours):
        assert np.abs(square(sheet, index, columns=3) - colour).mean() < 12
    assert np.abs(square(sheet, 5, columns=3) - PAPER).mean() < 4, "nothing lies in the last place"


@pytest.mark.parametrize("bad", [b"", b"<html>404</html>", picture((200, 30, 30))[:200]])
def test_a_picture_that_cannot_be_decoded_leaves_its_place_empty(bad: bytes) -> None:
    sheet = decoded(contact_sheet([picture((200, 30, 30)), bad, picture((30, 30, 200))]))
    assert np.abs(square(sheet, 0) - (200, 30, 30)).mean() < 12
    assert np.abs(square(sheet, 1) - PAPER).mean() < 4
    assert np.abs(square(sheet, 2) - (30, 30, 200)).mean() < 12


def test_a_sheet_stays_small_enough_for_an_event_log() -> None:
    random = np.random.default_rng(1)
    noisy = []
    for _ in range(16):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(buffer, "JPEG", quality=95)
        noisy.append(buffer.getvalue())
    assert len(contact_sheet(noisy)) < 150_000


@pytest.mark.parametrize(
    ("width", "height", "size"), [(800, 600, (640, 480)), (300, 600, (320, 640)), (64, 64, (640, 640))]
)
def test_a_plot_is_scaled_to_its_longer_side(width: int, height: int, size: tuple[int, int]) -> None:
    drawn = decoded(tiled_plot(picture((90, 120, 60), width, height), tile_boxes(width, height, "2x2"), {}))
    assert (drawn.shape[1], drawn.shape[0]) == size


def test_borders_are_where_the_tiles_meet() -> None:
    ground = (90, 120, 60)
    drawn = decoded(tiled_plot(picture(ground, 640, 480), tile_boxes(640, 480, "2x2"), {}))
    assert np.abs(drawn[230:250, 100:300] - ground).max() > 60, "a line lies between the rows"
    assert np.abs(drawn[100:200, 310:330] - ground).max() > 60, "and one between the columns"
    assert np.abs(drawn[20:220, 20:300] - ground).max() < 25, "but nothing within a tile without label"


def test_labels_are_written_into_their_own_tiles() -> None:
    ground = (90, 120, 60)
    drawn = decoded(
        tiled_plot(picture(ground, 640, 480), tile_boxes(640, 480, "2x2"), {3: ["Aster alpinus L.", "0.87"]})
    )
    labelled, other = drawn[244:275, 326:440], drawn[4:35, 6:120]
    assert np.abs(labelled - ground).max() > 100
    assert labelled.max() > 200, "there are bright letters"
    assert labelled.min() < 70, "on a dark band"
    assert np.abs(other - ground).max() < 25


def test_a_long_label_stays_within_its_tile() -> None:
    ground = (90, 120, 60)
    name = "Polypodiaceae cambricum subsp. australe (Fée) Greuter et Burdet " * 3
    drawn = decoded(tiled_plot(picture(ground, 640, 480), tile_boxes(640, 480, "1x4"), {1: [name]}))
    assert np.abs(drawn[2:18, 166:310] - ground).max() > 100
    assert np.abs(drawn[2:18, 325:470] - ground).max() < 25
    assert np.abs(drawn[2:18, 6:150] - ground).max() < 25


def test_of_tiles_that_overlap_the_smallest_are_drawn() -> None:
    for name in ("2x2", "3x3"):
        tiles = tile_boxes(101, 100, name)
        assert side_by_side(tiles) == tiles
    several = tile_boxes(101, 100, "1x1+3x3+2x2")
    assert [tile.index for tile in side_by_side(several)] == list(range(1, 10))
    windows = side_by_side(tile_boxes(100, 100, "w50s25"))
    assert [(tile.x, tile.y) for tile in windows] == [(0, 0), (50, 0), (0, 50), (50, 50)]


def test_a_plot_that_cannot_be_decoded_is_told() -> None:
    with pytest.raises(UndecodableImage, match="truncated"):
        tiled_plot(picture((90, 120, 60), 200, 200)[:300], tile_boxes(200, 200, "2x2"), {})


def covered(*species: Shown) -> np.ndarray:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (GROUND, GROUND, GROUND)).save(buffer, "PNG")
    return np.asarray(Image.open(io.BytesIO(draw_cover(buffer.getvalue(), species, "a note", side=SIDE))), int)


def veiled(number: int) -> np.ndarray:
    """Give the colour of a species as it lies over the ground."""
    return (np.array(COLOURS[number]) * 105 + GROUND * 150) / 255


def test_a_tile_has_the_colour_of_its_species_and_the_rest_none() -> None:
    picture = covered(Shown("one", [(0, 0, 200, 200)], [0.9]), Shown("two", [(200, 200, 200, 200)], [0.9]))
    assert np.abs(picture[100, 100] - veiled(0)).max() < 6
    assert np.abs(picture[300, 300] - veiled(1)).max() < 6
    assert np.abs(picture[100, 300] - GROUND).max() < 6


def test_smaller_tiles_lie_on_top_and_of_equal_ones_the_surer() -> None:
    whole, corner = (0, 0, SIDE, SIDE), (200, 200, 200, 200)
    picture = covered(Shown("one", [corner, whole], [0.2, 0.9]), Shown("two", [corner], [0.3]))
    assert np.abs(picture[100, 100] - veiled(0)).max() < 6
    assert np.abs(picture[300, 300] - veiled(1)).max() < 6, "no mixture of two colours"


def test_the_legend_has_a_line_for_each_colour_and_one_for_all_others() -> None:
    def below(count: int) -> np.ndarray:
        return covered(*(Shown(f"Salvia × nº {number}", [(0, 0, 50, 50)], [0.5]) for number in range(count)))[SIDE:]

    line = len(below(1)) - len(below(0))
    assert len(below(5)) == len(below(0)) + 5 * line
    assert len(below(9)) == len(below(0)) + 6 * line
    swatches = [below(9)[int(5 + (number + 0.5) * line), 17] for number in range(6)]
    for number in range(5):
        assert np.abs(swatches[number] - COLOURS[number]).max() < 30
    assert np.ptp(swatches[5]) < 8, "grey"


def test_pictures_have_no_metadata_of_the_photographs() -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x8825] = "leaf at 43.1 N", {1: "N", 2: (43.0, 6.0, 7.0)}
    secret = "found at 43.1 N 3.2 E"
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), (20, 90, 30)).save(buffer, "JPEG", exif=exif, comment=secret, icc_profile=b"43.1 N")
    data = buffer.getvalue()
    assert data.count(b"43.1 N") == 3
    pictures = [
        contact_sheet([data]),
        tiled_plot(data, list(tile_boxes(300, 200, "2x2")), {0: ["Quercus"]}),
        draw_cover(data, [Shown("Quercus", [(0, 0, 50, 50)], [0.5])], "note"),
    ]
    for made in pictures:
        assert b"43.1 N" not in made
        with Image.open(io.BytesIO(made)) as image:
            assert not image.getexif()
            assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"}
