"""Lists of downloads: addresses on the command line, in a file, or in the directory page of a server.

What belongs here: turning what a user names into one `Download` per file. What does not: the transfer (`downloads/`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from plantclef_assets.ingest.downloads import Download, DownloadError
from plantclef_assets.ingest.downloads.session import RedirectError, Session
from plantclef_assets.ingest.locations import check_host, is_download
from plantclef_assets.redaction import without_secrets

_DIGITS = {"sha256": 64, "md5": 32}
_SECONDS = 60.0


def read_addresses(path: Path) -> list[str]:
    """Read a list of addresses, one per line; empty lines and lines that begin with `#` are skipped.

    Raises:
        DownloadError: the file cannot be read as text.
    """
    try:
        lines = (line.strip() for line in path.read_text("utf-8-sig").splitlines())
        return [line for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise DownloadError(f"the list of addresses {path} cannot be read: {error}") from error


def plan_downloads(addresses: Iterable[str], folder: Path, pattern: str = "*") -> list[Download]:
    """Return the download of each address; an address that ends with `/` stands for all files of that directory.

    Args:
        addresses: http(s) addresses, optionally followed by `#sha256=…` or `#md5=…`.
        folder: the folder of all files, which are named by the last part of their addresses.
        pattern: shell pattern for the names of a directory's files.

    Raises:
        DownloadError: an address or a checksum is malformed, a directory cannot be listed, or two files have one name.
    """
    downloads: list[Download] = []
    for address in addresses:
        url, _, fragment = address.partition("#")
        if not is_download(url):
            raise DownloadError(f"'{without_secrets(address)}' is not an http or https address")
        try:
            check_host(url)
        except ValueError as error:
            raise DownloadError(str(error)) from None
        if urlsplit(url).path.endswith("/") and not urlsplit(url).query:
            listed = [one for one in list_directory(url) if fnmatchcase(file_name(one), pattern)]
            if not listed:
                raise DownloadError(f"{without_secrets(url)} lists no file with a name that matches '{pattern}'")
            downloads += [Download(one, folder / file_name(one)) for one in listed]
        else:
            downloads.append(Download(url, folder / file_name(url), **_checksum(fragment, address)))
    times = Counter(one.target for one in downloads)
    for target, count in times.items():
        if count > 1:
            raise DownloadError(f"{count} of the addresses would be written to {target}; use several folders")
    return downloads


def file_name(url: str) -> str:
    """Return the name of the file at an address.

    Raises:
        DownloadError: the address does not end with the name of a file.
    """
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if not name or name.startswith(".") or re.search(r"[/\\\x00-\x1f]", name):
        raise DownloadError(f"{without_secrets(url)} does not end with the name of a file")
    return name


def list_directory(url: str) -> list[str]:
    """Return the addresses of the files in a directory of a server, in the order of its page.

    Links to other places, to the parent, to folders and to other sort orders of the page are skipped.

    Raises:
        DownloadError: the server does not answer with a page of links.
    """
    shown = without_secrets(url)
    try:
        with Session() as session, session.open(url, _SECONDS) as response:
            if response.status_code != 200:
                raise DownloadError(f"{shown} could not be listed: the server answers {response.status_code}")
            return list(dict.fromkeys(_files_below(response.url, response.text)))
    except RedirectError as error:
        raise DownloadError(f"{shown} could not be listed: {error}") from None
    except (requests.RequestException, HTTPError, ValueError) as error:  # their texts have the whole address
        raise DownloadError(f"{shown} could not be listed: {type(error).__name__}") from None


def _files_below(base: str, page: str) -> Iterator[str]:
    parser = _Links()
    parser.feed(page)
    for link in parser.links:
        address = urljoin(base, link)
        name = address.removeprefix(base)
        if name != address and re.fullmatch(r"[^/?#.][^/?#]*", name):
            yield address


class _Links(HTMLParser):
    """Collects the targets of the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _checksum(fragment: str, address: str) -> dict[str, str]:
    algorithm, _, digest = fragment.partition("=")
    if not fragment:
        return {}
    if not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGITS.get(algorithm, 0)}}}", digest) or algorithm not in _DIGITS:
        raise DownloadError(
            f"'{without_secrets(address)}' does not end with a checksum: '#sha256=' and 64 digits, or '#md5=' and 32"
        )
    return {algorithm: digest}
