"""Redirects are followed to where a server may lead, without credentials for another host."""

import base64
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from plantclef_assets.ingest.download_lists import list_directory, plan_downloads
from plantclef_assets.ingest.downloads import DownloadError, session
from plantclef_assets.ingest.downloads.session import RedirectError, Session, kind_of_address
from plantclef_assets.ingest.fetching import fetch_file
from plantclef_assets_tests.ingest.failing_server import QUICK, download_file

CONTENT = b"leaves" * 1000
LISTING = b"<a href='leaf.bin'>leaf.bin</a>"


@dataclass
class Hop:
    """A server that redirects some paths and has a file at all others, and the requests that it received."""

    host: str
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    root: str = ""


@contextmanager
def serve(hop: Hop) -> Iterator[Hop]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hop.requests.append((self.path, self.headers.get("Authorization")))
            path = self.path.partition("?")[0]
            target = hop.redirects.get(path)
            content = b"" if target else LISTING if path.endswith("/") else CONTENT
            self.send_response(302 if target else 200)
            if target:
                self.send_header("Location", target)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer((hop.host, 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hop.root = f"http://{hop.host}:{http.server_port}/"
    try:
        yield hop
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture
def own() -> Iterator[Hop]:
    """A server on loopback."""
    with serve(Hop("127.0.0.1")) as hop:
        yield hop


@pytest.fixture
def other() -> Iterator[Hop]:
    """Another server on loopback."""
    with serve(Hop("127.0.0.1")) as hop:
        yield hop


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hop]:
    """A server whose address counts as public."""

    def kind(place: str) -> str:
        return "public" if place == "127.0.0.2" else kind_of_address(place)

    monkeypatch.setattr(session, "kind_of_address", kind)
    with serve(Hop("127.0.0.2")) as hop:
        yield hop


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[[str], bytes]:
    return lambda url: download_file(url, tmp_path / "leaf.bin", retries=QUICK).read_bytes()


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(DownloadError) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("8.8.8.8", "public"),
        ("2606:4700::1111", "public"),
        ("127.0.0.1", "loopback"),
        ("127.8.9.1", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::1", "loopback"),
        ("::", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("2002:7f00:1::", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("224.0.0.1", "private"),
        ("255.255.255.255", "private"),
        ("fc00::1", "private"),
    ],
)
def test_every_address_has_a_kind(place: str, kind: str) -> None:
    assert kind_of_address(place) == kind


def test_a_public_server_may_not_lead_to_loopback(
    public: Hop, own: Hop, fetch: Callable[[str], bytes], tmp_path: Path
) -> None:
    public.redirects = {"/leaf.bin": f"{own.root}leaf.bin", "/folder/": f"{own.root}folder/"}
    end = "it redirects to 127.0.0.1, a loopback address"
    assert refused(lambda: fetch(f"{public.root}leaf.bin")) == f"{public.root}leaf.bin could not be downloaded: {end}"
    fetch_from_settings = partial(fetch_file, f"{public.root}leaf.bin", tmp_path / "cache")
    assert refused(fetch_from_settings).endswith(end)
    assert refused(lambda: list_directory(f"{public.root}folder/")) == (
        f"{public.root}folder/ could not be listed: {end}"
    )
    assert own.requests == []
    assert not (tmp_path / "leaf.bin").exists()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://localhost:{port}/leaf.bin", "it redirects to localhost (127.0.0.1), a loopback address"),
        ("http://127.1:{port}/leaf.bin", "a loopback address"),
        ("http://2130706433:{port}/leaf.bin", "a loopback address"),
        ("http://169.254.169.254/latest", "it redirects to 169.254.169.254, a link-local address"),
        ("http://10.1.2.3/leaf.bin", "it redirects to 10.1.2.3, a private address"),
        ("http://[::1]/leaf.bin", "it redirects to ::1, a loopback address"),
        ("http://[::1/leaf.bin", "it redirects to a malformed address"),
        ("http://host:x/leaf.bin", "it redirects to a malformed address"),
        ("file:///etc/passwd", "it redirects to file:///etc/passwd, which is no http or https address"),
        ("ftp://a:hunter2@host/leaf.bin?key=hunter2", "to ftp://host/leaf.bin?key=***, which is no http or https"),
    ],
)
def test_a_public_server_may_not_lead_elsewhere_than_to_public_ones(
    target: str, said: str, public: Hop, own: Hop, fetch: Callable[[str], bytes]
) -> None:
    public.redirects["/leaf.bin"] = target.format(port=own.root.rpartition(":")[2].rstrip("/"))
    assert said in refused(lambda: fetch(f"{public.root}leaf.bin"))
    assert own.requests == []


def test_a_name_that_changes_its_address_is_refused_before_anything_is_sent(
    public: Hop, own: Hop, fetch: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "_require_permitted", lambda *_: None)  # as if the name had another address then
    public.redirects["/leaf.bin"] = f"{own.root}leaf.bin"
    assert "it redirects to 127.0.0.1, a loopback address" in refused(lambda: fetch(f"{public.root}leaf.bin"))
    assert own.requests == []


def test_a_server_on_loopback_may_lead_to_loopback_and_to_public_ones(
    public: Hop, own: Hop, other: Hop, fetch: Callable[[str], bytes], tmp_path: Path
) -> None:
    own.redirects = {"/leaf.bin": "/moved.bin", "/moved.bin": f"{other.root}leaf.bin", "/out.bin": f"{public.root}x"}
    assert fetch(f"{own.root}leaf.bin") == CONTENT
    assert download_file(f"{own.root}out.bin", tmp_path / "out.bin").read_bytes() == CONTENT
    assert [path for path, _ in other.requests] == ["/leaf.bin"]


def test_redirects_in_a_circle_end(own: Hop, fetch: Callable[[str], bytes]) -> None:
    own.redirects = {"/leaf.bin": "/other.bin", "/other.bin": "/leaf.bin"}
    assert refused(lambda: fetch(f"{own.root}leaf.bin")).endswith("it redirects more than 10 times")
    assert len(own.requests) == 11


def test_a_redirect_from_https_to_http_is_refused() -> None:
    with Session() as one, pytest.raises(RedirectError, match=r"from https to .*, which is not encrypted"):
        one._next_address("https://host.example/a", "https://host.example/a", "http://host.example/b")


def test_credentials_stay_with_their_host(
    own: Hop, other: Hop, fetch: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login user password of-netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    own.redirects = {"/leaf.bin": f"{own.root}moved.bin", "/moved.bin": f"{other.root}leaf.bin"}
    assert fetch(own.root.replace("://", "://user:hunter2@") + "leaf.bin?token=hunter2") == CONTENT
    sent = f"Basic {base64.b64encode(b'user:hunter2').decode()}"
    assert own.requests == [("/leaf.bin?token=hunter2", sent), ("/moved.bin", sent)]
    assert other.requests == [("/leaf.bin", None)]


def test_the_files_of_a_directory_are_asked_for_with_the_credentials_of_its_address(own: Hop, tmp_path: Path) -> None:
    own.redirects["/folder/"] = "/moved/"
    address = own.root.replace("://", "://user:hunter2@") + "folder/"
    (planned,) = plan_downloads([address], tmp_path)
    assert planned.url == own.root.replace("://", "://user:hunter2@") + "moved/leaf.bin"
    assert planned.address == f"{own.root}moved/leaf.bin"
    assert download_file(planned.url, planned.target).read_bytes() == CONTENT


def test_what_is_logged_of_a_request_has_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("urllib3.connectionpool")
    with caplog.at_level(logging.DEBUG, "urllib3.connectionpool"):
        logger.warning("Failed to parse headers (url=%s): %s", "http://host/a?token=hunter2", "none")
        logger.debug('%s://%s:%s "%s %s"', "http", "host", 80, "GET", "/a?name=hunter2&b=c")
    assert caplog.messages[0] == "Failed to parse headers (url=http://host/a?…): none"
    assert "hunter2" not in caplog.text
