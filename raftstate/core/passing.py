"""Lists of the past, a slice of work at a time.

What came after a revision was not there then, and a list of then passes over it. There may
be any amount of that: a hundred thousand keys between two that are shown. So a read is
given up when it has passed over so much, and begun again in another view; what it passed
over is noted, and is not looked at twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from raftstate.core.history import PastReader
from raftstate.core.ports import Reader


class Weary(Exception):
    """So much was passed over that the read is to be begun again, when others have had
    their turn."""


class PatientReader(PastReader):
    """The state as it was at a revision. A scan raises Weary when all scans together have
    passed over `patience` keys that were not there.

    `passed` is what was noted by readers of the same revision before, and is added to: for
    the first of some keys that were not there, where to go on instead. It is for scans of
    one direction."""

    __slots__ = ("_left", "_passed")

    def __init__(
        self, reader: Reader, revision: int, passed: dict[bytes, bytes], patience: int
    ) -> None:
        super().__init__(reader, revision)
        self._passed = passed
        self._left = patience

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        first: bytes | None = None
        at: bytes | None = start
        while at is not None:
            rows, at = self.scan_all(at, stop), None
            for key, value in rows:
                if value is not None:
                    self._note(first, key)
                    first = None
                    yield key, value
                    continue
                first = first or key
                if (at := self._passed.get(key)) is not None:
                    break
                self._spend(first, key + b"\0")
        self._note(first, stop)

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        first: bytes | None = None
        end: bytes | None = stop
        while end is not None:
            rows, end = self.scan_back_all(start, end), None
            for key, value in rows:
                if value is not None:
                    self._note(first, key + b"\0")
                    first = None
                    yield key, value
                    continue
                first = first or key
                if (end := self._passed.get(key)) is not None:
                    break
                self._spend(first, key)
        self._note(first, start)

    def _note(self, first: bytes | None, bound: bytes) -> None:
        """Nothing was there from a key to a bound."""
        if first is not None:
            self._passed[first] = bound

    def _spend(self, first: bytes, bound: bytes) -> None:
        self._left -= 1
        if self._left <= 0:
            self._note(first, bound)
            raise Weary
