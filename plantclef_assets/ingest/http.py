"""What a server answers to a request for a file or a range of it, and what that means.

The headers are those of RFC 9110: Content-Range (14.4), If-Range (13.1.5), Retry-After (10.2.3), ETag (8.8.3).
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import requests
from urllib3.exceptions import HTTPError

from plantclef_assets.ingest.limits import DownloadError

_CONNECT_SECONDS = 10.0
_READ_BYTES = 2**16
_TRIED_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Interrupted(Exception):
    """It broke off in a way that another try may mend.

    Attributes:
        wait: seconds that the server wants to be left alone.
        brought_bytes: whether there is something that was not there before.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait
        self.brought_bytes = False


class NoSuchRange(Exception):
    """The server says that the range is not in the file."""


@dataclass(frozen=True)
class Answer:
    """The head of a server's answer, its body still to be read.

    Attributes:
        partial: whether it is a range; else it is the whole file.
        start: the first byte that follows.
        end: the byte after the last that follows; None where it does not say.
        total: bytes of the whole file; None where it does not say.
        version: its strong ETag, else its Last-Modified; a weak ETag does not promise equal bytes.
    """

    response: requests.Response
    partial: bool
    start: int
    end: int | None
    total: int | None
    version: str | None

    def read(self) -> Iterator[bytes]:
        """Give the body as it comes, without loss of what came before a connection broke.

        Raises:
            Interrupted: it broke.
        """
        try:
            while content := self.response.raw.read1(_READ_BYTES, decode_content=False):
                yield content
        except (HTTPError, OSError) as error:
            raise Interrupted(f"the connection failed ({type(error).__name__})") from error


@contextmanager
def ask(
    session: requests.Session,
    url: str,
    timeout: float,
    wanted: tuple[int, int] | None = None,
    version: str | None = None,
) -> Iterator[Answer]:
    """Ask for a file, or for the bytes from `wanted[0]` to before `wanted[1]` if it still has this version.

    Raises:
        DownloadError: the server refuses for good, or cannot be understood.
        Interrupted: it is busy or out of reach, or says things that do not fit together.
        NoSuchRange: the range is not in the file.
    """
    headers = {"Accept-Encoding": "identity"}
    if wanted:
        headers["Range"] = f"bytes={wanted[0]}-{wanted[1] - 1}"
    if wanted and version:
        headers["If-Range"] = version
    try:
        response = session.get(url, headers=headers, stream=True, timeout=(_CONNECT_SECONDS, timeout))
    except requests.exceptions.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DownloadError(f"{url} could not be downloaded: its server's certificate is not trusted") from error
        raise Interrupted("the connection failed (SSLError)") from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, HTTPError) as error:
        raise Interrupted(f"the connection failed ({type(error).__name__})") from error
    except requests.RequestException as error:
        raise DownloadError(f"{url} could not be downloaded: {error}") from error
    with response:
        _refuse_status(response, url, wanted)
        yield _understand(response, url, wanted)


def _refuse_status(response: requests.Response, url: str, wanted: tuple[int, int] | None) -> None:
    status = response.status_code
    if status in _TRIED_AGAIN:
        raise Interrupted(f"the server answers {status}", _retry_after(response))
    if status == 416 and wanted:
        raise NoSuchRange
    if status not in (200, 206):
        raise DownloadError(f"{url} could not be downloaded: the server answers {status}")


def _understand(response: requests.Response, url: str, wanted: tuple[int, int] | None) -> Answer:
    headers = response.headers
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise DownloadError(f"{url} could not be downloaded: the server sends it packed as {encoding}, unasked")
    length = int(headers["Content-Length"]) if headers.get("Content-Length", "").isdigit() else None
    etag = headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    if response.status_code == 200:
        return Answer(response, False, 0, length, length, version)
    said = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not wanted or not said or int(said[1]) != wanted[0] or int(said[2]) < wanted[0]:
        raise Interrupted("the server sent another range than was asked for")
    start, end = int(said[1]), int(said[2]) + 1
    if length is not None and length != end - start:
        raise Interrupted(f"the server says that bytes {start} to {end - 1} are {length:,} bytes")
    return Answer(response, True, start, end, int(said[3]) if said[3].isdigit() else None, version)


def _retry_after(response: requests.Response) -> float:
    """Read how many seconds the server wants to be left alone; it may say so as a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
