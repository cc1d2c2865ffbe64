"""HTTP sessions that follow redirects only to where a server may lead, and keep credentials to their host.

A redirect is followed to a public address, or to one of the same kind as that of the first connection: a server on
loopback may lead to loopback, a public one may not. What belongs here: redirects, credentials, and what is logged of
requests. What does not: the meaning of a response (`http.py`).
"""

import logging
import re
import socket
from collections.abc import Callable, Generator
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_auth_from_url
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from plantclef_assets.redaction import without_secrets, without_secrets_in

_MOST_REDIRECTS = 10
_PUBLIC = "public"
_NAT64 = IPv6Network("64:ff9b::/96")


class RedirectError(Exception):
    """A redirect is not followed; the message is the end of a sentence about the first address."""


class Session(requests.Session):
    """A session whose redirects are checked, also by the address that a connection really has."""

    def __init__(self) -> None:
        super().__init__()
        self._adapter = _Adapter()
        for scheme in ("http://", "https://"):
            self.mount(scheme, self._adapter)

    def open(self, url: str, timeout: float | tuple[float, float], **headers: str) -> requests.Response:
        """Send a GET request, follow redirects, and return the response with its body still to be read.

        Its `url` has the user and the password of the given address only where they were sent.

        Raises:
            RedirectError: a redirect leads to a place that is not permitted, or there are too many.
            requests.RequestException: the request failed.
        """
        kinds: set[str] | None = None  # the person who set the address may use any
        address = url
        for _ in range(_MOST_REDIRECTS + 1):
            self._adapter.permitted = kinds
            options = {"headers": headers, "timeout": timeout, "auth": self._credentials(url, address)}
            response = self.get(address, stream=True, allow_redirects=False, **options)
            target = self.get_redirect_target(response)
            if target is None:
                return response
            response.close()
            kinds = kinds or {_PUBLIC, self._adapter.kinds.get(urlsplit(address).hostname or "", _PUBLIC)}
            address = self._next_address(url, address, target)
            self._require_permitted(address, kinds)
        raise RedirectError(f"it redirects more than {_MOST_REDIRECTS} times")

    def resolve_redirects(self, *args: Any, **options: Any) -> Generator[requests.Response, None, None]:
        """Yield nothing: requests would read the whole body of a redirect, only to offer the next request."""
        yield from ()

    def _credentials(self, first: str, address: str) -> "tuple[str, str] | Callable[..., Any] | None":
        """Return what to send to an address: user and password of the first one, which netrc would replace.

        None lets requests look into netrc. That may have credentials for every host, so a redirect to another host
        gets a function that adds none.
        """
        if not self._is_same_place(first, address):
            return _without_credentials
        user, password = get_auth_from_url(address)
        return (user, password) if user or password else None

    def _is_same_place(self, one: str, other: str) -> bool:
        """Whether credentials for one address may be sent to another: same host and port, and not less secure."""
        return not self.should_strip_auth(one, other)

    def _next_address(self, first: str, address: str, target: str) -> str:
        """Return the address that a redirect leads to; with the first one's credentials only at the same place."""
        try:
            parts = urlsplit(urljoin(address, target))
            usable = bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise RedirectError("it redirects to a malformed address") from None
        host = parts.netloc.rpartition("@")[2]
        bare = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        if not usable or parts.scheme not in ("http", "https"):
            raise RedirectError(f"it redirects to {without_secrets(bare)}, which is no http or https address")
        if parts.scheme == "http" and urlsplit(address).scheme == "https":
            raise RedirectError(f"it redirects from https to {without_secrets(bare)}, which is not encrypted")
        user, at, _ = urlsplit(first).netloc.rpartition("@")
        if at and self._is_same_place(first, bare):
            return urlunsplit((parts.scheme, f"{user}@{host}", parts.path, parts.query, ""))
        return bare

    def _require_permitted(self, address: str, kinds: set[str]) -> None:
        """Check every address of a host before anything is sent to it, also where a proxy would connect to it."""
        host = urlsplit(address).hostname or ""
        try:
            found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError):
            return  # the connection fails, or a proxy knows the host
        for *_, place in found:
            _require_kind(str(place[0]), host, kinds)


class _Adapter(HTTPAdapter):
    """An adapter that checks the address of each new connection before anything is sent.

    Attributes:
        permitted: the kinds of addresses that connections may have; None permits all.
        kinds: the kind of address of the last connection to each host.
    """

    def __init__(self) -> None:
        self.permitted: set[str] | None = None
        self.kinds: dict[str, str] = {}
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pools of connections, with classes that check them."""
        super().init_poolmanager(*args, **options)
        check = self._check

        class CheckedPool(HTTPConnectionPool):
            ConnectionCls = _checked(HTTPConnection, check)

        class CheckedSecurePool(HTTPSConnectionPool):
            ConnectionCls = _checked(HTTPSConnection, check)

        self.poolmanager.pool_classes_by_scheme = {"http": CheckedPool, "https": CheckedSecurePool}

    def _check(self, host: str, place: str) -> None:
        if self.permitted is not None:
            _require_kind(place, host, self.permitted)
        self.kinds[host.strip("[]").lower()] = kind_of_address(place)


def _checked(connection: type[Any], check: Callable[[str, str], None]) -> type[Any]:
    """Return a class of connections that are checked when they are open; a name may have got another address."""

    class Checked(connection):
        def _new_conn(self) -> socket.socket:
            opened = super()._new_conn()
            try:
                check(self.host, opened.getpeername()[0])
            except BaseException:
                opened.close()
                raise
            return opened

    return Checked


def kind_of_address(place: str) -> str:
    """Return the kind of an IP address: public, loopback, link-local or private (also reserved, shared, multicast)."""
    address = ip_address(place.partition("%")[0])
    if not isinstance(address, IPv4Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        address = embedded or address
    if address.is_loopback or address.is_unspecified:  # a connection to 0.0.0.0 reaches this machine
        return "loopback"
    if address.is_link_local:
        return "link-local"
    return _PUBLIC if address.is_global and not address.is_multicast else "private"


def _require_kind(place: str, host: str, permitted: set[str]) -> None:
    kind = kind_of_address(place)
    if kind not in permitted:
        named = place if place == host else f"{host} ({place})"
        raise RedirectError(f"it redirects to {named}, a {kind} address")


def _without_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _WithoutSecrets(logging.Filter):
    """Removes secrets from what urllib3 logs, such as the address whose headers cannot be parsed."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = without_secrets_in(record.getMessage())
        record.msg, record.args = re.sub(r"\?[^\s\"']+=[^\s\"')]+", "?…", text), ()
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutSecrets())
