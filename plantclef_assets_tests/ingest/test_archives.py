"""Tar archives: every photograph has its place, and what is hostile or broken in one harms nothing and is told."""

import io
import tarfile
from pathlib import Path

import pytest

from plantclef_assets.ingest import archives
from plantclef_assets.ingest.archives import Member, index_digest, list_members, open_archive, read_index
from plantclef_assets.ingest.fetching import SourceError
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets_tests.ingest.tars import add_member, write_tar
from plantclef_assets_tests.lake.corruptions import flip_page


def members(path: Path) -> list[Member]:
    with path.open("rb") as stream:
        return list(list_members(stream, path.stat().st_size, str(path)))


def refused(path: Path) -> list[tuple[str, str | None]]:
    return [(member.source, member.reason) for member in members(path)]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_bytes_of_a_photograph_stand_at_its_offset(tmp_path: Path, form: int) -> None:
    contents = {"7/a.jpg": b"one", f"{'deep/' * 25}b.JPEG": b"x" * 1000, "./7/c.png": b"", "./d.jpg": b"four"}
    if form != tarfile.USTAR_FORMAT:
        contents["7/café.jpg"] = b"five"
    path = write_tar(tmp_path / "a.tar", contents, form=form)
    whole = path.read_bytes()
    found = {member.source: member for member in members(path)}
    assert list(found) == [name.removeprefix("./") for name in contents]
    for name, content in contents.items():
        member = found[name.removeprefix("./")]
        assert member.offset is not None
        assert whole[member.offset : member.offset + member.bytes] == content


def test_folders_hidden_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    names = ["7/a.jpg", "7/notes.txt", "7/.b.jpg", ".cache/c.jpg", "__MACOSX/._d.jpg", "README"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_member(archive, "7", type=tarfile.DIRTYPE)
        for name in names:
            add_member(archive, name, b"x")
    assert [member.source for member in members(tmp_path / "a.tar")] == ["7/a.jpg"]


@pytest.mark.parametrize(
    ("name", "attributes", "reason"),
    [
        ("../../etc/passwd.jpg", {}, "unsafe_name"),
        ("7/../../a.jpg", {}, "unsafe_name"),
        ("7\\..\\..\\a.jpg", {}, "unsafe_name"),
        ("/etc/a.jpg", {}, "unsafe_name"),
        ("C:\\a.jpg", {}, "unsafe_name"),
        ("7/a.jpg", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "link"),
        ("7/a.jpg", {"type": tarfile.LNKTYPE, "linkname": "7/b.jpg"}, "link"),
        ("7/a.jpg", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}, "not_a_file"),
        ("7/a.jpg", {"type": tarfile.BLKTYPE}, "not_a_file"),
        ("7/a.jpg", {"type": tarfile.FIFOTYPE}, "not_a_file"),
        ("7/a.jpg", {"type": b"Z"}, "not_a_file"),
    ],
)
def test_what_leads_elsewhere_or_is_no_file_is_refused_by_name(
    tmp_path: Path, name: str, attributes: dict, reason: str
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_member(archive, name, **attributes)
        add_member(archive, "7/good.jpg", b"x")
    assert refused(tmp_path / "a.tar") == [(name, reason), ("7/good.jpg", None)]


def test_a_link_is_refused_although_its_archive_says_it_has_bytes(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_member(archive, "7/a.jpg", type=tarfile.SYMTYPE, linkname="x" * 5000)
    (member,) = members(tmp_path / "a.tar")
    assert member.reason == "link"
    assert member.detail is not None
    assert len(member.detail) < 300


@pytest.mark.parametrize("left", [700, 1024 + 100, 512 * 3, 10])
def test_an_archive_that_breaks_off_keeps_what_is_whole_and_says_where(tmp_path: Path, left: int) -> None:
    """Each member is 512 bytes of header and 512 of content; the closing blocks are gone in every case."""
    path = write_tar(tmp_path / "a.tar", {"7/a.jpg": b"a" * 512, "7/b.jpg": b"b" * 512}, form=tarfile.USTAR_FORMAT)
    whole = path.read_bytes()
    path.write_bytes(whole[:left])
    if left < 512:
        with pytest.raises(SourceError, match=r"a\.tar is not a tar archive"):
            members(path)
        return
    found = members(path)
    assert (found[-1].source, found[-1].reason) == ("", "broken_archive")
    assert f"of {left:,}" in (found[-1].detail or "")
    good = [member.source for member in found if member.reason is None]
    assert good == (["7/a.jpg"] if left >= 1024 else [])
    if left == 700:
        assert found[0].reason == "truncated"


def test_an_archive_without_its_closing_blocks_is_told_but_used(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"7/a.jpg": b"a" * 512}, form=tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[:1024])
    assert refused(path) == [("7/a.jpg", None), ("", "broken_archive")]


def test_a_damaged_header_ends_the_archive_with_a_sentence(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar", dict.fromkeys(["7/a.jpg", "7/b.jpg", "7/c.jpg"], b"x"), form=tarfile.GNU_FORMAT
    )
    content = bytearray(path.read_bytes())
    content[1024:1100] = b"\xff" * 76
    path.write_bytes(content)
    assert refused(path) == [("7/a.jpg", None), ("", "broken_archive")]
    assert "beyond byte 1,024" in (members(path)[-1].detail or "")


def test_archives_joined_one_behind_the_other_are_told(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"7/a.jpg": b"x"})
    second = write_tar(tmp_path / "b.tar", {"7/b.jpg": bytes(2**21)})
    path.write_bytes(path.read_bytes() + second.read_bytes())
    assert refused(path) == [("7/a.jpg", None), ("", "broken_archive")]


@pytest.mark.parametrize("size", [-512, 2**33])
def test_a_header_that_asks_for_all_memory_or_leads_back_ends_the_archive(tmp_path: Path, size: int) -> None:
    member = tarfile.TarInfo("7/a.jpg")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, size
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    good = tarfile.TarInfo("7/good.jpg").tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(good + bytes(header) + bytes(4096))
    assert refused(tmp_path / "a.tar") == [("7/good.jpg", None), ("", "broken_archive")]


def test_a_negative_size_does_not_go_round_for_ever(tmp_path: Path) -> None:
    member = tarfile.TarInfo("7/a.jpg")
    member.size = -1024
    good = tarfile.TarInfo("7/good.jpg").tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(good + member.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    assert refused(tmp_path / "a.tar")[-1] == ("", "broken_archive")


def test_a_second_look_reads_the_index_and_not_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "a.tar", {"7/a.jpg": b"x", "../b.jpg": b"y"})
    archive = open_archive(*open_filesystem(str(path)), "a.tar", tmp_path / "cache")
    first = read_index(archive, tmp_path / "cache").read().to_pylist()
    assert [(row["source"], row["reason"]) for row in first] == [("7/a.jpg", None), ("../b.jpg", "unsafe_name")]
    monkeypatch.setattr(archives, "list_members", None)
    assert read_index(archive, tmp_path / "cache").read().to_pylist() == first


def test_an_archive_that_changed_has_another_index(tmp_path: Path) -> None:
    digests = set()
    for contents in ({"7/a.jpg": b"x"}, {"7/a.jpg": b"x" * 600}, {"7/b.jpg": b"x"}):
        path = write_tar(tmp_path / "a.tar", contents)
        archive = open_archive(*open_filesystem(str(path)), "a.tar", tmp_path / "cache")
        digests.add(index_digest(archive, tmp_path / "cache"))
    assert len(digests) == 3
    moved = path.rename(tmp_path / "b.tar")
    again = open_archive(*open_filesystem(str(moved)), "b.tar", tmp_path / "other")
    assert index_digest(again, tmp_path / "other") in digests, "neither place nor time is part of it"


def test_the_index_is_written_in_parts_and_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "a.tar", {f"7/{number}.jpg": b"x" * number for number in range(50)})
    archive = open_archive(*open_filesystem(str(path)), "a.tar", tmp_path)
    whole = read_index(archive, tmp_path / "one").read()
    monkeypatch.setattr(archives, "_ROWS_AT_ONCE", 7)
    assert read_index(archive, tmp_path / "two").read() == whole
    assert index_digest(archive, tmp_path / "two") == index_digest(archive, tmp_path / "one")


@pytest.mark.parametrize(("mode", "name"), [("w:gz", "a.tar.gz"), ("w:bz2", "a.tar.bz2"), ("w:xz", "a.tar")])
def test_a_compressed_archive_is_repacked_once(tmp_path: Path, mode: str, name: str) -> None:
    path = write_tar(tmp_path / name, {"7/a.jpg": b"one", "7/b.jpg": b"two"}, mode)
    opened = [open_archive(*open_filesystem(str(path)), name, tmp_path / "cache") for _ in range(2)]
    assert opened[0] == opened[1]
    assert opened[0].path.startswith(str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache").rglob("*.tar"))) == 1
    index = read_index(opened[0], tmp_path / "cache").read().to_pylist()
    with opened[0].open() as stream:
        stream.seek(index[1]["offset"])
        assert stream.read(3) == b"two"


def test_a_disk_without_room_for_the_plain_bytes_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "a.tar.gz", {"7/a.jpg": bytes(2**20)}, "w:gz")
    monkeypatch.setattr(archives, "_SPARE_BYTES", 2**60)
    with pytest.raises(SourceError, match="has no space to decompress it; set PLANTCLEF_CACHE to a folder"):
        open_archive(*open_filesystem(str(path)), "a.tar.gz", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.*")), "nothing half-written stays"


def test_a_compressed_archive_that_breaks_off_is_one_sentence(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", {"7/a.jpg": bytes(range(256)) * 400}, "w:gz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match="cannot be decompressed to its end"):
        open_archive(*open_filesystem(str(path)), "a.tar.gz", tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; download it again"),
        (b"<html>404</html>", "is not a tar archive"),
        (b"PK\3\4" * 300, "is not a tar archive"),
    ],
)
def test_what_is_no_archive_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=f"photographs/a.tar {said}"):
        archive = open_archive(*open_filesystem(str(path)), "photographs/a.tar", tmp_path / "cache")
        read_index(archive, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.parquet"))


def test_a_name_that_is_no_unicode_is_readable(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        add_member(archive, "7/café.jpg", b"x")
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    assert refused(tmp_path / "a.tar") == [("7/caf\\xe9.jpg", "unreadable_name")]


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
def test_a_damaged_index_is_named(tmp_path: Path, damage: str) -> None:
    path = write_tar(tmp_path / "a.tar", {f"7/{number}.jpg": b"x" * number for number in range(50)})
    archive = open_archive(*open_filesystem(str(path)), str(path), tmp_path)
    with read_index(archive, tmp_path) as index:
        whole = index.read()
    (file,) = (tmp_path / "archive_index").iterdir()
    if damage == "flipped":
        flip_page(file, "offset")
    else:
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(SourceError, match=r"^the index of .*a\.tar is damaged \(.*\); delete ") as raised:
        read_index(archive, tmp_path).read()
    assert str(file) in str(raised.value)
    file.unlink()
    assert read_index(archive, tmp_path).read() == whole


def test_what_is_not_read_is_told_and_thumbnails_are_not(tmp_path: Path) -> None:
    names = ["7/a.jfif", "7/b.heic", "more.zip", "@eaDir/a.jpg", "__MACOSX/b.heic", "7\\c.jpg"]
    path = write_tar(tmp_path / "a.tar", dict.fromkeys(names, b"x"))
    told = [("7/a.jfif", None), ("7/b.heic", "unsupported"), ("more.zip", "unsupported"), ("7\\c.jpg", None)]
    assert refused(path) == told


def pax_member(name: str, records: bytes) -> bytes:
    """Return a member of four bytes after a pax header with these records."""
    extended = tarfile.TarInfo("./PaxHeaders/x")
    extended.type, extended.size = tarfile.XHDTYPE, len(records)
    member = tarfile.TarInfo(name)
    member.size = 4
    padded = records + bytes(-len(records) % 512)
    return (
        extended.tobuf(tarfile.USTAR_FORMAT) + padded + member.tobuf(tarfile.USTAR_FORMAT) + b"data".ljust(512, b"\0")
    )


@pytest.mark.parametrize(
    "records",
    [
        b"0 path=7/x.jpg\n",
        b"23 size=9999999999999999\n",
        b"9 size=-9\n",
        b"11 size=-9\n",
        b"26 GNU.sparse.major=hello\n26 GNU.sparse.minor=hello\n31 GNU.sparse.size=hello_there\n",
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_malformed_pax_header_affects_its_member_only(before: bool, records: bytes, tmp_path: Path) -> None:
    good = [pax_member(f"7/{name}.jpg", b"11 uid=17\n") for name in "ab"]
    path = tmp_path / "a.tar"
    path.write_bytes((good[0] if before else b"") + pax_member("7/bad.jpg", records) + good[1] + bytes(1024))
    found = refused(path)
    assert [one for one in found if one[0] != "7/bad.jpg"] == [("7/a.jpg", None)] * before + [("7/b.jpg", None)]
    assert ("7/bad.jpg", "broken_header") in found
    (said,) = [member.detail for member in members(path) if member.source == "7/bad.jpg"]
    assert said and "its pax header is malformed" in said and "pack the archive again" in said
