"""Addresses without their secrets, for everything that is recorded or printed.

What belongs here: which parts of an address are secret, and how they are replaced. This module imports the standard
library only, since every package needs it. Requests use the address as it is set.
"""

import hashlib
import re
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
"""In place of a secret value."""
_ADDRESS = re.compile(r"(?P<scheme>(?:[a-z][a-z0-9+.-]*://)+)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_IN_TEXT = re.compile(r"\b(?:[a-z][a-z0-9+.-]*://)+[^\s'\"<>]*", re.IGNORECASE)
_SPACED_USER = re.compile(r"://[^\s/@:'\"]*:(?!\d+[\s/])[^/@'\"<>\n]{1,200}@")
"""User and password with spaces, which have no place in an address, but are typed."""
_PUNCTUATION = ".,:;)]}"
_CHECKSUM = re.compile(r"(sha256|md5)=[0-9a-fA-F]*")
_DIGEST = re.compile(r"~[0-9a-f]{8}")
_SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|signature|credential|auth|session|policy|expires|access_?(key|id)|api_?key"
    r"|(^|[-_.])(key|sig|pass|pin|code|jwt)([-_.]|$)"
    r"|^x-(goog|amz|oss)-"  # the signatures of Google, Amazon and Alibaba, with their dates
    r"|^(sv|ss|srt|sp|st|se|sr|spr|sip|sk[a-z]+)$",  # Azure's shared access signatures
    re.IGNORECASE,
)


def without_secrets(address: str) -> str:
    """Return an address without user and password, and without the values of its query.

    A value whose name is that of a secret or of a part of a signature becomes `***`. Another value becomes `~` and
    eight digits of its hash, so that addresses which differ in it stay different. A checksum after `#` is kept. An
    address without these parts is unchanged, and so are paths, objects in a bucket and the result of this function.
    """
    match = _ADDRESS.fullmatch(address)
    if not match:
        return address
    scheme, rest = match["scheme"], _without_user(match["rest"])
    if scheme.lower() == "gs://":
        return scheme + rest
    place, hash_sign, fragment = rest.partition("#")
    path, question, query = place.partition("?")
    path = ";".join(_without_value(part, by_name=True) for part in path.split(";"))
    query = "".join(part if part in "&;" else _without_value(part) for part in re.split("([&;])", query))
    kept = fragment if _CHECKSUM.fullmatch(fragment) or not fragment else HIDDEN
    return f"{scheme}{path}{question}{query}{hash_sign}{kept}"


def without_secrets_in(text: str) -> str:
    """Return a text with its addresses replaced by those without secrets."""
    return _IN_TEXT.sub(_replaced, _SPACED_USER.sub("://", text))


def _replaced(match: re.Match[str]) -> str:
    address = match[0].rstrip(_PUNCTUATION)
    return without_secrets(address) + match[0][len(address) :]


def _without_user(rest: str) -> str:
    """Return what follows `://` without user and password; a password may have characters that should be escaped."""
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" not in host and _is_host(host):
        return rest
    if "@" in host and _is_host(host.rpartition("@")[2]):
        return rest[len(host.rpartition("@")[0]) + 1 :]
    return rest.rpartition("@")[2]


def _is_host(host: str) -> bool:
    try:
        return urlsplit(f"//{host.rpartition(',')[2]}").port != 0  # of several hosts, the last one
    except ValueError:
        return False


def _without_value(part: str, *, by_name: bool = False) -> str:
    """Return `name=value` without its value; with `by_name`, only if the name is that of a secret."""
    name, equals, value = part.partition("=")
    if not equals:
        name, value = "", part
    if not value or value == HIDDEN or _DIGEST.fullmatch(value):
        return part
    if name and _SECRET_NAME.search(unquote(name)):
        return f"{name}={HIDDEN}"
    if by_name:
        return part
    return f"{name}{equals}~{hashlib.blake2b(value.encode(errors='surrogateescape'), digest_size=4).hexdigest()}"
