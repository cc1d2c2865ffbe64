"""Sources in a bucket, against a real server: every form of them, what was replaced, and what is not there."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from plantclef_assets.ingest.fetching import SourceError, fetch_file, file_identity
from plantclef_assets.ingest.sources import ImageSource, open_source
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets_tests.gcs_server import put_object
from plantclef_assets_tests.ingest.tars import write_tar
from plantclef_assets_tests.ingest.test_photographs import picture
from plantclef_assets_tests.ingest.test_sources import read_all

pytestmark = pytest.mark.gcs

FILES = {f"train/{species}/{number}.jpg": picture(20 + number) for species in (7, 9) for number in range(3)}


def archives(source: ImageSource) -> list[str | None]:
    return [row["archive"] for batch in source.listing() for row in batch.to_pylist()]


def put_files(prefix: str) -> None:
    for name, content in FILES.items():
        put_object(f"{prefix}/{name}", content)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_prefix_is_a_folder(bucket: str, tmp_path: Path, slash: str) -> None:
    put_files(f"{bucket}/images")
    # What consoles and other tools leave: an object that stands for a folder, hidden ones, other endings.
    for name, content in {"": b"", "train/": b"", "train/7/notes.txt": b"x", ".hidden/a.jpg": b"x"}.items():
        put_object(f"{bucket}/images/{name}", content)
    put_object(f"{bucket}/images of others/a.jpg", b"of another prefix")
    source = open_source(f"{bucket}/images{slash}", tmp_path)
    assert read_all(source) == FILES
    local = tmp_path / "local"
    for name, content in FILES.items():
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).write_bytes(content)
    listed = [
        [row for batch in open_source(place, tmp_path).listing() for row in batch.to_pylist()]
        for place in (source.location, str(local))
    ]
    assert listed[0] == listed[1]


def test_a_whole_bucket_is_a_folder(bucket: str, tmp_path: Path) -> None:
    put_files(bucket)
    assert read_all(open_source(bucket, tmp_path)) == FILES


@pytest.mark.parametrize("form", ["tar", "tar.gz", "several tars", "both"])
def test_archives_are_read_where_they_lie(bucket: str, tmp_path: Path, form: str) -> None:
    names = list(FILES)
    parts = {"several tars": [names[:2], names[2:]], "both": [names[3:]]}.get(form, [names])
    suffix, mode = ("tar.gz", "w:gz") if form == "tar.gz" else ("tar", "w")
    for number, part in enumerate(parts):
        path = write_tar(tmp_path / f"{number}.{suffix}", {name: FILES[name] for name in part}, mode)
        put_object(f"{bucket}/archives/{path.name}", path.read_bytes())
    if form == "both":
        for name in names[:3]:
            put_object(f"{bucket}/archives/{name}", FILES[name])
    source = open_source(f"{bucket}/archives", tmp_path / "cache")
    assert read_all(source) == FILES
    assert len(set(archives(source)) - {None}) == len(parts)
    alone = open_source(f"{bucket}/archives/0.{suffix}", tmp_path / "cache")
    assert read_all(alone) == {name: FILES[name] for name in parts[0]}
    kept = {path.relative_to(tmp_path / "cache").parts[0] for path in (tmp_path / "cache").rglob("*.*")}
    assert kept == ({"archive_index", "repacked"} if form == "tar.gz" else {"archive_index"})


def test_an_archive_is_read_in_large_steps_and_not_kept_in_memory(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gcsfs.core import GCSFile

    contents = {f"{number:02d}.jpg": bytes([number]) * 2**20 for number in range(30)}
    put_object(f"{bucket}/large.tar", write_tar(tmp_path / "large.tar", contents).read_bytes())
    asked: list[int] = []
    fetch = GCSFile._fetch_range

    def fetch_range(self: GCSFile, start: int | None = None, end: int | None = None) -> bytes:
        asked.append((end or 0) - (start or 0))
        return fetch(self, start, end)

    monkeypatch.setattr(GCSFile, "_fetch_range", fetch_range)
    source = open_source(f"{bucket}/large.tar", tmp_path / "cache")
    rows = [row for batch in source.listing() for row in batch.to_pylist()]
    asked.clear()
    with source.reading() as read:
        for row in rows:
            assert read([row]) == [contents[row["source"]]]
    assert max(asked) <= 10 * 2**20, "a piece at a time"
    assert sum(asked) <= 1.5 * 30 * 2**20, "each byte about once"


def test_a_replaced_object_is_another_source(bucket: str, tmp_path: Path) -> None:
    """Also one of as many bytes: its generation tells."""
    put_files(f"{bucket}/images")
    before = open_source(f"{bucket}/images", tmp_path).digest()
    assert open_source(f"{bucket}/images", tmp_path).digest() == before
    name = next(iter(FILES))
    put_object(f"{bucket}/images/{name}", FILES[name][::-1])
    assert open_source(f"{bucket}/images", tmp_path).digest() != before


def test_an_archive_that_was_replaced_is_indexed_anew_and_no_longer_read_by_the_old_listing(
    bucket: str, tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "a.tar", {"7/a.jpg": picture(20), "7/b.jpg": picture(21)})
    put_object(f"{bucket}/a.tar", path.read_bytes())
    source = open_source(f"{bucket}/a.tar", tmp_path / "cache")
    rows, before = [row for batch in source.listing() for row in batch.to_pylist()], source.digest()
    swapped = {"7/b.jpg": picture(21), "7/a.jpg": picture(20)}
    put_object(f"{bucket}/a.tar", write_tar(path, swapped).read_bytes())
    again = open_source(f"{bucket}/a.tar", tmp_path / "cache")
    assert again.digest() != before
    with again.reading() as read, pytest.raises(SourceError, match=r"a\.tar has changed since it was listed"):
        read(rows)
    assert read_all(again) == swapped


def test_a_file_is_fetched_once_for_each_generation(bucket: str, tmp_path: Path) -> None:
    address, seen = f"{bucket}/survey/truth.csv", set()
    for content in (b"one", b"two"):
        put_object(address, content)
        assert fetch_file(address, tmp_path).read_bytes() == content
        seen.add(file_identity(address))
        said: list[str] = []
        fetch_file(address, tmp_path, said.append)
        assert not said, "it is in the cache"
    assert len(seen) == 2


def test_a_file_that_is_replaced_while_it_is_fetched_is_not_kept(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_object(f"{bucket}/truth.csv", b"one")
    filesystem, _ = open_filesystem(bucket)
    get_file = filesystem.get_file

    def get_late(path: str, target: str) -> None:
        put_object(f"{bucket}/truth.csv", b"two")
        get_file(path, target)

    monkeypatch.setattr(filesystem, "get_file", get_late)
    with pytest.raises(SourceError, match="was replaced while it was fetched; materialize again"):
        fetch_file(f"{bucket}/truth.csv", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.undo()
    assert fetch_file(f"{bucket}/truth.csv", tmp_path).read_bytes() == b"two"


@pytest.mark.parametrize("place", ["{bucket}/absent", "{bucket}/absent.tar", "{bucket}/imag", "gs://no-such-bucket/x"])
def test_a_place_where_nothing_is_is_one_sentence(bucket: str, tmp_path: Path, place: str) -> None:
    put_object(f"{bucket}/images/a.jpg", b"x")
    location = place.format(bucket=bucket)
    with pytest.raises(SourceError) as caught:
        open_source(location, tmp_path)
    assert str(caught.value) == f"there is no object, and there are none below such a prefix: '{location}'"
    with pytest.raises(SourceError, match=f"there is no object '{location}'; use the address of a readable object"):
        file_identity(location)


def test_a_prefix_in_place_of_a_file_is_one_sentence(bucket: str, tmp_path: Path) -> None:
    put_object(f"{bucket}/images/a.jpg", b"x")
    with pytest.raises(SourceError, match="is a prefix with objects below it; the address of one object is needed"):
        fetch_file(f"{bucket}/images", tmp_path)


@pytest.fixture
def closed(gcs: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server of Cloud Storage in place of the other that permits nothing."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = json.dumps({"error": {"code": 403, "message": "nobody may list this"}}).encode()
            self.send_response(403)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("location", ["gs://others/images", "gs://others"])
def test_what_may_not_be_read_is_no_missing_place(tmp_path: Path, location: str) -> None:
    for ask in (lambda: open_source(location, tmp_path), lambda: file_identity(location)):
        with pytest.raises(SourceError) as caught:
            ask()
        assert str(caught.value) == (
            f"no permission for '{location}': nobody may list this; the account must be able to list and read its "
            "objects (role Storage Object Viewer)"
        )
