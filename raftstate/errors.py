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

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from raftstate.client.history import Divergence

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
        self.details: dict[str, str] = details or {}
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


class TooMany(RaftStateError):
    """There would be more of something than there may be: `details` name the limit."""

    reason = "TOO_MANY"


class AgentState(RaftStateError):
    """The agent is halted, recovering, validating or retired."""

    reason = "AGENT_STATE"


class AgentNotFound(RaftStateError):
    """There is no agent of that id."""

    reason = "AGENT_NOT_FOUND"


class AgentExists(RaftStateError):
    """There already is an agent of that id."""

    reason = "AGENT_EXISTS"


class StreamNotFound(RaftStateError):
    """There is no stream of that id: nobody has appended to it."""

    reason = "STREAM_NOT_FOUND"


class StreamExists(RaftStateError):
    """The id that a new agent was to have is a stream's."""

    reason = "STREAM_EXISTS"


class EventIdReused(RaftStateError):
    """An event of that id is in the stream, and it is another one."""

    reason = "EVENT_ID_REUSED"


class NotCovered(RaftStateError):
    """Neither a checkpoint nor a projection has dealt with all that was to be removed."""

    reason = "NOT_COVERED"


class ProjectionNotFound(RaftStateError):
    """There is no projection of that name."""

    reason = "PROJECTION_NOT_FOUND"


class CheckpointNotFound(RaftStateError):
    """The agent has no such checkpoint."""

    reason = "CHECKPOINT_NOT_FOUND"


class ChunkMissing(RaftStateError):
    """A chunk that the checkpoint names was not uploaded, or is gone by now; `details`
    name it (`chunk_hash`)."""

    reason = "CHUNK_MISSING"


class ChainTooLong(RaftStateError):
    """The base of a delta stands at the end of a chain that is as long as one may be."""

    reason = "CHAIN_TOO_LONG"


class ValidatorNotFound(RaftStateError):
    """No validator of that name is registered for the agent."""

    reason = "VALIDATOR_NOT_FOUND"


class GroupExists(RaftStateError):
    """There already is a group checkpoint of that id."""

    reason = "GROUP_EXISTS"


class GroupNotFound(RaftStateError):
    """There is no group checkpoint of that id."""

    reason = "GROUP_NOT_FOUND"


class LeaseNotFound(RaftStateError):
    """There is no live lease of that id."""

    reason = "LEASE_NOT_FOUND"


class LeaseExists(RaftStateError):
    """There already is a lease of that id."""

    reason = "LEASE_EXISTS"


class EffectNotFound(RaftStateError):
    """The agent has no effect of that id."""

    reason = "EFFECT_NOT_FOUND"


class EffectExists(RaftStateError):
    """The agent has another effect of that id."""

    reason = "EFFECT_EXISTS"


class CompensationRequired(RaftStateError):
    """Nothing says how the effect is undone, and it is not declared irreversible."""

    reason = "COMPENSATION_REQUIRED"


class SagaNotFound(RaftStateError):
    """There is no saga of that id."""

    reason = "SAGA_NOT_FOUND"


class SagaExists(RaftStateError):
    """There already is a saga of that id."""

    reason = "SAGA_EXISTS"


class RollbackNotFound(RaftStateError):
    """There is no rollback of that id."""

    reason = "ROLLBACK_NOT_FOUND"


class RollbackBarrier(RaftStateError):
    """An effect since the target cannot be undone; `details` say which (`subject`)."""

    reason = "ROLLBACK_BARRIER"


class PlanNotFound(RaftStateError):
    """There is no saga or rollback of that plan id."""

    reason = "PLAN_NOT_FOUND"


class PlanState(RaftStateError):
    """The saga, rollback or incident is not in a state for that; `details` say in which
    it is (`current_state`)."""

    reason = "PLAN_STATE"


class BreakerNotFound(RaftStateError):
    """There is no breaker of that name."""

    reason = "BREAKER_NOT_FOUND"


class BreakerOpen(RaftStateError):
    """The breaker lets no call through; `details` say until when (`open_until_ms` and
    `log_time_ms`), and `retry_after` in how many seconds that is."""

    reason = "BREAKER_OPEN"

    @property
    def retry_after(self) -> float | None:
        """Seconds until the breaker may let a call through; None if nobody knows."""
        until, now = self.details.get("open_until_ms"), self.details.get("log_time_ms")
        if until is None or now is None or until == "0":
            return None
        return max(int(until) - int(now), 0) / 1000


class IncidentNotFound(RaftStateError):
    """There is no incident of that id."""

    reason = "INCIDENT_NOT_FOUND"


class Compacted(RaftStateError):
    """What was asked for is forgotten; `details` name the oldest revision, or event, that
    can be read."""

    reason = "COMPACTED"


class FutureRevision(RaftStateError):
    """The store has not come to that revision yet; `details` name the newest."""

    reason = "FUTURE_REVISION"


class NotComparable(RaftStateError):
    """The checkpoints' content cannot be compared: its type, or its size, forbids it."""

    reason = "NOT_COMPARABLE"


class WatchTooSlow(RaftStateError):
    """The watch was ended because its changes were not taken in time. `details` hold a
    `resume_token`: a watch that begins there misses nothing."""

    reason = "WATCH_TOO_SLOW"
    retryable = True


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


class EffectUnknown(RaftStateError):
    """Nobody knows whether an effect happened, and it must not be done again blindly:
    indefinite. `details` name it, and the incident if there is one (`incident_id`)."""

    reason = "EFFECT_UNKNOWN"


class EffectTooLate(RaftStateError):
    """It was too late to begin an effect, which therefore was not done: definite."""

    reason = "EFFECT_TOO_LATE"
    retryable = True


class SagaAborted(RaftStateError):
    """The saga was given up before, and what it did is, or was, undone: definite."""

    reason = "SAGA_ABORTED"


class ReplayDiverged(RaftStateError):
    """A replay is not what was written: `divergence` says where, and what differs. `details`
    name the incident that it was reported as."""

    reason = "REPLAY_DIVERGED"

    def __init__(
        self,
        message: str,
        *,
        definite: bool,
        details: dict[str, str] | None = None,
        hint: str | None = None,
        divergence: Divergence | None = None,
    ) -> None:
        super().__init__(message, definite=definite, details=details, hint=hint)
        self._divergence = divergence

    @property
    def divergence(self) -> Divergence:
        """Where they differ. Only the SDK finds that out, and it always tells."""
        assert self._divergence is not None, "no server says this"
        return self._divergence


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
