"""Which commands stand last in their log entry."""

from __future__ import annotations

import pytest

from raftstate.core.heavy import HEAVY, LIGHT_OPS, is_heavy
from raftstate.core.memory import MemoryStore
from raftstate.v1.breaker_service_pb2 import BreakerConfig, TripAction, TripPlan
from raftstate.v1.kv_service_pb2 import (
    KeyRange,
    TxnBody,
    TxnDeleteRange,
    TxnOp,
    TxnPut,
    TxnRequest,
)
from raftstate.v1.store_pb2 import Command
from tests.core.bench import Bench
from tests.core.breaker_story import by_hand, put_breaker, report

# One row or a few each, none larger than what the command brings or one value.
LIGHT = frozenset(
    {
        *("open_session", "create_agent", "update_agent", "retire_agent", "halt_agent"),
        *("resume_agent", "acquire_ownership", "release_ownership", "expire_ownership"),
        *("commit_step", "append_events", "save_projection", "delete_projection"),
        *("put_checkpoint", "put_chunk", "tag_checkpoint", "mark_valid", "put_validator"),
        *("put", "delete", "grant"),
        *("prepare_effect", "dispatch_effect", "complete_effect", "reconcile_effect"),
        *("begin_saga", "end_saga", "record_value"),
        *("claim_compensations", "complete_compensation", "decide_compensation"),
        *("put_breaker", "delete_breaker", "acquire_permit"),
        *("force_open", "force_close", "reset"),
        *("report_symptom", "annotate_incident", "resolve_incident", "report_validation"),
    }
)
PUT = TxnOp(put=TxnPut(key=b"k"))
CLEAR = TxnOp(delete_range=TxnDeleteRange(range=KeyRange(prefix=b"a")))


def txn(*success: TxnOp, failure: tuple[TxnOp, ...] = ()) -> Command:
    """A transaction without compares."""
    return Command(txn=TxnRequest(txn=TxnBody(success=success, failure=failure)))


def nested(*ops: TxnOp) -> TxnOp:
    """A transaction in a transaction."""
    return TxnOp(txn=TxnBody(failure=ops))


def test_every_command_is_classified() -> None:
    """
    A command that is added must be decided about, or this fails.
    """
    names = {field.name for field in Command.DESCRIPTOR.fields}

    assert names == HEAVY | LIGHT | {"txn", "report_outcomes"}
    assert not HEAVY & LIGHT


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (txn(PUT), False),
        (txn(*[PUT] * LIGHT_OPS), False),
        (txn(*[PUT] * LIGHT_OPS, PUT), True),
        (txn(*[PUT] * LIGHT_OPS, failure=(PUT,)), True),
        (txn(CLEAR), True),
        (txn(PUT, failure=(CLEAR,)), True),
        (txn(nested(PUT)), False),
        (txn(nested(CLEAR)), True),
        (txn(nested(*[PUT] * LIGHT_OPS)), True),
        (Command(), False),
    ],
    ids=["put", "few", "many", "either", "range", "failure", "nested", "deep", "sum", "empty"],
)
def test_transactions_weigh_what_they_hold(command: Command, expected: bool) -> None:
    """
    Both branches and what is nested count: which one runs is known only when it is applied.
    """
    assert is_heavy(command, MemoryStore()) is expected


@pytest.mark.parametrize(
    ("action", "reported", "expected"),
    [
        (TripAction.TRIP_ACTION_ROLLBACK, (1, 0), False),
        (TripAction.TRIP_ACTION_ROLLBACK, (2, 0), True),
        (TripAction.TRIP_ACTION_ROLLBACK, (0, 3), False),
        (TripAction.TRIP_ACTION_ROLLBACK, (0, 4), True),
        (TripAction.TRIP_ACTION_FAIL_OVER, (9, 9), False),
        (TripAction.TRIP_ACTION_UNSPECIFIED, (9, 9), False),
    ],
    ids=["few", "enough", "few slow", "enough slow", "other plan", "no plan"],
)
def test_a_report_is_heavy_if_it_may_start_a_rollback(
    action: TripAction, reported: tuple[int, int], expected: bool
) -> None:
    """
    Of ten calls half have to fail, of which three have already, or a tenth less has to be
    slow, with none so far. Once it is open, and where there is none, no report starts one.
    """
    config = BreakerConfig(
        count_window=100,
        minimum_calls=10,
        failure_rate=0.5,
        slow_rate=0.4,
        slow_call_ms=10,
        on_trip=TripPlan(action=action, agent_ids=["a"] if action else []),
    )
    bench = Bench()
    bench.open("s")
    bench.one(put_breaker(bench, "s", "b", config))
    bench.one(report(bench, "s", "b", 1, 3, 3))
    failed, slow = reported
    command = report(bench, "s", "b", 1, 9, failed, slow)
    before = is_heavy(command, bench.store)
    bench.one(by_hand(bench, "s", "force_open", "b"))

    assert before is expected
    assert not is_heavy(command, bench.store)
    assert not is_heavy(report(bench, "s", "other", 1, 9, 9, 9), bench.store)
