"""A server on loopback that fails in all the ways of real servers and records its requests.

Also here: the file that it serves, a clock that advances by waiting only, and limits that keep tests short.
"""

import hashlib
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from plantclef_assets.ingest.downloads import Download, Limits, download_files
from plantclef_assets.ingest.downloads.limits import Clock, Retries

CONTENT = random.Random(0).randbytes(3_300_000)
CHUNK = 2**18
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Retries(attempts=3, first_wait=0.01)
ONE_BY_ONE = Limits(connections=1, chunk_bytes=CHUNK)
PARALLEL = Limits(connections=4, chunk_bytes=CHUNK)
RANGES = [f"bytes={start}-{start + CHUNK - 1}" for start in range(0, len(CONTENT), CHUNK)]
RANGES[-1] = f"bytes={CHUNK * (len(RANGES) - 1)}-{len(CONTENT) - 1}"

Fetch = Callable[..., bytes]
"""Downloads the file and returns its bytes; takes the options of `download_file`."""
_BLOCK = 2**14


@dataclass
class FailingServer:
    """The files of the server, its faults, and the requests it has received.

    Attributes:
        files: contents by path.
        break_after: number of bytes after which each of the first responses breaks off.
        refuse: status codes of the first responses.
        retry_after: Retry-After header of refusals.
        ranges: whether ranges are supported.
        open_ended: whether the end of a requested range is ignored.
        etag, etags: version of the file; several are used in turn.
        length: whether responses have a Content-Length.
        unsaid_bytes: by how many bytes a response exceeds its Content-Length (falls short, if negative).
        said_total: length of the file in Content-Range, in place of the true one.
        encoding: Content-Encoding header.
        most: maximum of concurrent requests; others are refused with 429.
        stall_at: bytes after which nothing more is sent until `go_on` is set.
        requests: the Range header of each request.
        ranges_sent: first byte and the byte after the last one sent, for each response.
        open_at_once: the largest number of concurrent requests.
    """

    files: dict[str, bytes]
    break_after: list[int] = field(default_factory=list)
    refuse: list[int] = field(default_factory=list)
    retry_after: str | None = None
    ranges: bool = True
    open_ended: bool = False
    etag: str | None = '"one"'
    etags: list[str] = field(default_factory=list)
    length: bool = True
    unsaid_bytes: int = 0
    said_total: int | None = None
    encoding: str | None = None
    most: int = 1000
    stall_at: int | None = None
    go_on: threading.Event = field(default_factory=threading.Event)
    requests: list[str | None] = field(default_factory=list)
    ranges_sent: list[tuple[int, int]] = field(default_factory=list)
    open_at_once: int = 0
    root: str = ""

    @property
    def sent(self) -> int:
        """Bytes of content sent in all."""
        return sum(end - start for start, end in list(self.ranges_sent))

    def forget(self) -> None:
        """Clear the record of requests."""
        self.requests.clear()
        self.ranges_sent.clear()


@contextmanager
def serve(server: FailingServer) -> Iterator[FailingServer]:
    """Run a server for the duration of the block; `root` is the address of its folder."""
    lock = threading.Lock()
    state = {"open": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 0

        def do_GET(self) -> None:
            with lock:
                state["open"] += 1
                server.open_at_once = max(server.open_at_once, state["open"])
                server.requests.append(self.headers.get("Range"))
                too_many = state["open"] > server.most
                refusal = server.refuse.pop(0) if server.refuse else 429 if too_many else None
            try:
                self._refuse(refusal) if refusal else self._answer()
            except OSError:  # the client has gone
                self.close_connection = True
            finally:
                with lock:
                    state["open"] -= 1

        def _refuse(self, status: int) -> None:
            self.send_response(status)
            if server.retry_after:
                self.send_header("Retry-After", server.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self) -> None:
            content = server.files.get(self.path.partition("?")[0])
            if content is None:
                self._refuse(404)
                return
            with lock:
                etag = server.etag if not server.etags else server.etags[len(server.requests) % len(server.etags)]
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            current = self.headers.get("If-Range") in (None, etag)
            start, end = 0, len(content)
            partial = bool(asked) and server.ranges and current
            if asked and partial:
                start = int(asked[1])
                end = len(content) if server.open_ended or not asked[2] else min(int(asked[2]) + 1, len(content))
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            self.send_response(206 if partial else 200)
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{server.said_total or len(content)}")
            if etag:
                self.send_header("ETag", etag)
            if server.encoding:
                self.send_header("Content-Encoding", server.encoding)
            if server.length:
                self.send_header("Content-Length", str(end - start - server.unsaid_bytes))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            with lock:
                breaks = server.break_after.pop(0) if server.break_after else None
            self._send(content, start, end if breaks is None else min(end, start + breaks))
            if breaks is not None or server.unsaid_bytes:
                self.close_connection = True

        def _send(self, content: bytes, start: int, end: int) -> None:
            with lock:
                place = len(server.ranges_sent)
                server.ranges_sent.append((start, start))
            for at in range(start, end, _BLOCK):
                if server.stall_at is not None and server.sent >= server.stall_at:
                    server.go_on.wait(60)
                to = min(at + _BLOCK, end)
                self.wfile.write(content[at:to])
                server.ranges_sent[place] = (start, to)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.root = f"http://127.0.0.1:{http.server_port}/"
    try:
        yield server
    finally:
        server.go_on.set()
        http.shutdown()
        thread.join()
        http.server_close()


class FakeClock:
    """A clock that advances by waiting only."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.waits: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.time

    def wait(self, stop: threading.Event, seconds: float) -> None:
        with self._lock:
            self.waits.append(seconds)
            self.time += seconds

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.wait)


def download_file(url: str, target: Path, *, sha256: str | None = None, md5: str | None = None, **options: Any) -> Path:
    """Download one file with the options of `download_files`; raises the error if it fails."""
    for error in download_files([Download(url, target, sha256, md5)], **options).values():
        raise error
    return target


def left_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())
