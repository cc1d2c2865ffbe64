"""One HTTP request for a file or a range of it, and the meaning of the response.

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

from plantclef_assets.ingest.downloads.errors import DownloadError, Interrupted, NoSuchRange
from plantclef_assets.ingest.downloads.session import RedirectError, Session
from plantclef_assets.redaction import without_secrets

_CONNECT_SECONDS = 10.0
_READ_BYTES = 2**16
_RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True)
class Response:
    """The head of a response; the body is still to be read.

    Attributes:
        partial: whether the body is a range; else it is the whole file.
        start: position of the first byte of the body in the file.
        end: position after the last byte of the body; None if unknown.
        total: bytes of the whole file; None if unknown.
        version: the strong ETag, else Last-Modified; a weak ETag does not guarantee equal bytes.
    """

    response: requests.Response
    partial: bool
    start: int
    end: int | None
    total: int | None
    version: str | None

    def read(self) -> Iterator[bytes]:
        """Yield the body as it arrives; bytes that arrived before a connection broke are not lost.

        Raises:
            Interrupted: the connection broke.
        """
        try:
            while content := self.response.raw.read1(_READ_BYTES, decode_content=False):
                yield content
        except (HTTPError, OSError) as error:
            raise Interrupted(f"the connection failed ({type(error).__name__})") from error


@contextmanager
def request(
    session: Session,
    url: str,
    timeout: float,
    wanted: tuple[int, int] | None = None,
    version: str | None = None,
) -> Iterator[Response]:
    """Request a file, or the bytes [wanted[0], wanted[1]) of it if it still has the given version.

    The errors of the HTTP library are no causes of those raised here: their texts have the whole address.

    Raises:
        DownloadError: the server refuses permanently, redirects to where it may not, or its response cannot be
            interpreted.
        Interrupted: the server is busy or unreachable, or its response contradicts itself.
        NoSuchRange: the range is not in the file.
    """
    address = without_secrets(url)
    headers = {"Accept-Encoding": "identity"}
    if wanted:
        headers["Range"] = f"bytes={wanted[0]}-{wanted[1] - 1}"
    if wanted and version:
        headers["If-Range"] = version
    try:
        response = session.open(url, (_CONNECT_SECONDS, timeout), **headers)
    except RedirectError as error:
        raise DownloadError(f"{address} could not be downloaded: {error}") from None
    except requests.exceptions.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DownloadError(f"{address} could not be downloaded: the server's certificate is not trusted") from None
        raise Interrupted("the connection failed (SSLError)") from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, HTTPError) as error:
        raise Interrupted(f"the connection failed ({type(error).__name__})") from None
    except (requests.RequestException, ValueError) as error:
        raise DownloadError(f"{address} could not be downloaded: it is malformed ({type(error).__name__})") from None
    with response:
        _check_status(response, address, wanted)
        yield _interpret(response, address, wanted)


def _check_status(response: requests.Response, address: str, wanted: tuple[int, int] | None) -> None:
    status = response.status_code
    if status in _RETRIED_STATUSES:
        raise Interrupted(f"the server answers {status}", _retry_after(response))
    if status == 416 and wanted:
        raise NoSuchRange
    if status not in (200, 206):
        raise DownloadError(f"{address} could not be downloaded: the server answers {status}")


def _interpret(response: requests.Response, address: str, wanted: tuple[int, int] | None) -> Response:
    headers = response.headers
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise DownloadError(
            f"{address} could not be downloaded: the server sends it encoded as {encoding}, which was not requested"
        )
    length = int(headers["Content-Length"]) if headers.get("Content-Length", "").isdigit() else None
    etag = headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    if response.status_code == 200:
        return Response(response, False, 0, length, length, version)
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not wanted or not match or int(match[1]) != wanted[0] or int(match[2]) < wanted[0]:
        raise Interrupted("the server sent a different range than requested")
    start, end = int(match[1]), int(match[2]) + 1
    if length is not None and length != end - start:
        raise Interrupted(f"the server reports {length:,} bytes for the bytes {start} to {end - 1}")
    return Response(response, True, start, end, int(match[3]) if match[3].isdigit() else None, version)


def _retry_after(response: requests.Response) -> float:
    """Return the seconds of a Retry-After header, which has a number or a date; 0 without one."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
