"""Values, profiles and checkpoints that are broken or hostile: one sentence each, and little memory."""

import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from plantclef_assets_tests.settings.fixtures import Set, refusal


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'lake = "\xff\xfe"', "'utf-8' codec can't decode"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
        (b"seed = " + b"9" * 5000, "the file is no TOML: Exceeds the limit"),
        (b"lake = ", "the file is no TOML"),
    ],
)
def test_an_unreadable_profile_is_one_sentence(content: bytes, said: str, with_variables: Set, files: Path) -> None:
    profile = files / "hostile.toml"
    profile.write_bytes(content)
    (sentence,) = refusal(lambda: with_variables(PROFILE=profile))
    assert sentence.startswith("PLANTCLEF_PROFILE: ")
    assert said in sentence


LONG = "/x" * 5000


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PROFILE", f"{LONG}.toml", "is too long (10,005 characters)"),
        ("PROFILE", "~no-such-user/a.toml", "unknown user"),
        ("PROFILE", "x" * 300, "too long (300 characters)"),
        ("TRAINING_METADATA", LONG, "is too long (10,000 characters)"),
        ("TRAINING_METADATA", "~no-such-user/a.csv", "unknown user"),
        ("TRAINING_IMAGES", "y" * 300, "too long (300 characters)"),
        ("LAKE", LONG, "is too long"),
        ("LAKE", "~no-such-user/lake", "unknown user"),
        ("CACHE", "~no-such-user/cache", "unknown user"),
        ("INBOX", LONG, "is too long"),
        ("FINETUNED_WEIGHTS", "~no-such-user/w.pth", "unknown user"),
        ("SEED", "9" * 30, "64 bits"),
        ("SEED", "9" * 6000, ""),
        ("TRAINING_SHARDS", "9" * 30, ""),
        ("FINETUNING__EPOCHS", "9" * 30, ""),
        ("BATCH_SIZE", "-" + "9" * 30, ""),
    ],
)
def test_an_impossible_value_is_one_short_sentence(variable: str, value: str, said: str, with_variables: Set) -> None:
    (sentence,) = refusal(lambda: with_variables(**{variable: value}))
    assert sentence.startswith(f"PLANTCLEF_{variable}: ")
    assert said in sentence
    assert len(sentence) < 500


def header(text: bytes, length: int | None = None, after: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + after


TENSOR = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"short", "header is truncated"),
        (header(b"{}", 2**63), "header ends beyond the file"),
        (header(b"{}", 2**20), "header ends beyond the file"),
        (header(b"[" * 100_000), "nested too deeply"),
        (header(b"[]"), "no JSON object"),
        (header(b'{"head.weight": {}, "head.weight": {}}'), "names something twice"),
        (header(b'{"a": 1}'), "gives a tensor no offsets"),
        (header(json.dumps({"a": TENSOR}).encode(), after=bytes(3)), "do not end with the file"),
        (header(json.dumps({"a": TENSOR, "b": TENSOR}).encode(), after=bytes(4)), "do not follow one another"),
        (header(json.dumps({"a": TENSOR | {"data_offsets": [4, 0]}}).encode()), "do not follow one another"),
        (header(json.dumps({"a": TENSOR | {"data_offsets": [0, 1e9]}}).encode()), "gives a tensor no offsets"),
        (header(b"\xff{}"), "codec can't decode"),
    ],
)
def test_a_malformed_header_of_weights_is_one_sentence(
    content: bytes, said: str, with_variables: Set, files: Path
) -> None:
    weights = files / "hostile.safetensors"
    weights.write_bytes(content)
    (sentence,) = refusal(lambda: with_variables(FINETUNED_WEIGHTS=weights, CLASS_MAPPING=files / "classes.txt"))
    assert sentence.startswith(f"PLANTCLEF_FINETUNED_WEIGHTS: {weights} ")
    assert said in sentence


def refused_checkpoint(weights: Path, with_variables: Set, files: Path) -> tuple[str, int]:
    """Return the error of loading settings with a checkpoint, and the most bytes of memory that it took."""
    tracemalloc.start()
    try:
        (sentence,) = refusal(lambda: with_variables(FINETUNED_WEIGHTS=weights, CLASS_MAPPING=files / "classes.txt"))
        return sentence, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_not_decompressed(with_variables: Set, files: Path) -> None:
    weights = files / "bomb.pth"
    with zipfile.ZipFile(weights, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/data.pkl", "w") as index:
        for _ in range(200):
            index.write(bytes(2**20))
    assert weights.stat().st_size < 2**20
    said, peak = refused_checkpoint(weights, with_variables, files)
    assert said.startswith(f"PLANTCLEF_FINETUNED_WEIGHTS: {weights} is no checkpoint that can be read (its index is")
    assert peak < 2**24


def test_a_compressed_archive_is_not_decompressed(with_variables: Set, files: Path) -> None:
    import gzip
    import tarfile

    weights = files / "bomb.tar.gz"
    member = tarfile.TarInfo("model_best.pth.tar")
    member.size = 200 * 2**20
    with gzip.open(weights, "wb") as stream:
        stream.write(member.tobuf())
        for _ in range(200):
            stream.write(bytes(2**20))
    said, peak = refused_checkpoint(weights, with_variables, files)
    assert said.startswith(f"PLANTCLEF_FINETUNED_WEIGHTS: {weights} cannot be read as a tar archive")
    assert said.endswith("decompress it first.")
    assert peak < 2**24
