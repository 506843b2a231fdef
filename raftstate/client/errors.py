"""What an attempt's failure says, and what all attempts of a request say together.

The rule: an error is definite only if every attempt's was. After one unknown
attempt only an outcome that the log recorded under the request id settles it.
So timeout, then NOT_LEADER, then the deadline is unknown: the first attempt may
still be applied.
"""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

from raftstate.errors import (
    BY_REASON,
    DOMAIN,
    Closed,
    ClusterMismatch,
    InvalidRequest,
    NoQuorum,
    NotLeader,
    OutcomeForgotten,
    OutcomeUnknown,
    Overloaded,
    Quarantined,
    RaftStateError,
)

_DETAILS_KEY = "grpc-status-details-bin"

# Refusals that apply records under the request id: the same for every attempt.
RECORDED: Final = frozenset(
    {
        "AGENT_NOT_FOUND",
        "AGENT_EXISTS",
        "AGENT_STATE",
        "OWNED",
        "NOT_OWNER",
        "FENCED",
        "CONFLICT",
        "STREAM_EXISTS",
        "STREAM_NOT_FOUND",
        "EVENT_ID_REUSED",
        "NOT_COVERED",
        "PROJECTION_NOT_FOUND",
        "CHECKPOINT_NOT_FOUND",
        "CHUNK_MISSING",
        "CHAIN_TOO_LONG",
        "VALIDATOR_NOT_FOUND",
        "GROUP_EXISTS",
        "GROUP_NOT_FOUND",
        "TOO_MANY",
        "LEASE_NOT_FOUND",
        "LEASE_EXISTS",
        "COMPACTED",
        "FUTURE_REVISION",
        "EFFECT_NOT_FOUND",
        "EFFECT_EXISTS",
        "COMPENSATION_REQUIRED",
        "SAGA_NOT_FOUND",
        "SAGA_EXISTS",
        "ROLLBACK_NOT_FOUND",
        "ROLLBACK_BARRIER",
        "PLAN_NOT_FOUND",
        "PLAN_STATE",
        "BREAKER_NOT_FOUND",
        "BREAKER_OPEN",
        "INCIDENT_NOT_FOUND",
    }
)

# Reasons that leave open what happened.
_INDEFINITE = frozenset({"OUTCOME_UNKNOWN", "OUTCOME_FORGOTTEN", "UNKNOWN"})

# Nothing was proposed; another member, or the same one later, may do it.
_TRY_AGAIN: Final[tuple[type[RaftStateError], ...]] = (
    NotLeader,
    NoQuorum,
    Overloaded,
    Quarantined,
)

# What a server may say of a failure that would be met again until the deadline, so that
# nobody need wait for that (the testing kit does).
FINAL_DETAIL: Final = ("retry", "never")

# Indefinite, and asking again will not tell.
_FINAL = (OutcomeForgotten, ClusterMismatch)

# What gRPC itself answers, without a handler of ours having run.
_DEFINITE_CODES = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    )
)


def from_rpc(error: Any) -> RaftStateError:
    """The exception for a failed call (a `grpc.aio.AioRpcError`)."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            status = status_pb2.Status()
            status.ParseFromString(value)
            return from_status(status)
    code = error.code()
    return _bare(code.value[0], f"{code.name}: {error.details()}")


def from_status(status: Any) -> RaftStateError:
    """The exception for a google.rpc.Status."""
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    found = False
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
            found = info.domain == DOMAIN
        elif detail.Is(bad.DESCRIPTOR):
            detail.Unpack(bad)
    if not found:
        return _bare(status.code, status.message)
    details = dict(info.metadata)
    for violation in bad.field_violations:
        details.setdefault("field", violation.field)
        details.setdefault("description", violation.description)
    kind = BY_REASON.get(info.reason, RaftStateError)
    if kind is RaftStateError:
        details.setdefault("reason", info.reason)
    # Both must say so: what the server claims, and what the reason can mean. A server
    # that claims nothing leaves it in doubt.
    definite = details.pop("definite", "") == "true" and (
        kind.reason not in _INDEFINITE or status.code in _DEFINITE_CODES
    )
    return kind(
        status.message,
        definite=definite,
        details=details,
        hint=details.get("leader_address") or None,
    )


def _bare(code: int, message: str) -> RaftStateError:
    """A status without our details: from gRPC itself, or from something else."""
    if code == grpc.StatusCode.INVALID_ARGUMENT.value[0]:
        return InvalidRequest(message, definite=True)
    if code in _DEFINITE_CODES:
        return RaftStateError(message, definite=True)
    return OutcomeUnknown(message, definite=False)


def unreachable(address: str) -> NoQuorum:
    """Nothing was sent: there is no connection to `address`."""
    return NoQuorum(
        f"cannot connect to {address}", definite=True, details={"unreachable": address}
    )


def unanswered(address: str, why: str) -> OutcomeUnknown:
    """Something was sent to `address`, and nobody knows what became of it."""
    return OutcomeUnknown(
        f"{address}: {why}", definite=False, details={"address": address, "why": why}
    )


class Ledger:
    """All attempts of one request. `changes` is false for reads, whose repetition
    does no harm and whose failure leaves nothing behind. `recorded` are the reasons that
    are the same for every attempt, `again` the refusals that another one may not meet;
    `once`: after an unknown attempt there is no other."""

    __slots__ = (
        "_again",
        "_once",
        "_recorded",
        "changes",
        "failures",
        "hints",
        "last",
        "unknown",
    )

    def __init__(
        self,
        *,
        changes: bool,
        recorded: frozenset[str] = RECORDED,
        again: tuple[type[RaftStateError], ...] = (),
        once: bool = False,
    ) -> None:
        self.changes: bool = changes
        self._recorded = recorded
        self._again: tuple[type[RaftStateError], ...] = (*_TRY_AGAIN, *again)
        self._once = once
        self.failures: int = 0
        self.unknown: int = 0
        self.hints: set[str] = set()
        self.last: RaftStateError | None = None

    def failed(self, error: RaftStateError) -> RaftStateError | None:
        """Note a failed attempt; the error to raise, or None to try again."""
        self.failures += 1
        self.last = error
        if FINAL_DETAIL in error.details.items():
            self.unknown += not error.definite
            return self.overdue()
        if isinstance(error, self._again) and error.definite:
            return None
        if not error.definite:
            self.unknown += 1
            if self._once:
                return self._in_doubt(f"an attempt was not answered: {error}")
            if not isinstance(error, _FINAL):
                return None
            error.definite = not self.changes
            return error
        if self.unknown and self.changes and error.reason not in self._recorded:
            return self._in_doubt(f"an attempt was not answered, and then: {error}")
        return error

    def may_pass(self, error: RaftStateError) -> bool:
        """Whether what these attempts have come to may come out otherwise later."""
        never = self.last is not None and FINAL_DETAIL in self.last.details.items()
        return isinstance(error, self._again) and not never

    def points_on(self, error: RaftStateError) -> bool:
        """Whether a failure names a leader that none before it has named: that one is
        worth asking at once. (Two members may for a while each believe in the other.)"""
        if not error.hint or error.hint in self.hints:
            return False
        self.hints.add(error.hint)
        return True

    def overdue(self) -> RaftStateError:
        """The deadline has passed between attempts: the error to raise."""
        if self.unknown and self.changes:
            return self._in_doubt(f"no answer before the deadline; last: {self.last}")
        if self.last is not None and self.last.definite:
            return self.last
        error = NoQuorum(
            f"no answer before the deadline; last: {self.last or 'no member was reached'}",
            definite=True,
        )
        error.__cause__ = self.last
        return error

    def closed(self) -> RaftStateError:
        """The client is being closed: the error to raise."""
        if self.unknown and self.changes:
            return self._in_doubt("the client was closed before an answer came")
        return Closed("the client was closed", definite=True)

    def _in_doubt(self, message: str) -> OutcomeUnknown:
        details = {"last_reason": self.last.reason} if self.last else {}
        error = OutcomeUnknown(message, definite=False, details=details)
        error.__cause__ = self.last
        return error
