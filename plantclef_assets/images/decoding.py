"""From the bytes of a published picture to upright 8-bit RGB pixels, or to a named reason why not.

Photographs come from thousands of people: phones that write the orientation into EXIF, scanners that write
CMYK or 16 bits, downloads that broke off. What can be converted is; everything else ends as
`UndecodableImage` with one of the reasons below, which becomes a row of the quarantine. No setting of Pillow
is touched here, so these functions may run in any number of threads.
"""

import io
import re
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from plantclef_assets.images.file_names import CONVERT_HEIC

EMPTY = "empty"
NOT_AN_IMAGE = "not_an_image"
TRUNCATED = "truncated"
OVERSIZED = "oversized"
UNSUPPORTED = "unsupported"
REASONS = (EMPTY, NOT_AN_IMAGE, TRUNCATED, OVERSIZED, UNSUPPORTED)
"""Why an image cannot be decoded: no bytes at all; not a picture; pixels missing or damaged; too many pixels;
a picture of a kind that has no agreed conversion to 8-bit RGB."""

MAX_PIXELS = 80_000_000
"""Default limit in pixels: eight times the largest published plot (about 3,100 × 3,100), 240 MB once decoded.
Pillow itself never opens more than 179 million pixels, whatever limit is given here."""

# Plugins that start other programs (EPS) or that nobody photographs in are left out on purpose. JPEG includes the
# multi-picture files (MPO) of some cameras.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP")

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"GIF8")
"""First bytes of formats above that no text or web page begins with."""

_SIXTEEN_BIT_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
_CONVERTIBLE = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LA", "La", "PA", "RGBA", "RGBa", "RGBX")

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of each EXIF orientation upright (EXIF 2.32, tag 0x0112)."""


_PNG = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
"""The ancillary chunks of a PNG that its pixels depend on: transparency, and the frames of an animation."""
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_TEXTS = {b"Raw profile type exif": "Raw profile type exif", b"XML:com.adobe.xmp": "xmp"}
"""Keywords of the PNG texts that may hold an orientation, and the names that Pillow has for them."""
_LONGEST_TEXT = 64 * 2**20
"""Bytes that a compressed PNG text is expanded to at most."""


class UndecodableImage(ValueError):
    """The bytes of one image cannot become pixels.

    Attributes:
        reason: one of `REASONS`.
        detail: a sentence for the person who looks at the quarantine.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["UndecodableImage"], tuple[str, str]]:
        return type(self), (self.reason, self.detail)  # it has to cross process boundaries


def read_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Read (width, height) in pixels of the upright picture from the header alone; no pixel is decoded.

    Raises:
        UndecodableImage: for reason `empty`, `not_an_image`, `truncated` (within the header) or `oversized`.
    """
    with _open(data, max_pixels) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a picture completely into an upright image of mode RGB, 8 bits a channel.

    CMYK, palettes and grey are converted, 16-bit grey is scaled (65,535 becomes 255), transparency is laid
    on white, of an animation the first frame is taken. Colour profiles are not applied.

    Raises:
        UndecodableImage: for any of `REASONS`. No other exception is raised because of the bytes; running
            out of memory says nothing about them and stays a `MemoryError`.
    """
    with _open(data, max_pixels) as opened:
        orientation = _orientation(opened)
        try:
            opened.load()
        except MemoryError:
            raise
        except Exception as error:  # the decoders raise OSError, SyntaxError, struct.error, ValueError, …
            raise UndecodableImage(TRUNCATED, f"its pixels cannot be read: {error}") from error
        try:
            image = _to_rgb(opened)
        except (ValueError, OSError) as error:
            raise UndecodableImage(UNSUPPORTED, f"mode {opened.mode} cannot be converted: {error}") from error
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """Open an image of an accepted format within the limit, reading its header only."""
    if not data:
        raise UndecodableImage(EMPTY, "the file has no bytes")
    encoded, metadata = _without_metadata(data) if data.startswith(_PNG) else (data, {})
    try:
        image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UndecodableImage(OVERSIZED, str(error)) from error
    except MemoryError:
        raise
    except Exception as error:
        raise _unopenable(data, error) from error
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise UndecodableImage(OVERSIZED, f"{width} × {height} pixels are more than the limit of {max_pixels:,} pixels")
    image.info |= metadata
    return image


def _without_metadata(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Separate the chunks of a PNG that its pixels depend on from its metadata (PNG specification, section 5.3).

    Pillow refuses a whole PNG for an ancillary chunk that is large or has a wrong checksum, and finds metadata behind
    the pixels only by decoding these.

    Returns:
        the PNG without metadata; and of the metadata what may hold an orientation, as `Image.info` has it.
    """
    kept, info, place = [_PNG], {}, len(_PNG)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data) or not kind.isalpha():
            break
        body = data[place + 8 : end - 4]
        if kind == b"eXIf":
            info["exif"] = b"Exif\0\0" + body
        elif kind in _TEXT_CHUNKS:
            info |= _orienting_text(kind, body)
        elif kind in _PIXEL_CHUNKS:
            kept.append(struct.pack(">I", length) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
        elif kind[:1].isupper():  # a critical chunk
            kept.append(data[place:end])
        place = end
    return b"".join([*kept, data[place:]]), info


def _orienting_text(kind: bytes, body: bytes) -> dict[str, Any]:
    """Read the text of a PNG chunk; empty where it cannot hold an orientation or is damaged."""
    keyword, _, text = body.partition(b"\0")
    if keyword not in _TEXTS:
        return {}
    compressed = kind == b"zTXt"
    if compressed:
        text = text[1:]
    elif kind == b"iTXt":
        compressed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]
    if compressed:
        try:
            text = zlib.decompressobj().decompress(text, _LONGEST_TEXT)
        except zlib.error:
            return {}
    name = _TEXTS[keyword]
    return {name: text if name == "xmp" else text.decode("latin-1")}


def _unopenable(data: bytes, error: Exception) -> UndecodableImage:
    """Say why Pillow could not even read a header."""
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("ascii", "replace")
        return UndecodableImage(UNSUPPORTED, f"an ISO media file ({brand}, such as HEIC); {CONVERT_HEIC}")
    if data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        why = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error))  # an address in memory differs each time
        return UndecodableImage(TRUNCATED, f"begins as a picture, but its header is incomplete ({why})")
    return UndecodableImage(NOT_AN_IMAGE, f"begins with {data[:16]!r}, which is no known picture format")


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation (1 = upright) from the header of an image that is not yet loaded."""
    if image.format == "TIFF":
        return 1  # Pillow itself turns TIFFs upright while loading, and reports the upright size
    try:
        # That of a PNG would decode the pixels to look for metadata behind them; `_open` has found it already.
        orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except (ValueError, OSError, SyntaxError, KeyError, TypeError, struct.error):
        return 1  # damaged EXIF leaves a good picture as it is
    return orientation if isinstance(orientation, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any supported mode to RGB."""
    if image.mode in _SIXTEEN_BIT_GREY:
        levels = np.asarray(image).astype(np.uint32)
        # 65535 = 257 × 255, so this rounds to the nearest 8-bit level; Pillow's convert would clip at 255.
        grey = ((levels + 128) // 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode not in _CONVERTIBLE:
        raise ValueError("its range of values is not known")
    if image.has_transparency_data:
        transparent = image.convert("RGBA")
        white = Image.new("RGBA", transparent.size, "white")
        return Image.alpha_composite(white, transparent).convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image.copy()
