"""Sources: the same photographs from a folder, from archives and from a bucket, and what is wrong with each."""

import errno
import os
import tarfile
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from plantclef_assets.ingest import fetching
from plantclef_assets.ingest.fetching import SourceError, fetch_file, file_identity
from plantclef_assets.ingest.inbox import list_inbox
from plantclef_assets.ingest.manifests import write_training_manifest
from plantclef_assets.ingest.photographs import PlotImages, RawImages, ReadingConfig
from plantclef_assets.ingest.sources import ImageSource, open_source, source_in
from plantclef_assets.lake.store import Artifact
from plantclef_assets.lake.tables import Shard
from plantclef_assets_tests.ingest.small_lake import SmallLake, csv_of
from plantclef_assets_tests.ingest.tars import add_member, write_tar
from plantclef_assets_tests.ingest.test_photographs import picture

FILES = {f"train/7/{number}.jpg": picture(20 + number) for number in range(6)}


def read_all(source: ImageSource) -> dict[str, bytes | OSError]:
    rows = [row for batch in source.listing() for row in batch.to_pylist() if row["reason"] is None]
    with source.reading() as read:
        return {row["source"]: content for row, content in zip(rows, read(rows), strict=True)}


@pytest.fixture
def bucket() -> Iterator[MemoryFileSystem]:
    filesystem = MemoryFileSystem(skip_instance_cache=True)
    filesystem.store, filesystem.pseudo_dirs = {}, [""]
    yield filesystem


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a folder `served` on loopback."""
    (tmp_path / "served").mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz", "folder of tars", "both"])
def test_every_form_of_a_source_gives_the_same_photographs(tmp_path: Path, form: str) -> None:
    place, names = tmp_path / "images", list(FILES)
    place.mkdir()
    folder = {"folder": names, "both": names[:2]}.get(form, [])
    for name in folder:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(FILES[name])
    archived = {"tar": [names], "tar.gz": [names], "folder of tars": [names[:3], names[3:]], "both": [names[2:]]}
    mode, suffix = ("w:gz", "tar.gz") if form == "tar.gz" else ("w", "tar")
    for number, part in enumerate(archived.get(form, [])):
        write_tar(place / f"{number}.{suffix}", {name: FILES[name] for name in part}, mode)
    location = place / f"0.{suffix}" if form in ("tar", "tar.gz") else place
    assert read_all(open_source(str(location), tmp_path / "cache")) == FILES


def test_a_bucket_gives_the_same_photographs_as_a_folder(tmp_path: Path, bucket: MemoryFileSystem) -> None:
    for name, content in FILES.items():
        bucket.pipe(f"/b/images/{name}", content)
    bucket.pipe("/b/images/train/7/notes.txt", b"x")
    bucket.pipe("/b/images/.hidden/a.jpg", b"x")
    bucket.pipe("/b/images/@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", b"x")
    bucket.pipe("/b/images/ph.heic", b"x")
    bucket.pipe("/b/images/empty.jpg", b"")
    source = source_in(bucket, "/b/images/", "gs://b/images/", tmp_path)
    assert read_all(source) == {**FILES, "empty.jpg": b""}
    refused = [row for batch in source.listing() for row in batch.to_pylist() if row["reason"]]
    assert [(row["source"], row["reason"]) for row in refused] == [("ph.heic", "unsupported")]
    assert source.endings() == {".jpg": len(FILES) + 1, ".heic": 1, ".txt": 1}
    bucket.pipe("/b/archives/part.tar", write_tar(tmp_path / "p.tar", FILES).read_bytes())
    for path in ("/b/archives", "/b/archives/part.tar"):
        source = source_in(bucket, path, f"gs:/{path}", tmp_path / "cache")
        assert read_all(source) == FILES
        assert [row["archive"] for batch in source.listing() for row in batch.to_pylist()] == ["part.tar"] * 6


def test_an_object_that_went_away_is_told_and_a_failing_network_is_raised(
    tmp_path: Path, bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg"):
        bucket.pipe(f"/b/images/{name}", b"x")
    source = source_in(bucket, "/b/images", "gs://b/images", tmp_path)
    rows = [row for batch in source.listing() for row in batch.to_pylist()]
    bucket.rm("/b/images/a.jpg")
    with source.reading() as read:
        gone, there = read(rows)
    assert isinstance(gone, FileNotFoundError)
    assert there == b"x"
    monkeypatch.setattr(bucket, "cat_ranges", lambda *_, **__: [ConnectionError("reset"), b"x"])
    with source.reading() as read, pytest.raises(ConnectionError):
        read(rows)


def test_the_identity_of_objects_knows_their_version(tmp_path: Path, bucket: MemoryFileSystem) -> None:
    bucket.pipe("/b/images/a.jpg", b"one")
    listed, digests = bucket.ls, set()
    for generation in ("1", "2", None):
        bucket.ls = lambda path, detail, version=generation: [  # pyright: ignore[reportAttributeAccessIssue]
            info | ({"generation": version} if version else {}) for info in listed(path, detail=detail)
        ]
        digests.add(source_in(bucket, "/b/images", "gs://b/images", tmp_path).digest())
    assert len(digests) == 3


def test_the_identity_of_archives_knows_names_and_places_and_no_times(tmp_path: Path) -> None:
    for place in ("one", "two"):
        write_tar(tmp_path / place / "a.tar", FILES)
        (tmp_path / place / "z.jpg").write_bytes(b"x")
    digests = [open_source(str(tmp_path / place), tmp_path / "cache").digest() for place in ("one", "two")]
    assert digests[0] == digests[1]
    write_tar(tmp_path / "two" / "a.tar", dict(reversed(FILES.items())))
    assert open_source(str(tmp_path / "two"), tmp_path / "cache").digest() != digests[0]


@pytest.mark.parametrize("location", ["{here}/absent", "{here}/absent.tar"])
def test_a_place_where_nothing_is_is_one_sentence(tmp_path: Path, location: str) -> None:
    with pytest.raises(SourceError, match="there is no folder: '"):
        open_source(location.format(here=tmp_path), tmp_path)


def test_a_prefix_without_objects_is_one_sentence(tmp_path: Path, bucket: MemoryFileSystem) -> None:
    with pytest.raises(SourceError, match="there is no object, and there are none below such a prefix: 'gs://b/x'"):
        source_in(bucket, "/b/x", "gs://b/x", tmp_path)


def fill(small: SmallLake, location: Path, rows: list[tuple[str, int]], shards: int = 2) -> list[dict]:
    small.read_csv(csv_of(rows))
    made = Shard(Artifact("training_manifest"), {})
    write_training_manifest(small.lake, made, source=open_source(str(location), small.cache), shards=shards)
    return small.lake.read(made.artifact).to_pylist()


def test_photographs_in_archives_become_raw_shards(small: SmallLake) -> None:
    images = small.images
    write_tar(images / "b.tar", {"9/y.jpg": picture(30), "9/x.jpg": picture(31)})
    write_tar(images / "a.tar", {"7/q.jpg": picture(32), "7/p.jpg": b"no picture"})
    (images / "z.jpg").write_bytes(picture(33))
    rows = fill(small, images, [("y.jpg", 9), ("x.jpg", 9), ("q.jpg", 7), ("p.jpg", 7), ("z.jpg", 7)])
    assert [(row["archive"], row["image_name"]) for row in rows] == [
        (None, "z.jpg"), ("a.tar", "q.jpg"), ("a.tar", "p.jpg"), ("b.tar", "y.jpg"), ("b.tar", "x.jpg")
    ]  # fmt: skip
    assert [row["offset"] is None for row in rows] == [True, False, False, False, False]
    read = {}
    for shard in ("00", "01"):
        artifact = Artifact("raw_images", shard)
        RawImages(small.lake, str(images), str(small.cache), ReadingConfig(10_000))(Shard(artifact, {}))
        read |= {row["image_name"]: row["data"] for row in small.lake.read(artifact).to_pylist()}
    assert read == {"z.jpg": picture(33), "q.jpg": picture(32), "y.jpg": picture(30), "x.jpg": picture(31)}
    set_aside = [
        row for shard in ("00", "01") for row in small.lake.read(Artifact("quarantine/raw_images", shard)).to_pylist()
    ]
    assert [(row["source"], row["reason"]) for row in set_aside] == [("a.tar:7/p.jpg", "not_an_image")]


def test_a_hostile_archive_harms_nothing_and_all_of_it_is_told(small: SmallLake) -> None:
    """Path traversal, links, a device, an absolute name, a duplicate, a bomb and a truncated end in one archive."""
    bomb = bytearray(picture(form="PNG"))
    bomb[16:24] = (50_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    small.images.mkdir()
    path = small.images / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        add_member(archive, "7/good.jpg", picture())
        add_member(archive, "../../escaped.jpg", picture())
        add_member(archive, "/absolute.jpg", picture())
        add_member(archive, "7/link.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add_member(archive, "7/device.jpg", type=tarfile.CHRTYPE)
        add_member(archive, "8/good.jpg", picture(60))
        add_member(archive, "7/bomb.png", bytes(bomb))
        add_member(archive, "7/cut.jpg", bytes(5000))
    with tarfile.open(path) as archive:
        cut = archive.getmember("7/cut.jpg").offset_data + 100
    path.write_bytes(path.read_bytes()[:cut])
    names = ["good.jpg", "escaped.jpg", "absolute.jpg", "link.jpg", "device.jpg", "bomb.png", "cut.jpg"]
    before = sorted(small.root.iterdir())
    rows = fill(small, small.images, [(name, 7) for name in names], shards=1)
    artifact = Artifact("raw_images", "00")
    RawImages(small.lake, str(small.images), str(small.cache), ReadingConfig(10**8))(Shard(artifact, {}))
    (row,) = small.lake.read(artifact).to_pylist()
    assert (row["image_name"], row["data"]) == ("good.jpg", picture())
    assert [row["image_name"] for row in rows] == ["good.jpg", "bomb.png"]
    assert sorted(small.quarantined("training_manifest"), key=str) == sorted(
        [
            ("escaped.jpg", "unsafe_name"),
            ("absolute.jpg", "unsafe_name"),
            ("link.jpg", "link"),
            ("device.jpg", "not_a_file"),
            ("good.jpg", "duplicate_name"),
            ("cut.jpg", "truncated"),
            (None, "broken_archive"),
        ],
        key=str,
    )
    assert small.quarantined("raw_images", "00") == [("bomb.png", "oversized")]
    figures = small.statistics("training_manifest")
    assert figures["rows_in"] == len(rows) + figures["quarantined"] == 9
    made = {small.lake.root, str(small.cache), str(small.root / "metadata.csv")}
    assert {str(one) for one in set(small.root.iterdir()) - set(before)} == made, "nothing is unpacked anywhere"


def test_a_link_does_not_take_the_place_of_a_photograph_of_its_name(small: SmallLake) -> None:
    small.images.mkdir()
    with tarfile.open(small.images / "a.tar", "w") as archive:
        add_member(archive, "1/a.jpg", type=tarfile.SYMTYPE, linkname="x")
        add_member(archive, "2/a.jpg", picture())
    assert [row["source"] for row in fill(small, small.images, [("a.jpg", 7)])] == ["2/a.jpg"]


def test_a_file_larger_than_any_photograph_is_set_aside_unread(small: SmallLake) -> None:
    small.write_files({"7/a.jpg": b""})
    with (small.images / "7" / "huge.jpg").open("wb") as file:
        file.truncate(2**28 + 1)  # a hole in the file: it takes no room
    rows = fill(small, small.images, [("a.jpg", 7), ("huge.jpg", 7)])
    assert [row["image_name"] for row in rows] == ["a.jpg"]
    assert small.quarantined("training_manifest") == [("huge.jpg", "oversized")]


def test_an_archive_that_was_replaced_is_no_longer_read(small: SmallLake) -> None:
    path = write_tar(small.images / "a.tar", {"7/a.jpg": picture(20), "7/b.jpg": picture(21)})
    fill(small, small.images, [("a.jpg", 7), ("b.jpg", 7)])
    write_tar(path, {"7/b.jpg": picture(21), "7/a.jpg": picture(20)})
    with pytest.raises(SourceError, match=r"a\.tar has changed since it was listed; materialize its manifest again"):
        RawImages(small.lake, str(small.images), str(small.cache), ReadingConfig(10**6))(
            Shard(Artifact("raw_images", "00"), {})
        )


def test_plots_may_lie_in_an_archive_too(small: SmallLake) -> None:
    path = write_tar(
        small.images / "plots.tar.gz", {"PlotsTest/P-1.jpg": picture(30), "PlotsTest/P-2.jpg": b""}, "w:gz"
    )
    rows = small.list_plots(shards=1)
    assert [(row["plot_id"], row["archive"]) for row in rows] == [("P-1", path.name), ("P-2", path.name)]
    artifact = Artifact("plot_images", "00")
    PlotImages(small.lake, str(small.images), str(small.cache), ReadingConfig(10**6))(Shard(artifact, {}))
    (row,) = small.lake.read(artifact).to_pylist()
    assert (row["plot_id"], row["width"]) == ("P-1", 30)
    assert small.quarantined("plot_images", "00") == [("P-2", "empty")]


def test_an_archive_behind_an_address_is_downloaded_once(tmp_path: Path, address: str) -> None:
    served = write_tar(tmp_path / "served" / "images.tar", FILES)
    for _ in range(2):
        assert read_all(open_source(f"{address}/images.tar", tmp_path / "cache")) == FILES
        served.unlink(missing_ok=True)


def test_a_file_behind_an_address_is_fetched_once_and_known_by_it(tmp_path: Path, address: str) -> None:
    (tmp_path / "served" / "metadata.csv").write_text("image_name,species_id\n")
    said: list[str] = []
    for _ in range(2):
        file = fetch_file(f"{address}/metadata.csv", tmp_path / "cache", said.append)
        assert file.read_text() == "image_name,species_id\n"
        (tmp_path / "served" / "metadata.csv").unlink(missing_ok=True)
    assert file_identity(f"{address}/metadata.csv") == f"{address}/metadata.csv"
    own = tmp_path / "own.csv"
    own.write_text("x")
    assert fetch_file(str(own), tmp_path / "cache") == own


def test_an_object_is_fetched_once_for_each_of_its_versions(
    tmp_path: Path, bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "open_filesystem", lambda location: (bucket, location.removeprefix("gs:/")))
    identities = set()
    for content in (b"one", b"three"):
        bucket.pipe("/b/truth.csv", content)
        identities.add(file_identity("gs://b/truth.csv"))
        assert fetch_file("gs://b/truth.csv", tmp_path).read_bytes() == content
    assert len(identities) == 2
    monkeypatch.setattr(bucket, "get_file", None)
    assert fetch_file("gs://b/truth.csv", tmp_path).read_bytes() == b"three"
    with pytest.raises(SourceError, match="there is no object 'gs://b/absent'"):
        fetch_file("gs://b/absent", tmp_path)
    with pytest.raises(SourceError, match="'gs://b' is a prefix with objects below it"):
        file_identity("gs://b")


def test_a_folder_that_cannot_be_listed_is_refused(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    small.write_files({"a.jpg": picture(20), "locked/b.jpg": picture(21)})
    locked = str(small.images / "locked")
    scan = os.scandir

    def refuse_locked(path: str) -> Any:
        if str(path) == locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse_locked)
    with pytest.raises(SourceError, match=f"the folder '{locked}' cannot be listed: Permission denied"):
        small.list_plots()
    with pytest.raises(PermissionError):
        list_inbox(small.images)


def test_what_is_no_file_is_set_aside_and_not_waited_for(small: SmallLake) -> None:
    small.write_files({"a.jpg": picture(20)})
    os.mkfifo(small.images / "pipe.jpg")
    (small.images / "round.jpg").symlink_to("round.jpg")
    (small.images / "nowhere.jpg").symlink_to("nothing.jpg")
    assert list(list_inbox(small.images)) == ["a.jpg"]
    assert [row["plot_id"] for row in small.list_plots(shards=1)] == ["a", "nowhere", "pipe", "round"]
    contents = read_all(small.source)
    assert [name for name, content in contents.items() if isinstance(content, bytes)] == ["a.jpg"]
