import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from plantclef_assets.images.decoding import (
    EMPTY,
    NOT_AN_IMAGE,
    OVERSIZED,
    REASONS,
    TRUNCATED,
    UNSUPPORTED,
    UndecodableImage,
    decode_image,
    read_size,
)
from plantclef_assets_tests.images.pictures import ORIENTATION_TAG, encoded, picture


def reason_of(data: bytes, **options) -> str:
    with pytest.raises(UndecodableImage) as caught:
        decode_image(data, **options)
    return caught.value.reason


def mean_difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).mean())


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
def test_a_plain_picture_is_decoded(form):
    original = picture(60, 40)
    image = decode_image(encoded(original, form))
    assert (image.mode, image.size) == ("RGB", (60, 40))
    assert mean_difference(image, original) < 6


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_foreseen(form, orientation):
    upright = picture(64, 40)
    stored_as = {  # how a camera stores an upright scene under each orientation: the inverse of showing it
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if stored_as is None else upright.transpose(stored_as)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    data = encoded(stored, form, exif=exif)
    assert read_size(data) == (64, 40)
    assert mean_difference(decode_image(data), upright) < 8


def test_damaged_exif_leaves_the_picture():
    data = encoded(picture(30, 20), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert read_size(data) == (30, 20)
    assert decode_image(data).size == (30, 20)


def test_cmyk_is_converted():
    original = picture(40, 40)
    image = decode_image(encoded(original.convert("CMYK"), "JPEG", quality=95))
    assert image.mode == "RGB"
    assert mean_difference(image, original) < 6


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form):
    levels = np.array([[0, 128, 129, 32768, 65406, 65407, 65535]], np.uint16)
    image = decode_image(encoded(Image.fromarray(levels), form))
    expected = np.round(levels / 257).astype(np.uint8)
    assert np.array_equal(np.asarray(image), np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode):
    image = Image.new("RGBA", (2, 1), (200, 200, 200, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    decoded = decode_image(encoded(image.convert(mode), "PNG"))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [(200, 200, 200), (255, 255, 255)]


def test_a_palette_and_its_transparent_colour_are_converted():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    opaque = decode_image(encoded(image, "PNG"))
    assert [opaque.getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (40, 50, 60)]
    transparent = decode_image(encoded(image, "PNG", transparency=1))
    assert [transparent.getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (255, 255, 255)]


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data).getpixel((0, 0)) == (255, 0, 0)


def test_no_bytes():
    assert reason_of(b"") == EMPTY
    with pytest.raises(UndecodableImage, match="empty"):
        read_size(b"")


@pytest.mark.parametrize("data", [b"<html>404</html>", b"\0" * 1000, b"image_name;organ\n"])
def test_not_a_picture(data):
    assert reason_of(data) == NOT_AN_IMAGE
    with pytest.raises(UndecodableImage, match="not_an_image"):
        read_size(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_truncated_file(form, share):
    data = encoded(Image.effect_noise((120, 90), 60).convert("RGB"), form)
    assert reason_of(data[: int(len(data) * share)]) == TRUNCATED


def test_a_file_cut_within_its_header_is_truncated():
    assert reason_of(encoded(picture(20, 20), "JPEG")[:30]) == TRUNCATED


def test_the_size_of_a_truncated_file_is_still_read():
    data = encoded(picture(120, 90), "JPEG")
    assert read_size(data[: len(data) * 3 // 4]) == (120, 90)


def test_the_limit_holds_before_any_pixel_is_decoded():
    data = encoded(Image.new("L", (300, 200)), "PNG")
    cut = data[:60]  # no pixel is left, so only the header can be what decides
    for function in (decode_image, read_size):
        with pytest.raises(UndecodableImage) as caught:
            function(cut, max_pixels=59_999)
        assert caught.value.reason == OVERSIZED
    assert decode_image(data, max_pixels=60_000).size == (300, 200)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused(side):
    header = bytearray(encoded(Image.new("1", (8, 8)), "BMP"))
    header[18:26] = side.to_bytes(4, "little") * 2
    assert reason_of(bytes(header)) == OVERSIZED


def test_kinds_without_agreed_conversion():
    assert reason_of(encoded(Image.new("F", (4, 4)), "TIFF")) == UNSUPPORTED
    assert reason_of(encoded(Image.new("I", (4, 4)), "TIFF")) == UNSUPPORTED
    assert reason_of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == UNSUPPORTED


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
def test_damaged_bytes_raise_nothing_else(form):
    whole = np.frombuffer(encoded(picture(40, 30), form), np.uint8)
    random = np.random.default_rng(1)
    for _ in range(150):
        damaged = whole.copy()
        places = random.integers(0, len(whole), 8)
        damaged[places] = random.integers(0, 256, 8)
        for function in (decode_image, read_size):
            try:
                function(damaged.tobytes(), max_pixels=1_000_000)
            except UndecodableImage as error:
                assert error.reason in REASONS


def test_the_error_crosses_processes():
    error = pickle.loads(pickle.dumps(UndecodableImage(EMPTY, "the file has no bytes")))
    assert (error.reason, error.detail) == (EMPTY, "the file has no bytes")


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    """Return a PNG chunk, with its own checksum or another one."""
    checksum = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def with_chunks(data: bytes, *chunks: bytes, behind: bool = False) -> bytes:
    """Put chunks into a PNG, before its pixels or behind them."""
    place = len(data) - 12 if behind else data.index(b"IDAT") - 4
    return data[:place] + b"".join(chunks) + data[place:]


EXIF_6 = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
RAW_PROFILE_6 = b"\nexif\n%8d\n" % (len(EXIF_6) + 6) + (b"Exif\0\0" + EXIF_6).hex().encode()
XMP_6 = b'<x tiff:Orientation="6"/>'
ORIENTED = {
    "eXIf": chunk(b"eXIf", EXIF_6),
    "tEXt": chunk(b"tEXt", b"Raw profile type exif\0" + RAW_PROFILE_6),
    "zTXt": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW_PROFILE_6)),
    "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP_6),
    "compressed iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(XMP_6)),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("kind", ORIENTED)
def test_the_orientation_of_a_png_is_found_wherever_pillow_finds_it(kind, behind):
    data = with_chunks(encoded(picture(64, 40), "PNG"), ORIENTED[kind], behind=behind)
    opened = Image.open(io.BytesIO(data))
    opened.load()
    transposed = ImageOps.exif_transpose(opened)
    assert read_size(data) == transposed.size == (40, 64)
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(transposed))


METADATA = {
    "large text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
    "large XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(b" " * 3_000_000)),
    "large profile": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(3_000_000))),
    "bad checksum": chunk(b"tEXt", b"Comment\0x", crc=7),
    "bad time checksum": chunk(b"tIME", bytes(7), crc=7),
    "short gamma": chunk(b"gAMA", b"\0"),
    "damaged profile": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n2\nxyz"),
    "damaged text": chunk(b"zTXt", b"Raw profile type exif\0\0no zlib"),
    "text without parts": chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01"),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("kind", METADATA)
def test_metadata_of_a_png_does_not_keep_its_pixels_from_being_read(kind, behind):
    plain = encoded(picture(30, 20), "PNG")
    data = with_chunks(plain, METADATA[kind], behind=behind)
    assert read_size(data) == (30, 20)
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(decode_image(plain)))


def test_large_metadata_does_not_hide_the_orientation():
    text = XMP_6 + b" " * 3_000_000
    data = with_chunks(
        encoded(picture(30, 20), "PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(text))
    )
    assert decode_image(data).size == read_size(data) == (20, 30)


def test_transparency_with_a_bad_checksum_is_kept():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    data = encoded(image, "PNG", transparency=1)
    place = data.index(b"tRNS") + 4 + struct.unpack_from(">I", data, data.index(b"tRNS") - 4)[0]
    damaged = data[:place] + b"\0\0\0\0" + data[place + 4 :]
    assert [decode_image(damaged).getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (255, 255, 255)]


def test_what_is_said_of_a_damaged_picture_is_the_same_each_time():
    data = encoded(picture(20, 20), "PNG")[:30]
    details = set()
    for _ in range(2):
        with pytest.raises(UndecodableImage) as caught:
            decode_image(bytes(data))
        details.add(caught.value.detail)
    assert len(details) == 1
    assert "0x" not in details.pop()


def test_how_to_convert_heic_is_said():
    with pytest.raises(UndecodableImage, match="convert it to JPEG, for example with `heif-convert"):
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
