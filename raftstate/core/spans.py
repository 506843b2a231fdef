"""Ranges of keys, and what keys are made of; see `keys`."""

from __future__ import annotations

import struct
from typing import NamedTuple

# Ids are ASCII, and no table's letter is 0xff, so this sorts after all of them.
TOP = b"\xff"
NUMBER_MAX = (1 << 64) - 1

number = struct.Struct(">Q").pack


class Span(NamedTuple):
    """A range of keys: start <= key < stop."""

    start: bytes
    stop: bytes


def to_number(raw: bytes) -> int:
    """The number that the last eight bytes of a key hold."""
    return int.from_bytes(raw[-8:], "big")


def behind(table: bytes, after: str) -> bytes:
    """The first possible key after an id, or of the table if there is no id.

    A page token may hold anything; cut, it still sorts the same against every
    id, none of which is as long as that."""
    return table + after.encode()[:256] + b"\0" if after else table
