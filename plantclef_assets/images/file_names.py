r"""Names of files: whether a file is a photograph, and which plot it shows.

What belongs here: names only. What does not: listing files (`ingest/`), and their contents (`images/decoding.py`).
Parts of a path are separated by `/` or `\`: archives packed on Windows keep `\` on other systems.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from typing import TypeVar

PHOTOGRAPHS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo"),
    *(".png", ".apng", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
)
"""Extensions of files that are read as photographs."""
CONVERT_HEIC = "convert it to JPEG, for example with `heif-convert a.heic a.jpg` or `magick a.heic a.jpg`"

_HEIC = (".heic", ".heif", ".hif", ".heics", ".heifs", ".avci")
_OTHER_PICTURES = (
    *(".avif", ".avifs", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".jxr", ".psd", ".xcf"),
    *(".pnm", ".ppm", ".pgm", ".tga", ".jps", ".pns", ".insp"),
)
_RAW = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".k25", ".kdc", ".mef"),
    *(".mos", ".mrw", ".nef", ".nrw", ".orf", ".ori", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw"),
    ".x3f",
)
_FILMS = (".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mts", ".webm", ".wmv")
_PACKED = (".zip", ".zipx", ".rar", ".7z", ".tbz", ".tbz2", ".txz", ".tzst", ".tar.zst", ".tar.lz4", ".tar.lzma")
_UNREAD = {
    _HEIC: f"a HEIC picture, which is not read; {CONVERT_HEIC}",
    _OTHER_PICTURES: "a picture of a kind that is not read; convert it to JPEG or PNG, for example with `magick`",
    _RAW: "a raw file of a camera, which is not read; develop it to JPEG or TIFF, for example with darktable",
    _FILMS: "a film, which is not read; save a frame of it as JPEG",
    _PACKED: "a packed archive, which is not opened; unpack it there, or pack it as .tar",
}
"""Extensions of files that can contain photographs but are not read, with the reason and a remedy."""
_PARTIAL = (".part", ".partial", ".filepart", ".crdownload", ".download", ".icloud")
"""Extensions of pictures that are not completely copied or downloaded."""
_PICTURES = (*PHOTOGRAPHS, *_HEIC, *_OTHER_PICTURES, *_RAW)
_SYSTEM_FOLDERS = frozenset(
    [
        *("@eadir", "@tmp", "@recycle", "#recycle", "#snapshot"),  # network storage
        *("__macosx", "$recycle.bin", "recycler", "system volume information", "lost+found"),
        *("thumbnails", "thumbs", "@__thumb"),
    ]
)
"""Folders of systems and of thumbnails, in lower case; like hidden ones they are ignored."""

Value = TypeVar("Value")


def is_left_alone(path: str) -> bool:
    """Whether a path is ignored: a part of it is hidden, or a folder of a system or of thumbnails."""
    return any(part.startswith(".") or part.lower() in _SYSTEM_FOLDERS for part in _parts(path))


def is_photograph(path: str) -> bool:
    """Whether a path is that of a photograph that is read."""
    return _lower(path).endswith(PHOTOGRAPHS) and not is_left_alone(path)


def why_unread(path: str) -> str | None:
    """Return why a file that can contain photographs is not read, with a remedy; None for any other file."""
    name = _lower(path)
    if name.endswith(PHOTOGRAPHS) or is_left_alone(path):
        return None
    if name.endswith(_PARTIAL) and name.rpartition(".")[0].endswith(_PICTURES):
        return "a picture that is not completely copied; copy or download it again"
    return next((why for endings, why in _UNREAD.items() if name.endswith(endings)), None)


def is_unicode(name: str) -> bool:
    """Whether a name can be encoded as UTF-8; a name with surrogate escapes cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_unicode(name: str) -> str:
    r"""Return a name in which each byte that is not UTF-8 is written like `\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def last_part(path: str) -> str:
    """Return the file name of a path, in the normal form of a plot id."""
    return normal_plot_id(_parts(path)[-1])


def plot_id_of(name: str) -> str:
    """Return the normal form of a plot's name: no folder, no extension of a picture, no outer blanks, and Unicode NFC.

    One extension is removed: `scan.tif.jpg` shows plot `scan.tif`. The result can be empty.
    """
    last = last_part(name)
    ending = last.lower()[last.rfind(".") :] if "." in last else ""
    return normal_plot_id(last[: -len(ending)]) if ending in _PICTURES else last


def normal_plot_id(plot_id: str) -> str:
    """Return the normal form of a plot id: no outer blanks, and Unicode NFC."""
    return unicodedata.normalize("NFC", plot_id).strip()


def match_plots(named: Mapping[str, Value], plots: Collection[str]) -> dict[str, Value]:
    """Return values that are given by plot names, by the ids of the matching plots.

    A name matches the plot with the same id, except for blanks and Unicode normal forms; else the plot with its id
    without folder and extension; else the only plot without a name yet that has the same id without extension. A name
    that matches no plot is kept.

    Raises:
        ValueError: two names match the same plot.
    """
    exact = {normal_plot_id(plot): plot for plot in plots}
    left = set(plots) - {exact.get(normal_plot_id(name)) for name in named}
    forms = Counter(plot_id_of(plot) for plot in left)
    loose = {form: plot for plot in left if forms[form := plot_id_of(plot)] == 1} | exact
    names: dict[str, str] = {}
    for name in named:
        plot = exact.get(normal_plot_id(name)) or loose.get(plot_id_of(name), name)
        if plot in names:
            raise ValueError(f"plot {plot!r} occurs more than once: as {names[plot]!r} and as {name!r}")
        names[plot] = name
    return {plot: named[name] for plot, name in names.items()}


def _lower(path: str) -> str:
    return path.rstrip().lower()  # without blanks after an extension


def _parts(path: str) -> list[str]:
    return re.split(r"[/\\]", path)
