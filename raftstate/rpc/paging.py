"""Page tokens: where the page before ended, in a form that clients do not read.

A token belongs to one list: it carries a checksum over the list's name and filter,
so that a token of another list, a cut token or an invented one is an error and never
a page of something else.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from raftstate.core.limits import PAGE_SIZE_DEFAULT
from raftstate.rpc.errors import invalid_field

_VERSION = b"\x01"


def page_size(asked: int) -> int:
    """How many rows a page has; zero asks for the default."""
    return asked or PAGE_SIZE_DEFAULT


def page_token(scope: str, after: str) -> str:
    """The token of the page that begins after the row named `after`."""
    body = _VERSION + after.encode()
    return base64.urlsafe_b64encode(_checksum(scope, body) + body).decode().rstrip("=")


def page_start(scope: str, token: str) -> str:
    """The row that the page begins after; empty for the first page.

    Raises Failure, naming page_token, for anything that `page_token` did not make
    for this scope.
    """
    if not token:
        return ""
    try:
        raw = base64.b64decode(
            token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
        )
        checksum, body = raw[:4], raw[4:]
        if checksum == _checksum(scope, body) and body[:1] == _VERSION:
            return body[1:].decode()
    except (binascii.Error, UnicodeError):
        pass  # the same answer as for a wrong checksum
    words = "is not a token that this list gave"
    raise invalid_field("page_token", words, "next_page_token of the page before")


def _checksum(scope: str, body: bytes) -> bytes:
    return zlib.crc32(scope.encode() + b"\x00" + body).to_bytes(4, "big")
