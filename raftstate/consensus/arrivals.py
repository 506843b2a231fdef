"""What a replica is asked for beside proposals, and what it remembers of who asked."""

from __future__ import annotations

from typing import NamedTuple

from raftstate.core.types import MemberId, Term
from raftstate.v1.agent_service_pb2 import FenceQuery


class Read(NamedTuple):
    """A read that waits for its round."""

    ticket: object


class Keep(NamedTuple):
    """A keep-alive that waits for its round: of a session, an ownership or a lease.

    `arrived` is set when it is taken up: not before it was sent, so that nothing ends
    earlier than its client believes."""

    target: str | FenceQuery | int
    ticket: object
    arrived: float = 0.0


class Left(NamedTuple):
    """A question how long a lease lives on, that waits for its round."""

    lease_id: int
    ticket: object


class Transfer(NamedTuple):
    """A wish that another voter leads, until when, and who asked: nobody, if this
    member is about to stop."""

    to: MemberId | None
    deadline: float
    ticket: object


class Proposed(NamedTuple):
    """Who waits for the entry at an index, command by command."""

    term: Term
    tickets: list[object]
    size: int
