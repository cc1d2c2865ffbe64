"""Downloads: one file from an http(s) address, resumed where it broke off, checked, and visible only when whole.

The bytes so far lie beside the target as `<name>.part`, with the server's mark of the file's version (ETag or
Last-Modified) in `<name>.part.json`: a part of another version is never continued.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

_CHUNK_BYTES = 2**16
"""Bytes that a broken connection may cost: what came of a chunk is lost with it."""
_TIMEOUT_SECONDS = (10, 60)
_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT_SECONDS = 120.0


class DownloadError(OSError):
    """A file that could not be had; the message says from where and why."""


class _Interrupted(Exception):
    """The transfer broke off in a way that another try may mend; carries how long the server wants to be left alone."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Retries:
    """How often a transfer that makes no progress is tried, and how long is waited in between.

    Attributes:
        attempts: tries without a new byte before giving up; a try that brought some starts the count anew.
        first_wait: seconds before the second try; doubled each time, with some chance added.
    """

    attempts: int = 6
    first_wait: float = 1.0


def download_file(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    retries: Retries | None = None,
) -> Path:
    """Download one file; does nothing where the target exists (and has the checksum, if one is given).

    Args:
        url: http or https address.
        target: the file to write; appears in one step, when all its bytes are there and the checksum is right.
        sha256: expected checksum, 64 hexadecimal digits.
        progress: told (bytes so far, all bytes or None where the server does not say) after each chunk.
        retries: how patient to be.

    Returns:
        the target.

    Raises:
        DownloadError: the server refuses, keeps failing, or gives bytes with another checksum.
    """
    retries = retries or Retries()
    if target.exists():
        if sha256 is None or _digest(target) == sha256.lower():
            return target
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _transfer(url, part, progress)
            break
        except _Interrupted as interruption:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= retries.attempts:
                raise DownloadError(
                    f"{url} could not be downloaded: {interruption} ({failures} tries in a row without a new byte; "
                    f"{_size(part):,} bytes are kept in {part.name} and are continued when it is asked for again)"
                ) from interruption
            backoff = retries.first_wait * 2 ** (failures - 1) * random.uniform(1, 1.5)
            time.sleep(min(max(backoff, interruption.wait or 0), _LONGEST_WAIT_SECONDS))
    found = _digest(part) if sha256 else None
    if sha256 and found != sha256.lower():
        _forget(part)
        raise DownloadError(f"{url} has sha256 {found}, not {sha256.lower()}: it is not the file that was meant")
    part.replace(target)
    _forget(part)
    return target


def _transfer(url: str, part: Path, progress: Callable[[int, int | None], None] | None) -> None:
    """Fetch what is missing of a file into its part.

    Raises:
        _Interrupted: it broke off; what came is kept.
        DownloadError: the server refuses for good.
    """
    have, version = _size(part), _version(part)
    headers = {"Accept-Encoding": "identity"}
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
            if response.status_code in _RETRIED_STATUS:
                raise _Interrupted(f"the server answers {response.status_code}", _retry_after(response))
            if response.status_code == 416 and _total_of_range(response) == have:
                return  # all of it is there already
            if response.status_code == 416:
                _forget(part)
                raise _Interrupted("the server has fewer bytes than were kept; starting anew")
            if not response.ok:
                raise DownloadError(f"{url} could not be downloaded: the server answers {response.status_code}")
            continued = response.status_code == 206
            if continued and _start_of_range(response) != have:
                raise _Interrupted("the server sent another range than was asked for")
            start = have if continued else 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length and length.isdigit() else None
            _remember(part, response)
            with part.open("ab" if continued else "wb") as stream:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    stream.write(chunk)
                    start += len(chunk)
                    if progress:
                        progress(start, total)
            if total is not None and start < total:
                raise _Interrupted(f"the connection ended after {start:,} of {total:,} bytes")
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _Interrupted(f"the connection failed ({type(error).__name__})") from error
    except requests.RequestException as error:
        raise DownloadError(f"{url} could not be downloaded: {error}") from error


def _remember(part: Path, response: requests.Response) -> None:
    """Keep the version that the server names; a weak ETag does not promise equal bytes, so it does not count."""
    etag = response.headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    _note(part).write_text(json.dumps({"version": version}))


def _version(part: Path) -> str | None:
    try:
        return json.loads(_note(part).read_text())["version"]
    except (OSError, ValueError, KeyError):
        return None


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _start_of_range(response: requests.Response) -> int | None:
    """Read the 12 of `Content-Range: bytes 12-99/100`."""
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
    return int(start) if start.isdigit() else None


def _total_of_range(response: requests.Response) -> int | None:
    """Read the 100 of `Content-Range: bytes */100`."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
