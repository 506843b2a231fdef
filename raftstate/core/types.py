"""The numbers and tokens that every layer speaks of.

`Term` and `Index` are Raft's (paper, figure 2). `Revision` counts applied
commands, one each, so that two commands in one log entry still differ.
"""

from typing import NamedTuple, NewType

from raftstate.v1.common_pb2 import FencingToken

Term = NewType("Term", int)
Index = NewType("Index", int)
Revision = NewType("Revision", int)
MemberId = NewType("MemberId", str)


class Position(NamedTuple):
    """A place in a log: what the last entry there is. (0, 0) is the empty log."""

    index: Index  # type: ignore[assignment]  # hides tuple.index, which nobody wants here
    term: Term


ORIGIN = Position(Index(0), Term(0))


def token_key(token: FencingToken) -> tuple[int, int]:
    """What fencing tokens are compared by: epoch first, then revision."""
    return (token.epoch, token.revision)


def token_text(token: FencingToken) -> str:
    """A token as fixed-width text, which sorts as the tokens do."""
    return f"{token.epoch:016x}-{token.revision:016x}"
