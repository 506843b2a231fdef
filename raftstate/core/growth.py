"""Which commands make the store larger for good: refused while a disk is nearly full.

Every command takes a little room, in the log at least. What counts is what it is for.
Those that end something are let through, from the reserve that is kept free for them:
they are how room is made, and how an agent is stopped.
"""

from __future__ import annotations

from raftstate.v1.store_pb2 import Command

GROWS = {
    "open_session": True,
    "close_session": False,
    "create_agent": True,
    "update_agent": True,
    "retire_agent": False,
    "acquire_ownership": True,
    "release_ownership": False,
    "halt_agent": False,
    "resume_agent": True,
    "commit_step": True,
    "expire_session": False,
    "expire_ownership": False,
    "expire_lease": False,
    "trim_history": False,
    "collect_chunks": False,
    "sweep": False,
    "fork_agent": True,
    "append_events": True,
    "truncate_before": False,
    "save_projection": True,
    "delete_projection": False,
    "put_checkpoint": True,
    "put_chunk": True,
    "tag_checkpoint": False,
    "mark_valid": False,
    "prune_checkpoints": False,
    "copy_lineage": True,
    "put_group_checkpoint": True,
    "delete_group_checkpoint": False,
    "put": True,
    "delete": False,
    "delete_range": False,
    "txn": True,
    "compact": False,
    "grant": True,
    "revoke": False,
    "put_validator": True,
    "prepare_effect": True,
    "dispatch_effect": False,
    "complete_effect": False,
    "reconcile_effect": False,
    "begin_saga": True,
    "end_saga": False,
    "abort_saga": False,
    "start_rollback": False,
    "finish_rollback": False,
    "abort_rollback": False,
    "claim_compensations": False,
    "complete_compensation": False,
    "decide_compensation": False,
    "put_breaker": True,
    "delete_breaker": False,
    "acquire_permit": False,
    "report_outcomes": False,
    "force_open": False,
    "force_close": False,
    "reset": False,
    "record_value": True,
    "report_symptom": False,
    "annotate_incident": False,
    "resolve_incident": False,
    "report_validation": False,
}


def grows(command: Command) -> bool:
    """Whether a command is refused while a disk is nearly full."""
    name = command.WhichOneof("body")
    return name is None or GROWS[name]
