"""Apply is total: whatever a log may hold, the machine says something and goes on."""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message
from hypothesis import example, given
from hypothesis import strategies as st

from raftstate.core import queries
from raftstate.core.hashing import full_hash
from raftstate.v1.agent_service_pb2 import AcquireOwnershipRequest, FenceQuery
from raftstate.v1.breaker_service_pb2 import (
    AcquirePermitRequest,
    BreakerConfig,
    PutBreakerRequest,
    ReportOutcomesRequest,
    TripPlan,
)
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken, Label, RequestId
from raftstate.v1.effect_service_pb2 import (
    AbortSagaRequest,
    BeginSagaRequest,
    Compensation,
    CompleteEffectRequest,
    DispatchEffectRequest,
    EffectClosing,
    EndSagaRequest,
    NewEffect,
    PrepareEffectRequest,
    ReconcileEffectRequest,
)
from raftstate.v1.event_service_pb2 import NewEvent
from raftstate.v1.kv_service_pb2 import (
    CompactRequest,
    Compare,
    DeleteRangeRequest,
    KeyRange,
    PutRequest,
    TxnBody,
    TxnDeleteRange,
    TxnOp,
    TxnPut,
    TxnRange,
    TxnRequest,
    TxnSaveProjection,
)
from raftstate.v1.lease_service_pb2 import GrantRequest, RevokeRequest
from raftstate.v1.recovery_service_pb2 import (
    Evidence,
    ReportSymptomRequest,
    ReportValidationRequest,
)
from raftstate.v1.rollback_service_pb2 import (
    AbortRollbackRequest,
    AgentTarget,
    ClaimCompensationsRequest,
    CompleteCompensationRequest,
    DecideCompensationRequest,
    FinishRollbackRequest,
    StartRollbackRequest,
    Target,
)
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest
from raftstate.v1.store_pb2 import (
    Command,
    ExpireLease,
    ExpireOwnership,
    ExpireSession,
    Sweep,
    TrimHistory,
)
from tests.core.bench import Bench, reason, replayed

# What a hostile or confused client may send: the ends of every range, and beyond.
NUMBERS = st.sampled_from([0, 1, 2, 3, 1_023, 1_024, 1_025, 1 << 63, (1 << 64) - 1])
SIGNED = st.sampled_from([0, 1, -1, 200, 10_000, 3_600_001, -(1 << 63), (1 << 63) - 1])
ODD = ["", "a/../b", "a\n", "\0", "-a", "é", "a" * 201, "a" * 600, "s" * 65]
AGENT_IDS = st.sampled_from(["a", "a", "b", "a" * 200, *ODD])
SESSION_IDS = st.sampled_from(["s", "s", "s", "t", "s" * 64, *ODD])
WORDS = st.sampled_from(["t", "t", "", "é" * 128, "t" * 129, "p" * 255, "p" * 256])

FENCES = st.none() | st.builds(FencingToken, epoch=NUMBERS, revision=NUMBERS)
LABELS = st.lists(st.builds(Label, name=WORDS, value=WORDS), max_size=34)
REQUEST_IDS = st.builds(
    RequestId,
    session_id=SESSION_IDS,
    sequence=NUMBERS,
    lowest_unfinished=st.just(0) | NUMBERS,
    opened_revision=st.just(1) | NUMBERS,
)
EVENTS = st.builds(NewEvent, type=WORDS, data=st.binary(max_size=4), causation_id=WORDS)
BODIES = st.one_of(
    st.builds(OpenSessionRequest, session_id=SESSION_IDS, ttl_ms=SIGNED, client=WORDS),
    st.builds(
        AcquireOwnershipRequest,
        request_id=REQUEST_IDS,
        agent_id=AGENT_IDS,
        mode=st.sampled_from([0, 1, 2, 3, 4, -1]),
        ttl_ms=SIGNED,
        holder=WORDS,
        create=st.booleans(),
    ),
    st.builds(
        CommitStepRequest,
        request_id=st.none() | REQUEST_IDS,
        agent_id=AGENT_IDS,
        fence=FENCES,
        expected_step=st.none() | NUMBERS,
        events=st.lists(EVENTS, max_size=3),
        checkpoint=st.none() | st.builds(NewCheckpoint, data=st.binary(), labels=LABELS),
    ),
    st.builds(ExpireSession, session_id=SESSION_IDS, touched_revision=NUMBERS),
    st.builds(ExpireOwnership, agent_id=AGENT_IDS, fence=FENCES, touched_revision=NUMBERS),
)
USER_KEYS = st.sampled_from(
    [b"k", b"k", b"", b"\x00", b"\xff" * 480, b"\x00" * 241, b"k" * 481]
)
RANGES = st.builds(KeyRange, start=USER_KEYS, end=USER_KEYS) | st.builds(
    KeyRange, prefix=USER_KEYS
)
COMPARES = st.builds(
    Compare,
    key=USER_KEYS,
    comparison=st.sampled_from([0, 1, 2, 3, 4, 5, -1]),
    lease_id=NUMBERS,
) | st.builds(
    Compare,
    comparison=st.sampled_from([0, 2, 3]),
    fence=st.builds(FenceQuery, agent_id=AGENT_IDS, fence=FENCES),
)
OPS = st.one_of(
    st.just(TxnOp()),
    st.builds(TxnOp, put=st.builds(TxnPut, key=USER_KEYS, lease_id=NUMBERS)),
    st.builds(TxnOp, delete_range=st.builds(TxnDeleteRange, range=RANGES)),
    st.builds(TxnOp, range=st.builds(TxnRange, range=RANGES, limit=st.integers(0, 1_001))),
    st.builds(
        TxnOp,
        save_projection=st.builds(
            TxnSaveProjection, name=AGENT_IDS, position=NUMBERS, expected_position=NUMBERS
        ),
    ),
)


def txns(ops: st.SearchStrategy[TxnOp]) -> st.SearchStrategy[TxnBody]:
    """Transactions of such operations."""
    some = st.lists(ops, max_size=3)
    return st.builds(
        TxnBody, compares=st.lists(COMPARES, max_size=2), success=some, failure=some
    )


NESTED = OPS | st.builds(TxnOp, txn=txns(OPS))
BODIES |= st.one_of(
    st.builds(PutRequest, request_id=REQUEST_IDS, key=USER_KEYS, lease_id=NUMBERS),
    st.builds(DeleteRangeRequest, request_id=REQUEST_IDS, range=RANGES),
    st.builds(
        TxnRequest,
        request_id=REQUEST_IDS,
        txn=st.none() | txns(NESTED | st.builds(TxnOp, txn=txns(NESTED))),
    ),
    st.builds(GrantRequest, request_id=REQUEST_IDS, ttl_ms=SIGNED, lease_id=NUMBERS),
    st.builds(RevokeRequest, request_id=REQUEST_IDS, lease_id=NUMBERS),
    st.builds(
        ExpireLease, lease_id=NUMBERS, granted_revision=NUMBERS, touched_revision=NUMBERS
    ),
    st.builds(CompactRequest, request_id=REQUEST_IDS, revision=NUMBERS),
    st.builds(TrimHistory, revision=NUMBERS),
    st.builds(Sweep, rows=st.sampled_from([0, 1, (1 << 32) - 1])),
)
RATES = st.sampled_from([0.5, 1.0, 0.0, -1.0, float("nan"), float("inf"), 5e-324])
TRIPS = st.builds(
    TripPlan,
    action=st.sampled_from([0, 1, 2, 3, 4, 5, -1]),
    agent_ids=st.lists(AGENT_IDS, max_size=2),
    group_id=st.sampled_from(["", "g"]),
)
BODIES |= st.one_of(
    st.builds(
        PutBreakerRequest,
        request_id=REQUEST_IDS,
        name=AGENT_IDS,
        config=st.none()
        | st.builds(
            BreakerConfig,
            count_window=st.sampled_from([0, 1, 100_000, 100_001]),
            failure_rate=RATES,
            open_factor=RATES,
            open_ms=NUMBERS,
            on_trip=st.none() | TRIPS,
        ),
    ),
    st.builds(AcquirePermitRequest, request_id=REQUEST_IDS, name=AGENT_IDS),
    st.builds(
        ReportOutcomesRequest,
        request_id=REQUEST_IDS,
        name=AGENT_IDS,
        generation=st.just(1) | NUMBERS,
        calls=st.just(1) | NUMBERS,
        failures=st.just(1) | NUMBERS,
        permit_id=st.just(0) | NUMBERS,
        error=WORDS,
    ),
    st.builds(
        ReportSymptomRequest,
        request_id=REQUEST_IDS,
        symptom=st.sampled_from([6, 6, 0, 1, 9, -1]),
        classification=st.sampled_from([0, 14, 15, -1]),
        agent_ids=st.lists(AGENT_IDS, max_size=2),
        summary=WORDS,
        evidence=st.lists(st.builds(Evidence, kind=st.just("text"), detail=WORDS), max_size=3),
    ),
)
TARGETS = st.one_of(
    st.builds(Target, checkpoint_id=NUMBERS),
    st.builds(Target, known_good=st.booleans()),
    st.builds(Target, before_event_seq=NUMBERS),
    st.builds(Target, revision=NUMBERS),
    st.builds(Target, log_time_ms=NUMBERS),
    st.just(Target()),
)
# The first rollback in any of these logs is soon started; others have no such id.
ROLLBACK_IDS = st.sampled_from([f"{at:016x}" for at in range(3, 7)] + ["", "0", "f" * 16])
BODIES |= st.one_of(
    st.builds(
        StartRollbackRequest,
        request_id=REQUEST_IDS,
        agents=st.lists(st.builds(AgentTarget, agent_id=AGENT_IDS, target=TARGETS), max_size=2),
        group_id=st.sampled_from(["", "", "g"]),
        on_barrier=st.sampled_from([0, 1, 2, 3, 4, -1]),
        validators=st.lists(AGENT_IDS, max_size=1),
        expected_digest=st.sampled_from([b"", b"", bytes(32), b"x"]),
    ),
    st.builds(FinishRollbackRequest, request_id=REQUEST_IDS, rollback_id=ROLLBACK_IDS),
    st.builds(AbortRollbackRequest, request_id=REQUEST_IDS, rollback_id=ROLLBACK_IDS),
    st.builds(
        ReportValidationRequest,
        request_id=REQUEST_IDS,
        validator=AGENT_IDS,
        agent_id=AGENT_IDS,
        checkpoint_id=NUMBERS,
        content_hash=st.sampled_from([bytes(32), b""]),
        rollback_id=ROLLBACK_IDS,
    ),
)
# Mostly those of the agent that is there, so that much is entered, given up and claimed.
OWN = {
    "request_id": REQUEST_IDS,
    "agent_id": st.just("a") | AGENT_IDS,
    "fence": st.just(FencingToken(epoch=1, revision=2)) | FENCES,
}
SAGA_IDS = st.sampled_from(["g", "g", "h", "", "g" * 201])
PLAN_IDS = st.sampled_from(["saga/g", "saga/g", "saga/h", "saga/", "rollback/1", "", "\0"])
EFFECT_IDS = st.sampled_from(["1", "2", "2", "3", "", "~", "e" * 129])
SMALL = st.sampled_from([-1, 0, 1, 1, 2, 3, 4, 5])
UNDO = st.builds(
    Compensation,
    action=WORDS,
    leaves_tombstone=st.booleans(),
    attempts=st.sampled_from([0, 1, 1_001]),
)
NEW_EFFECTS = st.builds(
    NewEffect,
    effect_id=EFFECT_IDS,
    action=WORDS,
    effect_class=SMALL,
    compensation=st.none() | UNDO,
    reconcile_action=st.sampled_from(["", "q"]),
    on_unknown=st.just(0) | SMALL,
    saga_id=SAGA_IDS | st.just(""),
    dispatch=st.booleans(),
)
CLOSINGS = st.builds(EffectClosing, effect_id=EFFECT_IDS, outcome=SMALL, error=WORDS)
POSITIONS = st.sampled_from([0, 1, 1, 2, (1 << 32) - 1])
BODIES |= st.one_of(
    st.builds(PrepareEffectRequest, **OWN, effect=st.none() | NEW_EFFECTS),
    st.builds(DispatchEffectRequest, **OWN, effect_id=EFFECT_IDS),
    st.builds(CompleteEffectRequest, **OWN, closing=st.none() | CLOSINGS),
    st.builds(
        ReconcileEffectRequest,
        **OWN,
        effect_id=EFFECT_IDS,
        plan_id=st.just("") | PLAN_IDS,
        found=SMALL,
    ),
    st.builds(
        CommitStepRequest,
        **OWN,
        closings=st.lists(CLOSINGS, max_size=2),
        effects=st.lists(NEW_EFFECTS, max_size=2),
    ),
    st.builds(BeginSagaRequest, **OWN, saga_id=SAGA_IDS, mode=SMALL),
    st.builds(EndSagaRequest, **OWN, saga_id=SAGA_IDS),
    st.builds(AbortSagaRequest, **OWN, saga_id=SAGA_IDS, reason=WORDS),
    st.builds(
        ClaimCompensationsRequest,
        request_id=REQUEST_IDS,
        plan_id=PLAN_IDS,
        holder=WORDS,
        force=st.booleans(),
    ),
    st.builds(
        CompleteCompensationRequest,
        request_id=REQUEST_IDS,
        plan_id=PLAN_IDS,
        fence=FENCES,
        position=POSITIONS,
        outcome=SMALL,
        error=WORDS,
    ),
    st.builds(
        DecideCompensationRequest,
        request_id=REQUEST_IDS,
        plan_id=PLAN_IDS,
        position=POSITIONS,
        decision=SMALL,
        decided_by=WORDS,
        why=WORDS,
    ),
)
KINDS = sorted(each.name for each in Command.DESCRIPTOR.fields)


def wrapped(body: Message) -> Command:
    """A body as a command."""
    for kind in KINDS:
        command = Command()
        target = getattr(command, kind)
        if isinstance(body, type(target)):
            target.CopyFrom(body)
            target.SetInParent()
            return command
    raise AssertionError(f"no command holds a {type(body).__name__}")


def recast(command: Command, name: str) -> Command:
    """The same bytes, read as another kind of command as far as that goes."""
    body = getattr(command, str(command.WhichOneof("body")))
    other = Command()
    target = getattr(other, name)
    target.SetInParent()
    try:
        target.MergeFromString(body.SerializeToString())
    except DecodeError:
        return command
    return other


NASTY = BODIES.map(wrapped)
# Every other kind: what one of those bodies means when its bytes are read as that.
SHUFFLED = st.tuples(NASTY, st.sampled_from(KINDS)).map(lambda pair: recast(*pair))
GOOD = [
    Command(open_session=OpenSessionRequest(session_id="s")),
    Command(
        acquire_ownership=AcquireOwnershipRequest(
            request_id=RequestId(session_id="s", sequence=1, opened_revision=1),
            agent_id="a",
            create=True,
        )
    ),
]


def check(commands: list[Command]) -> None:
    bench = Bench()
    bench.apply(*GOOD)
    outcomes = bench.apply(*commands)
    alone = [bench.one(command) for command in commands]

    assert len(outcomes) == len(commands)
    assert all(each.WhichOneof("result") for each in outcomes + alone)
    assert bench.machine.revision == len(GOOD) + 2 * len(commands)
    assert bench.machine.state_hash == full_hash(bench.store)
    assert all(0 < len(key) <= 492 for key, _ in bench.store.items())
    assert len(queries.sessions_all(bench.store)) <= 4
    # A replica reads the log from its bytes, and ends with the same.
    copies = [type(entry).FromString(entry.SerializeToString()) for entry in bench.log]
    assert replayed(copies) == bench.store


@given(st.lists(NASTY | SHUFFLED, max_size=12))
@example([Command()])
@example([])
def test_nothing_makes_the_machine_raise(commands: list[Command]) -> None:
    """
    Every command has an outcome and a revision, and the state stays in order.
    """
    check(commands)


@given(st.binary(max_size=60))
def test_nor_do_bytes_that_happen_to_be_a_command(data: bytes) -> None:
    """
    What parses is applied, unknown fields and all.
    """
    try:
        command = Command.FromString(data)
    except DecodeError:
        return
    check([command])


def test_an_empty_command_is_refused() -> None:
    """
    A command without a body takes a revision and is told what it lacks.
    """
    bench = Bench()

    outcome = bench.one(Command())

    assert reason(outcome) == "INVALID_REQUEST"
    assert outcome.refusal.field == "body"
    assert bench.machine.revision == 1
