"""Resume tokens: how far a watch has come, in a form that clients do not read.

A token belongs to one selector of one cluster in one epoch: a restore from a backup may
make another history of the same revisions. One that does not belong is an error, and
never the beginning of something else.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import NamedTuple

from raftstate.rpc.errors import Failure, invalid_field

_VERSION = 1
# The largest revision that can be asked for; a watch from there on has come to the one
# before it.
_REVISION_MAX = (1 << 64) - 1
_BODY = struct.Struct(">BQQQII")
_CHECKSUM = struct.Struct(">I")


class Progress(NamedTuple):
    """How far a watch has come. All changes up to `position` are told; a watch that
    starts in the future has not told any, and the store has come to `reached` only."""

    position: int
    reached: int


class Tokens:
    """The tokens of one watch."""

    def __init__(self, cluster_id: str, epoch: int, selector: bytes) -> None:
        self._epoch = epoch
        self._cluster = zlib.crc32(cluster_id.encode())
        self._selector = zlib.crc32(selector)

    def write(self, progress: Progress) -> str:
        """The token of a watch that has come so far."""
        body = _BODY.pack(_VERSION, self._epoch, *progress, self._cluster, self._selector)
        return base64.urlsafe_b64encode(body + _CHECKSUM.pack(zlib.crc32(body))).decode()

    def read(self, token: str) -> Progress:
        """How far the watch had come that was given a token.

        Raises Failure, naming resume_token, for anything that `write` did not make for
        this selector of this cluster in this epoch."""
        version, epoch, position, reached, cluster, selector = _unpacked(token)
        if version != _VERSION or not reached <= position < _REVISION_MAX:
            raise _refused("is not a token that a watch gave")
        if cluster != self._cluster:
            raise _refused("is of another cluster")
        if epoch != self._epoch:
            raise _refused(f"is of epoch {epoch} of the cluster, this is {self._epoch}")
        if selector != self._selector:
            raise _refused("was given to another selector")
        return Progress(position, reached)


def _unpacked(token: str) -> tuple[int, int, int, int, int, int]:
    try:
        raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        body = raw[: _BODY.size]
        if _CHECKSUM.pack(zlib.crc32(body)) == raw[_BODY.size :]:
            return _BODY.unpack(body)
    except (binascii.Error, UnicodeError, struct.error):
        pass  # the same answer as for a wrong checksum
    raise _refused("is not a token that a watch gave")


def _refused(words: str) -> Failure:
    limit = "resume_token of a message, with the selector that it came for"
    return invalid_field("resume_token", words, limit)
