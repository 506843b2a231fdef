"""Every error that the client raises, and the reasons that servers give.

`definite` answers the only question a caller has after a failure: did it happen?
True means that the command was not applied and never will be, so it may be sent
again as new. False means that it may have been applied, or may yet be: the same
request id may be sent again, or read before you retry. When in doubt an error is
indefinite; that is always safe. Client retries, exit statuses and the checkers
all read this one flag.

An error of a request that took several attempts is definite only if every
attempt's was: after one unknown attempt only the recorded outcome settles it.
"""

from __future__ import annotations

from typing import ClassVar

DOMAIN = "raftstate"


class RaftStateError(Exception):
    """Base of every error.

    `reason` is the server's word for it; `details` is what came with it (the
    current owner, the limit, the field). `retryable` says whether the same call
    may succeed later without a change by the caller; `hint` is the address to
    try, if the server named one.
    """

    reason: ClassVar[str] = "UNKNOWN"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        definite: bool,
        details: dict[str, str] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.definite = definite
        self.details = details or {}
        self.hint = hint


class NotLeader(RaftStateError):
    """The member asked does not lead, and did not propose the command."""

    reason = "NOT_LEADER"
    retryable = True


class NoQuorum(RaftStateError):
    """No leader is known, or no quorum answers; nothing was proposed."""

    reason = "NO_QUORUM"
    retryable = True


class Overloaded(RaftStateError):
    """A queue is full; nothing was proposed."""

    reason = "OVERLOADED"
    retryable = True


class Quarantined(RaftStateError):
    """The member asked has damaged data, and serves nobody until it is mended."""

    reason = "QUARANTINED"
    retryable = True


class DiskFull(RaftStateError):
    """A member's disk is nearly full: what makes the state grow is refused."""

    reason = "DISK_FULL"
    retryable = True


class OutcomeUnknown(RaftStateError):
    """It may have happened, or may yet: deadline or leadership moved in between."""

    reason = "OUTCOME_UNKNOWN"
    retryable = True


class Fenced(RaftStateError):
    """A newer grant exists: this writer is of the past."""

    reason = "FENCED"


class NotOwner(RaftStateError):
    """The agent has no owner, or the fence is none that was granted."""

    reason = "NOT_OWNER"


class Owned(RaftStateError):
    """Somebody else owns the agent."""

    reason = "OWNED"
    retryable = True


class Conflict(RaftStateError):
    """Somebody else was first: the agent's head is not the one that was expected, or
    another change of membership is under way."""

    reason = "CONFLICT"


class NotCaughtUp(RaftStateError):
    """The learner lacks too much of the log to become a voter."""

    reason = "NOT_CAUGHT_UP"
    retryable = True


class LastVoter(RaftStateError):
    """The last voter of a cluster cannot be removed."""

    reason = "LAST_VOTER"


class Unhealthy(RaftStateError):
    """The change would leave no majority of voters that answer: the cluster would stop."""

    reason = "UNHEALTHY"
    retryable = True


class MemberNotFound(RaftStateError):
    """There is no member, or no voter, of that id."""

    reason = "NOT_FOUND"


class TooManyMembers(RaftStateError):
    """The cluster has as many members as it may have."""

    reason = "TOO_MANY"


class AgentState(RaftStateError):
    """The agent is halted, recovering, validating or retired."""

    reason = "AGENT_STATE"


class AgentNotFound(RaftStateError):
    """There is no agent, checkpoint or stream of that id."""

    reason = "AGENT_NOT_FOUND"


class AgentExists(RaftStateError):
    """There already is an agent of that id."""

    reason = "AGENT_EXISTS"


class SessionExpired(RaftStateError):
    """The session has ended, and with it the record of its requests."""

    reason = "SESSION_EXPIRED"


class RequestIdReused(RaftStateError):
    """The same request id came with another payload."""

    reason = "REQUEST_ID_REUSED"


class OutcomeForgotten(RaftStateError):
    """The request was answered before, and the client had said that it had the answer."""

    reason = "OUTCOME_FORGOTTEN"


class InvalidRequest(RaftStateError):
    """The request breaks a limit; `details` name the field and the limit."""

    reason = "INVALID_REQUEST"


class RequestTooLarge(InvalidRequest):
    """The request is larger than the limit that `details` name."""

    reason = "REQUEST_TOO_LARGE"


class OwnershipLost(RaftStateError):
    """This process no longer owns the agent, or can no longer be sure that it does."""

    reason = "OWNERSHIP_LOST"


class Corrupt(RaftStateError):
    """A member found damage in what it stores."""

    reason = "CORRUPT"


class Closed(RaftStateError):
    """The client was closed."""

    reason = "CLOSED"


class ClusterMismatch(RaftStateError):
    """An answer came from another cluster, or from an epoch before one already seen."""

    reason = "CLUSTER_MISMATCH"


def _tree(root: type[RaftStateError]) -> dict[str, type[RaftStateError]]:
    found = {root.reason: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


BY_REASON: dict[str, type[RaftStateError]] = _tree(RaftStateError)
