"""Page tokens: where the page before ended, in a form that clients do not read.

A token also holds the revision that the first page showed, so that all pages show one.

A token belongs to one list: it carries a checksum over the list's name and filter,
so that a token of another list, a cut token or an invented one is an error and never
a page of something else.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message

from raftstate.core.limits import PAGE_SIZE_DEFAULT, PAGE_TOKEN_CHARS_MAX
from raftstate.core.pages import PAGE_BYTES
from raftstate.rpc.errors import Failure, invalid_field
from raftstate.v1.common_pb2 import ResponseHeader

Row = TypeVar("Row", bound=Message)

_VERSION = b"\x02"
_REVISION = struct.Struct(">Q")
_HEAD = len(_VERSION) + _REVISION.size


class PageStart(NamedTuple):
    """Where a page begins: behind which row, and of which revision. No revision, and
    nothing to begin behind, for the first page of a list."""

    revision: int | None = None
    after: bytes = b""


class Page(NamedTuple):
    """Which page of a list is wanted: of which revision (None: the newest), behind which
    row, and how many rows at most."""

    at: int | None
    after: bytes
    size: int
    scope: bytes

    @property
    def after_text(self) -> str:
        """The row it begins behind, where a text names rows. Raises Failure."""
        try:
            return self.after.decode()
        except UnicodeDecodeError:
            raise _bad_token() from None

    @property
    def after_number(self) -> int:
        """The row it begins behind, where a number names rows; zero for the first page.
        Raises Failure."""
        if len(self.after) not in (0, _REVISION.size):
            raise _bad_token()
        return int.from_bytes(self.after, "big")

    def cut(self, found: list[Row]) -> list[Row]:
        """Those of the rows found that the page shows. If that is not all of them, there
        is another page."""
        size = 0
        for at, row in enumerate(found[: self.size]):
            size += row.ByteSize()
            if at and size > PAGE_BYTES:
                return found[:at]
        return found[: self.size]

    def next_token(self, header: ResponseHeader, after: bytes | str | int) -> str:
        """The token of the page behind this one, which begins behind the row `after` and
        shows the same revision."""
        if isinstance(after, str):
            after = after.encode()
        elif isinstance(after, int):
            after = _REVISION.pack(after)
        return page_token(self.scope, header.revision, after)


def page_size(asked: int) -> int:
    """How many rows a page has; zero asks for the default."""
    return asked or PAGE_SIZE_DEFAULT


def page_scope(request: Message) -> bytes:
    """What tells one list from another: what is asked for, but for the page of it."""
    asked = type(request)()
    asked.CopyFrom(request)
    for name in ("page_token", "page_size", "consistency", "revision"):
        asked.ClearField(name)
    name = request.DESCRIPTOR.full_name
    return name.encode() + b"\x00" + asked.SerializeToString(deterministic=True)


def page_token(scope: bytes, revision: int, after: bytes) -> str:
    """The token of the page that begins after the row named `after`, and shows what was
    there at a revision."""
    body = _VERSION + _REVISION.pack(revision) + after
    token = base64.urlsafe_b64encode(_checksum(scope, body) + body).decode().rstrip("=")
    assert len(token) <= PAGE_TOKEN_CHARS_MAX, f"a page token of {len(token)} characters"
    return token


def page_start(scope: bytes, token: str) -> PageStart:
    """Where a page begins.

    Raises Failure, naming page_token, for anything that `page_token` did not make
    for this scope.
    """
    if not token:
        return PageStart()
    try:
        raw = base64.b64decode(
            token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, UnicodeError):
        raw = b""  # the same answer as for a wrong checksum
    checksum, body = raw[:4], raw[4:]
    if len(body) >= _HEAD and body[:1] == _VERSION and checksum == _checksum(scope, body):
        return PageStart(_REVISION.unpack(body[1:_HEAD])[0], body[_HEAD:])
    raise _bad_token()


def _bad_token() -> Failure:
    words = "is not a token that this list gave"
    return invalid_field("page_token", words, "next_page_token of the page before")


def _checksum(scope: bytes, body: bytes) -> bytes:
    return zlib.crc32(scope + b"\x00" + body).to_bytes(4, "big")
