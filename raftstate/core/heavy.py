"""Which commands may take long to apply however short they are: they remove or copy much.

Each is bounded by itself, to some tenths of a second. Many together are not: so a heavy
command is the last one of its log entry, and a member that has applied one looks for
heartbeats and messages before it applies more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from raftstate.v1.kv_service_pb2 import TxnBody, TxnOp
from raftstate.v1.store_pb2 import Command

HEAVY: Final = frozenset(
    {
        *("close_session", "expire_session", "expire_lease", "revoke"),
        *("trim_history", "compact", "collect_chunks", "sweep"),
        *("delete_range", "truncate_before", "prune_checkpoints"),
        *("fork_agent", "copy_lineage"),
        *("put_group_checkpoint", "delete_group_checkpoint"),
        *("abort_saga", "start_rollback", "finish_rollback", "abort_rollback"),
        # It may trip a breaker, and so start a rollback.
        "report_outcomes",
    }
)
# A transaction of no more operations than this is as light as they are.
LIGHT_OPS: Final = 16


def is_heavy(command: Command) -> bool:
    """Whether a command stands last in its entry."""
    name = command.WhichOneof("body")
    if name != "txn":
        return name in HEAVY
    body = command.txn.txn
    ops = [*_ops(body.success), *_ops(body.failure)]
    return len(ops) > LIGHT_OPS or any(op.HasField("delete_range") for op in ops)


def _ops(ops: Iterable[TxnOp]) -> Iterable[TxnOp]:
    for op in ops:
        yield op
        if op.HasField("txn"):
            nested: TxnBody = op.txn
            yield from nested.success
            yield from nested.failure
