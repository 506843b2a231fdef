"""Which commands may take long to apply however short they are: they remove or copy much.

Each is bounded by itself, to some tenths of a second. Many together are not: so a heavy
command is the last one of its log entry, and a member that has applied one looks for
heartbeats and messages before it applies more.

Of some commands their words do not tell, and what the state holds has to. As the state
may be another one by the time a command is applied, that is a good guess; and as it is
about pace alone, no two members need guess alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from raftstate.core import breakers
from raftstate.core.ports import Reader
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
    }
)
# A transaction of no more operations than this is as light as they are.
LIGHT_OPS: Final = 16


def is_heavy(command: Command, reader: Reader) -> bool:
    """Whether a command stands last in its entry, as far as the state tells."""
    name = command.WhichOneof("body")
    if name == "report_outcomes":
        return breakers.may_roll_back(reader, command.report_outcomes)
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
