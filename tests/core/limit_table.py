"""Tables of limits: a request at each, and one beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from google.protobuf.message import Message

from raftstate.core.validate import violations
from raftstate.v1.common_pb2 import RequestId

RID = RequestId(session_id="s", sequence=1, opened_revision=1)


class Limit(NamedTuple):
    """A request, made of what its field holds: the most or least, and one beyond."""

    make: Callable[..., Message]
    at: object
    beyond: object
    field: str

    def check(self) -> None:
        """At the limit all is well; one beyond it, exactly that field is named."""
        assert violations(self.make(self.at)) == []

        found = violations(self.make(self.beyond))

        assert [each.field for each in found] == [self.field]
        assert found[0].limit
        assert found[0].description


def text(name: str, most: int, field: str, make: Callable[..., Message]) -> Limit:
    """A text of at most so many characters, not bytes."""
    return Limit(lambda value: make(**{name: value}), "é" * most, "é" * (most + 1), field)


def number(name: str, at: int, beyond: int, field: str, make: Callable[..., Message]) -> Limit:
    """A field that may hold one value, and not another."""
    return Limit(lambda value: make(**{name: value}), at, beyond, field)
