"""Names of files: what is a photograph, and which plot is meant."""

import pytest

from plantclef_assets.images.file_names import is_left_alone, is_photograph, match_plots, plot_id_of, why_unread


@pytest.mark.parametrize(
    ("name", "plot"),
    [
        ("CBN-PdlC-A1-20130807.jpg", "CBN-PdlC-A1-20130807"),
        ("a.b.webp", "a.b"),
        ("plot-1.2024", "plot-1.2024"),
        ("deep/win\\A1.JPEG", "A1"),
        (" A1 .jpg ", "A1"),
        ("A1.HEIC", "A1"),
        ("scan.tif.jpg", "scan.tif"),
        ("cafe\u0301.png", "caf\u00e9"),
        (".jpg", ""),
    ],
)
def test_a_plot_is_named_by_the_last_part_without_one_extension(name: str, plot: str) -> None:
    assert plot_id_of(name) == plot


def test_files_are_told_apart_by_their_names() -> None:
    assert all(map(is_photograph, ["a.jpg", "b/c.JFIF", "d.jpe", "e\\f.png", "g.jpg ", "h.JPG\u00a0"]))
    assert not any(map(is_photograph, ["a.txt", ".a.jpg", "@eaDir/a.jpg", "x\\__MACOSX\\a.jpg", "a.heic"]))
    assert all(
        map(why_unread, ["a.heic", "a.AVIF", "b/a.CR3", "a.zip", "a.zip ", "a.jpg.part", "a.JPG.crdownload", "a.ppm"])
    )
    assert not any(map(why_unread, ["a.jpg", "a.txt", ".a.heic", "a.tar.gz", "README", "a.txt.part", "a.part"]))
    assert not is_left_alone("eaDir/thumbs.jpg")


PLOTS = ["IMG_1", "IMG_1.JPG", "scan.tif", "caf\u00e9", "A1", "cafe\u0301-2", " B"]


@pytest.mark.parametrize(
    ("name", "plot"),
    [
        ("IMG_1", "IMG_1"),
        ("IMG_1.JPG", "IMG_1.JPG"),
        ("IMG_1.jpg", "IMG_1"),
        ("IMG_1.JPG.jpg", "IMG_1.JPG"),
        ("scan.tif", "scan.tif"),
        ("scan", "scan.tif"),
        ("cafe\u0301", "caf\u00e9"),
        ("caf\u00e9-2", "cafe\u0301-2"),
        (" A1 ", "A1"),
        ("win\\dir\\A1.jpg", "A1"),
        ("B", " B"),
        ("elsewhere", "elsewhere"),
        ("other.jpg", "other.jpg"),
    ],
)
def test_a_name_is_that_of_the_plot_that_is_meant(name: str, plot: str) -> None:
    assert match_plots({name: 7}, PLOTS) == {plot: 7}


def test_a_name_that_may_be_two_plots_is_that_of_none() -> None:
    assert match_plots({"scan": 7}, ["scan.tif", "scan.png"]) == {"scan": 7}


def test_a_plot_that_another_name_has_is_not_meant() -> None:
    matched = match_plots({"IMG_1": 7, "IMG_1.JPG": 8}, ["IMG_1.jpg", "IMG_1.JPG"])
    assert matched == {"IMG_1.jpg": 7, "IMG_1.JPG": 8}


def test_two_names_of_one_plot_are_refused() -> None:
    with pytest.raises(ValueError, match=r"plot 'A1' occurs more than once: as 'A1' and as 'A1.jpg'"):
        match_plots({"A1": 7, "A1.jpg": 8}, PLOTS)
