"""Downloads from a server on loopback that fails in every way that servers do."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from plantclef_assets.ingest.downloads import DownloadError, Retries, download_file
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets_tests.tiny import materialize, tiny_settings

CONTENT = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CHUNK = 2**16
QUICK = Retries(attempts=3, first_wait=0.01)


@dataclass
class Faults:
    """What the server does wrong, and what it was asked."""

    break_after: list[int] = field(default_factory=list)
    """After so many bytes of each of the first answers the connection is closed."""
    refuse: list[int] = field(default_factory=list)
    """Status codes of the first answers."""
    retry_after: str | None = None
    ranges: bool = True
    etag: str | None = '"one"'
    length: bool = True
    requests: list[str | None] = field(default_factory=list)
    """The Range header of each request."""
    sent: int = 0


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def url(faults: Faults) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            faults.requests.append(asked)
            if faults.refuse:
                self.send_response(faults.refuse.pop(0))
                if faults.retry_after:
                    self.send_header("Retry-After", faults.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            current = self.headers.get("If-Range") in (None, faults.etag)
            start = int(asked.removeprefix("bytes=").split("-")[0]) if asked and faults.ranges and current else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            if faults.etag:
                self.send_header("ETag", faults.etag)
            if faults.length:
                self.send_header("Content-Length", str(len(CONTENT) - start))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            body = CONTENT[start:]
            if faults.break_after:
                body = body[: faults.break_after.pop(0)]
                self.close_connection = True
            faults.sent += len(body)
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/weights.bin"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_arrives_whole_and_nothing_else_is_left(url: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = download_file(
        url, tmp_path / "w.bin", sha256=SHA256, progress=lambda done, all_: seen.append((done, all_))
    )
    assert target.read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["w.bin"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_not_fetched_again(url: str, faults: Faults, tmp_path: Path) -> None:
    download_file(url, tmp_path / "w.bin", sha256=SHA256)
    download_file(url, tmp_path / "w.bin", sha256=SHA256)
    assert len(faults.requests) == 1


def test_a_broken_connection_is_continued_where_it_broke(url: str, faults: Faults, tmp_path: Path) -> None:
    faults.break_after = [16 * CHUNK, 32 * CHUNK]
    assert download_file(url, tmp_path / "w.bin", sha256=SHA256, retries=QUICK).read_bytes() == CONTENT
    assert faults.requests == [None, f"bytes={16 * CHUNK}-", f"bytes={48 * CHUNK}-"]
    assert faults.sent == len(CONTENT), "no byte was fetched twice"


def test_a_later_call_continues_what_an_earlier_one_gave_up(url: str, faults: Faults, tmp_path: Path) -> None:
    faults.break_after, faults.refuse = [16 * CHUNK], []
    with pytest.raises(DownloadError, match="1,048,576 bytes are kept"):
        faults_after_first(faults, url, tmp_path / "w.bin")
    assert not (tmp_path / "w.bin").exists()
    faults.refuse = []
    assert download_file(url, tmp_path / "w.bin", retries=QUICK).read_bytes() == CONTENT
    assert faults.requests[-1] == f"bytes={16 * CHUNK}-"


def faults_after_first(faults: Faults, url: str, target: Path) -> None:
    """Download with a server that breaks off once and then answers 503 only."""

    def then_refuse(done: int, total: int | None) -> None:
        faults.refuse = [503] * 10

    download_file(url, target, retries=QUICK, progress=then_refuse)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(url: str, faults: Faults, tmp_path: Path, status: int) -> None:
    faults.refuse = [status, status]
    assert download_file(url, tmp_path / "w.bin", retries=QUICK).read_bytes() == CONTENT


def test_the_wait_that_a_server_asks_for_is_kept(
    url: str, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("plantclef_assets.ingest.downloads.time.sleep", waits.append)
    faults.refuse, faults.retry_after = [429], "7"
    download_file(url, tmp_path / "w.bin", retries=QUICK)
    assert waits == [7.0]


def test_a_server_that_stays_busy_is_given_up_clearly(url: str, faults: Faults, tmp_path: Path) -> None:
    faults.refuse = [503] * 10
    with pytest.raises(DownloadError, match=r"the server answers 503 \(3 tries"):
        download_file(url, tmp_path / "w.bin", retries=QUICK)
    assert len(faults.requests) == 3


def test_a_missing_file_is_not_asked_for_again(url: str, faults: Faults, tmp_path: Path) -> None:
    faults.refuse = [404]
    with pytest.raises(DownloadError, match="the server answers 404"):
        download_file(url, tmp_path / "w.bin", retries=QUICK)
    assert len(faults.requests) == 1


Break = Callable[[Faults], None]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda faults: setattr(faults, "ranges", False), f"bytes={16 * CHUNK}-"),
        (lambda faults: setattr(faults, "etag", '"two"'), f"bytes={16 * CHUNK}-"),
        (lambda faults: setattr(faults, "etag", None), f"bytes={16 * CHUNK}-"),
    ],
    ids=["the server ignores ranges", "the file has changed", "the file lost its version"],
)
def test_what_cannot_be_continued_is_begun_anew(
    url: str, faults: Faults, tmp_path: Path, change: Break, again: str
) -> None:
    faults.break_after = [16 * CHUNK]
    changed = threading.Event()

    def once(done: int, total: int | None) -> None:
        if not changed.is_set():
            changed.set()
            change(faults)

    assert download_file(url, tmp_path / "w.bin", retries=QUICK, progress=once).read_bytes() == CONTENT
    assert faults.requests == [None, again]


def test_a_weak_version_is_never_continued(url: str, faults: Faults, tmp_path: Path) -> None:
    faults.etag, faults.break_after = 'W/"one"', [16 * CHUNK]
    assert download_file(url, tmp_path / "w.bin", retries=QUICK).read_bytes() == CONTENT
    assert faults.requests == [None, None]


def test_a_file_of_unknown_length_arrives(url: str, faults: Faults, tmp_path: Path) -> None:
    faults.length = False
    assert download_file(url, tmp_path / "w.bin", sha256=SHA256).read_bytes() == CONTENT


def test_another_file_than_was_meant_is_refused_and_not_kept(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"has sha256 {SHA256}, not 0000"):
        download_file(url, tmp_path / "w.bin", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_weights_come_from_an_address_once(
    url: str, faults: Faults, tmp_path: Path, tiny_survey: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (tiny_survey / "weights.safetensors").read_bytes()
    monkeypatch.setitem(globals(), "CONTENT", content)
    address = f"{url.removesuffix('.bin')}.safetensors#sha256={hashlib.sha256(content).hexdigest()}"
    settings = tiny_settings(tiny_survey, tmp_path / "lake", base_weights=address)
    assert materialize(settings, "base_backbone").success
    record = Lake(settings.lake).record(Artifact("base_backbone", suffix="safetensors"))
    assert record is not None
    assert record.figures["source"] == address
    assert record.figures["weights_sha256"] == hashlib.sha256(content).hexdigest()
    Lake(settings.lake).path(Artifact("base_backbone", suffix="safetensors")).unlink()
    assert materialize(settings, "base_backbone").success
    assert len(faults.requests) == 1


def test_no_server_at_all_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="could not be downloaded: the connection failed"):
        download_file("http://127.0.0.1:9/nothing", tmp_path / "w.bin", retries=QUICK)
