"""Keys made of parts, which sort as the parts do.

A key is at most 480 bytes. A part that is long is cut, and told from others by a digest:
such parts sort by their beginning only. A prefix of parts is a prefix of bytes, so that
what belongs together is read and removed together.
"""

from __future__ import annotations

import hashlib
from typing import Final

# The end of a part sorts before whatever a longer part goes on with.
_END: Final = b"\x01"
# What a part may not hold as it is. A zero byte would count twice in the store's limit.
_ESCAPES: Final = {0: b"\x02\x01", 1: b"\x02\x02", 2: b"\x02\x03"}
# No escape: what follows is a digest.
_CUT: Final = b"\x02\x04"
# Parts up to here are kept whole; of longer ones this much, and the digest.
PART_BYTES_MAX: Final = 112
_KEPT_BYTES: Final = 76

Part = str | int


def key(*parts: Part) -> bytes:
    """The key of these parts; also the prefix of all keys that begin with them.

    Texts are any texts; numbers are 0 to 2**64 - 1, and sort as numbers among themselves.
    Three long texts and some short parts always fit into a key. Raises ValueError for a
    number out of range."""
    return b"".join(_written(part) + _END for part in parts)


def _written(part: Part) -> bytes:
    if isinstance(part, int):
        if not 0 <= part < 1 << 64:
            raise ValueError(f"{part} does not fit into 64 bits without a sign")
        return f"{part:016x}".encode()
    # Lone surrogates are texts as well, in Python.
    whole = part.encode("utf-8", "surrogatepass")
    written = _escaped(whole)
    if len(written) <= PART_BYTES_MAX:
        return written
    digest = hashlib.blake2b(whole, digest_size=16).hexdigest().encode()
    return _beginning(whole) + _CUT + digest


def cut(digest: str) -> bytes:
    """A part that stands for parts which do not fit. It is none that a text has, and sorts
    before all that begin with a printable character."""
    return _CUT + digest.encode() + _END


def _escaped(text: bytes) -> bytes:
    return b"".join(_ESCAPES.get(byte, bytes((byte,))) for byte in text)


def _beginning(text: bytes) -> bytes:
    """As many bytes of a long text as fit, none of them half an escape."""
    kept = b""
    for byte in text:
        written = _ESCAPES.get(byte, bytes((byte,)))
        if len(kept) + len(written) > _KEPT_BYTES:
            break
        kept += written
    return kept


def texts(written: bytes) -> tuple[str, ...] | None:
    """The texts that a key was made of; None if one of them was cut. Numbers come back as
    the texts that they were written as. Raises ValueError for what is no key of parts."""
    found: list[str] = []
    part = bytearray()
    rest = iter(written)
    for byte in rest:
        if byte == _END[0]:
            found.append(part.decode("utf-8", "surrogatepass"))
            part.clear()
        elif byte != _CUT[0]:
            part.append(byte)
        else:
            escaped = next(rest, 0) - 1
            if escaped == _CUT[1] - 1:
                return None
            if escaped not in _ESCAPES:
                raise ValueError(f"{written!r} is no key of parts")
            part.append(escaped)
    if part:
        raise ValueError(f"{written!r} does not end as a part does")
    return tuple(found)
