"""Decoding pictures: from the bytes of a file to upright 8-bit RGB pixels, or to a reason for quarantine.

Photographs come from thousands of people: phones write the orientation into EXIF, scanners write CMYK or 16 bits,
downloads are truncated. Every convertible picture is converted; others raise `UndecodableImage` with one of the reasons
below, which becomes a row of the quarantine. No setting of Pillow is changed, so these functions are thread-safe.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
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
"""Reasons why an image cannot be decoded: no bytes; not a picture; missing or damaged pixels; too many pixels; a kind
of picture without a standard conversion to 8-bit RGB."""

MAX_PIXELS = 80_000_000
"""Default limit in pixels: eight times the largest published plot (about 3,100 × 3,100), 240 MB when
decoded. Pillow has a limit of its own, 179 million pixels."""

# Without plugins that start other programs (EPS) and formats that no camera writes. JPEG includes the multi-picture
# files (MPO) of some cameras.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP")
_JPEG_FORMATS = ("JPEG", "MPO")

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"GIF8")
"""First bytes of formats above that do not occur at the start of texts or web pages."""

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
"""Transposition that turns a picture upright, by EXIF orientation (EXIF 2.32, tag 0x0112)."""
_STARTS_AT_RIGHT = (2, 3, 7, 8)
_STARTS_AT_BOTTOM = (3, 4, 6, 7)
"""Orientations whose upright picture begins where the stored one ends, horizontally (of the stored picture) and
vertically."""

_DIVISORS = (8, 4, 2)
"""Scales of libjpeg's decoder, which computes 1/8, 1/4 or 1/2 of the pixels from the coefficients of each block."""


_PNG = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
"""Ancillary chunks of a PNG that affect its pixels: transparency, and the frames of an animation."""
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_TEXTS = {b"Raw profile type exif": "Raw profile type exif", b"XML:com.adobe.xmp": "xmp"}
"""Keywords of PNG texts that can contain an orientation, and Pillow's names for them."""
_LONGEST_TEXT = 64 * 2**20
"""Maximum length in bytes of a decompressed PNG text."""


class UndecodableImage(ValueError):
    """An image cannot be decoded.

    Attributes:
        reason: one of `REASONS`.
        detail: explanation for readers of the quarantine.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["UndecodableImage"], tuple[str, str]]:
        return type(self), (self.reason, self.detail)  # must be picklable, for worker processes


@dataclass(frozen=True)
class ReducedImage:
    """An upright RGB picture, perhaps decoded at a reduced scale.

    Attributes:
        image: the decoded pixels. Where the divisor does not divide the original size, one row or column of them
            extends beyond the original picture.
        divisor: 1, 2, 4 or 8: px of the original for 1 px of `image`, horizontally and vertically.
        width, height: upright size of the original, px.
        left, top: position of the original's upper left corner in `image`, px of `image`: 0 or a fraction of 1.
    """

    image: Image.Image
    divisor: int
    width: int
    height: int
    left: float = 0.0
    top: float = 0.0


def read_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (width, height) in pixels of the upright picture; only the header is read.

    Raises:
        UndecodableImage: for reason `empty`, `not_an_image`, `truncated` (within the header) or `oversized`.
    """
    with _open(data, max_pixels) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a completely decoded picture as an upright image of mode RGB, 8 bits per channel.

    CMYK, palettes and grey are converted, 16-bit grey is scaled (65,535 becomes 255), transparent pixels are blended
    with white, and animations are reduced to their first frame. Colour profiles are not applied.

    Raises:
        UndecodableImage: for any of `REASONS`. The bytes cause no other exception; running out of memory is a
            `MemoryError`.
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


def scale_divisor(side: int, least_side: int) -> int:
    """Return the largest divisor of the size (8, 4, 2 or 1) that leaves `least_side` of `side` px, or 1."""
    return next((one for one in _DIVISORS if side >= one * least_side), 1)


def decode_reduced(data: bytes, least_side: int, *, max_pixels: int = MAX_PIXELS) -> ReducedImage:
    """Return a picture that is decoded at the smallest scale whose shorter side has at least `least_side` px.

    Only JPEG files in grey or RGB colours are reduced; other pictures, and those that cannot be decoded, are treated
    as by `decode_image`. The limit applies to the original size.

    Raises:
        UndecodableImage: as `decode_image`.
    """
    return _decode_scaled(data, lambda width, height: scale_divisor(min(width, height), least_side), max_pixels)


def decode_at_scale(data: bytes, divisor: int, *, max_pixels: int = MAX_PIXELS) -> ReducedImage:
    """Return a picture that is decoded at 1/divisor of its size (8, 4, 2 or 1); exceptions as in `decode_reduced`.

    Raises:
        UndecodableImage: as `decode_image`.
    """
    return _decode_scaled(data, lambda width, height: divisor, max_pixels)


def _decode_scaled(data: bytes, divisor_of: Callable[[int, int], int], max_pixels: int) -> ReducedImage:
    """Decode a picture at the scale that is chosen from its stored width and height."""
    with _open(data, max_pixels) as opened:
        width, height = opened.size
        divisor = divisor_of(width, height)
        reducible = opened.format in _JPEG_FORMATS and opened.mode in ("L", "RGB")
        orientation = _orientation(opened)
        image = _load_reduced(opened, divisor) if reducible and divisor > 1 else None
    if image is None:
        image = decode_image(data, max_pixels=max_pixels)
        return ReducedImage(image, 1, *image.size)
    beyond_right, beyond_bottom = image.width - width / divisor, image.height - height / divisor
    left = beyond_right if orientation in _STARTS_AT_RIGHT else 0.0
    top = beyond_bottom if orientation in _STARTS_AT_BOTTOM else 0.0
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    if orientation in (5, 6, 7, 8):
        width, height, left, top = height, width, top, left
    return ReducedImage(image, divisor, width, height, left, top)


def _load_reduced(opened: Image.Image, divisor: int) -> Image.Image | None:
    """Return the pixels of a JPEG at 1/divisor of its size as RGB; None if they cannot be decoded at this scale."""
    width, height = opened.size
    try:
        opened.draft(None, (width // divisor, height // divisor))
        opened.load()
    except MemoryError:
        raise
    except Exception:  # the complete decoding determines whether the file is refused, and why
        return None
    expected = (-(-width // divisor), -(-height // divisor))
    return _to_rgb(opened) if opened.size == expected else None


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """Return an opened image of an accepted format within the limit; only its header is read."""
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
    """Separate the chunks of a PNG that affect its pixels from its metadata (PNG specification, section 5.3).

    Pillow refuses a PNG with a large ancillary chunk or one with a wrong checksum, and finds metadata after the pixels
    only by decoding these.

    Returns:
        the PNG without metadata; and the metadata that can contain an orientation, in the form of `Image.info`.
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
    """Return the text of a PNG chunk; empty if it cannot contain an orientation or is damaged."""
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
    """Return the error for an image whose header Pillow cannot read."""
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("ascii", "replace")
        return UndecodableImage(UNSUPPORTED, f"an ISO media file ({brand}, such as HEIC); {CONVERT_HEIC}")
    if data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        why = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error))  # an address in memory differs between runs
        return UndecodableImage(TRUNCATED, f"begins as a picture, but its header is incomplete ({why})")
    return UndecodableImage(NOT_AN_IMAGE, f"begins with {data[:16]!r}, which is no known picture format")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation (1 = upright) from the header of an image that is not yet loaded."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFFs upright when loading, and reports the upright size
    try:
        # For a PNG, Pillow would decode the pixels to look for metadata after them; `_open` has found it already.
        orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except (ValueError, OSError, SyntaxError, KeyError, TypeError, struct.error):
        return 1  # damaged EXIF is ignored
    return orientation if isinstance(orientation, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image of any supported mode as RGB."""
    if image.mode in _SIXTEEN_BIT_GREY:
        levels = np.asarray(image).astype(np.uint32)
        # 65535 = 257 × 255, so this rounds to the nearest 8-bit level; Pillow's convert would clip at 255.
        grey = ((levels + 128) // 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode not in _CONVERTIBLE:
        raise ValueError("its range of values is unknown")
    if image.has_transparency_data:
        transparent = image.convert("RGBA")
        white = Image.new("RGBA", transparent.size, "white")
        return Image.alpha_composite(white, transparent).convert("RGB")
    if image.mode != "RGB":
        return image.convert("RGB")
    # A loaded JPEG is independent of its file. Other formats keep decoders, which a copy does not have.
    return image if image.format in _JPEG_FORMATS else image.copy()
