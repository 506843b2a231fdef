"""Which commands stand last in their log entry."""

from __future__ import annotations

import pytest

from raftstate.core.heavy import HEAVY, LIGHT_OPS, is_heavy
from raftstate.v1.kv_service_pb2 import (
    KeyRange,
    TxnBody,
    TxnDeleteRange,
    TxnOp,
    TxnPut,
    TxnRequest,
)
from raftstate.v1.store_pb2 import Command

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

    assert names == HEAVY | LIGHT | {"txn"}
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
    assert is_heavy(command) is expected
