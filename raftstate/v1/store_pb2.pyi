from raftstate.v1 import agent_service_pb2 as _agent_service_pb2
from raftstate.v1 import breaker_service_pb2 as _breaker_service_pb2
from raftstate.v1 import checkpoint_service_pb2 as _checkpoint_service_pb2
from raftstate.v1 import common_pb2 as _common_pb2
from raftstate.v1 import effect_service_pb2 as _effect_service_pb2
from raftstate.v1 import event_service_pb2 as _event_service_pb2
from raftstate.v1 import kv_service_pb2 as _kv_service_pb2
from raftstate.v1 import lease_service_pb2 as _lease_service_pb2
from raftstate.v1 import recovery_service_pb2 as _recovery_service_pb2
from raftstate.v1 import replay_service_pb2 as _replay_service_pb2
from raftstate.v1 import rollback_service_pb2 as _rollback_service_pb2
from raftstate.v1 import session_service_pb2 as _session_service_pb2
from raftstate.v1 import step_service_pb2 as _step_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_AGENT_NOT_FOUND: _ClassVar[Reason]
    REASON_AGENT_EXISTS: _ClassVar[Reason]
    REASON_AGENT_STATE: _ClassVar[Reason]
    REASON_OWNED: _ClassVar[Reason]
    REASON_NOT_OWNER: _ClassVar[Reason]
    REASON_FENCED: _ClassVar[Reason]
    REASON_CONFLICT: _ClassVar[Reason]
    REASON_SESSION_EXPIRED: _ClassVar[Reason]
    REASON_REQUEST_ID_REUSED: _ClassVar[Reason]
    REASON_INVALID_REQUEST: _ClassVar[Reason]
    REASON_OUTCOME_FORGOTTEN: _ClassVar[Reason]
    REASON_EXPIRY_OVERTAKEN: _ClassVar[Reason]
    REASON_STREAM_EXISTS: _ClassVar[Reason]
    REASON_STREAM_NOT_FOUND: _ClassVar[Reason]
    REASON_EVENT_ID_REUSED: _ClassVar[Reason]
    REASON_NOT_COVERED: _ClassVar[Reason]
    REASON_PROJECTION_NOT_FOUND: _ClassVar[Reason]
    REASON_CHECKPOINT_NOT_FOUND: _ClassVar[Reason]
    REASON_CHUNK_MISSING: _ClassVar[Reason]
    REASON_CHAIN_TOO_LONG: _ClassVar[Reason]
    REASON_VALIDATOR_NOT_FOUND: _ClassVar[Reason]
    REASON_GROUP_EXISTS: _ClassVar[Reason]
    REASON_GROUP_NOT_FOUND: _ClassVar[Reason]
    REASON_TOO_MANY: _ClassVar[Reason]
    REASON_LEASE_NOT_FOUND: _ClassVar[Reason]
    REASON_LEASE_EXISTS: _ClassVar[Reason]
    REASON_COMPACTED: _ClassVar[Reason]
    REASON_FUTURE_REVISION: _ClassVar[Reason]
    REASON_EFFECT_NOT_FOUND: _ClassVar[Reason]
    REASON_EFFECT_EXISTS: _ClassVar[Reason]
    REASON_COMPENSATION_REQUIRED: _ClassVar[Reason]
    REASON_SAGA_NOT_FOUND: _ClassVar[Reason]
    REASON_SAGA_EXISTS: _ClassVar[Reason]
    REASON_ROLLBACK_NOT_FOUND: _ClassVar[Reason]
    REASON_ROLLBACK_BARRIER: _ClassVar[Reason]
    REASON_PLAN_NOT_FOUND: _ClassVar[Reason]
    REASON_PLAN_STATE: _ClassVar[Reason]
    REASON_BREAKER_NOT_FOUND: _ClassVar[Reason]
    REASON_BREAKER_OPEN: _ClassVar[Reason]
    REASON_INCIDENT_NOT_FOUND: _ClassVar[Reason]
REASON_UNSPECIFIED: Reason
REASON_AGENT_NOT_FOUND: Reason
REASON_AGENT_EXISTS: Reason
REASON_AGENT_STATE: Reason
REASON_OWNED: Reason
REASON_NOT_OWNER: Reason
REASON_FENCED: Reason
REASON_CONFLICT: Reason
REASON_SESSION_EXPIRED: Reason
REASON_REQUEST_ID_REUSED: Reason
REASON_INVALID_REQUEST: Reason
REASON_OUTCOME_FORGOTTEN: Reason
REASON_EXPIRY_OVERTAKEN: Reason
REASON_STREAM_EXISTS: Reason
REASON_STREAM_NOT_FOUND: Reason
REASON_EVENT_ID_REUSED: Reason
REASON_NOT_COVERED: Reason
REASON_PROJECTION_NOT_FOUND: Reason
REASON_CHECKPOINT_NOT_FOUND: Reason
REASON_CHUNK_MISSING: Reason
REASON_CHAIN_TOO_LONG: Reason
REASON_VALIDATOR_NOT_FOUND: Reason
REASON_GROUP_EXISTS: Reason
REASON_GROUP_NOT_FOUND: Reason
REASON_TOO_MANY: Reason
REASON_LEASE_NOT_FOUND: Reason
REASON_LEASE_EXISTS: Reason
REASON_COMPACTED: Reason
REASON_FUTURE_REVISION: Reason
REASON_EFFECT_NOT_FOUND: Reason
REASON_EFFECT_EXISTS: Reason
REASON_COMPENSATION_REQUIRED: Reason
REASON_SAGA_NOT_FOUND: Reason
REASON_SAGA_EXISTS: Reason
REASON_ROLLBACK_NOT_FOUND: Reason
REASON_ROLLBACK_BARRIER: Reason
REASON_PLAN_NOT_FOUND: Reason
REASON_PLAN_STATE: Reason
REASON_BREAKER_NOT_FOUND: Reason
REASON_BREAKER_OPEN: Reason
REASON_INCIDENT_NOT_FOUND: Reason

class Command(_message.Message):
    __slots__ = ("open_session", "close_session", "create_agent", "update_agent", "retire_agent", "acquire_ownership", "release_ownership", "halt_agent", "resume_agent", "commit_step", "expire_session", "expire_ownership", "expire_lease", "trim_history", "collect_chunks", "sweep", "fork_agent", "append_events", "truncate_before", "save_projection", "delete_projection", "put_checkpoint", "put_chunk", "tag_checkpoint", "mark_valid", "prune_checkpoints", "copy_lineage", "put_group_checkpoint", "delete_group_checkpoint", "put", "delete", "delete_range", "txn", "compact", "grant", "revoke", "put_validator", "prepare_effect", "dispatch_effect", "complete_effect", "reconcile_effect", "begin_saga", "end_saga", "abort_saga", "start_rollback", "claim_compensations", "complete_compensation", "decide_compensation", "finish_rollback", "abort_rollback", "put_breaker", "delete_breaker", "acquire_permit", "report_outcomes", "force_open", "force_close", "reset", "record_value", "report_validation", "report_symptom", "annotate_incident", "resolve_incident")
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    CLOSE_SESSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    RETIRE_AGENT_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    RELEASE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    HALT_AGENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_AGENT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_STEP_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_SESSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_LEASE_FIELD_NUMBER: _ClassVar[int]
    TRIM_HISTORY_FIELD_NUMBER: _ClassVar[int]
    COLLECT_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    SWEEP_FIELD_NUMBER: _ClassVar[int]
    FORK_AGENT_FIELD_NUMBER: _ClassVar[int]
    APPEND_EVENTS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SAVE_PROJECTION_FIELD_NUMBER: _ClassVar[int]
    DELETE_PROJECTION_FIELD_NUMBER: _ClassVar[int]
    PUT_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PUT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    TAG_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    MARK_VALID_FIELD_NUMBER: _ClassVar[int]
    PRUNE_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    COPY_LINEAGE_FIELD_NUMBER: _ClassVar[int]
    PUT_GROUP_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    DELETE_GROUP_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DELETE_RANGE_FIELD_NUMBER: _ClassVar[int]
    TXN_FIELD_NUMBER: _ClassVar[int]
    COMPACT_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    REVOKE_FIELD_NUMBER: _ClassVar[int]
    PUT_VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    PREPARE_EFFECT_FIELD_NUMBER: _ClassVar[int]
    DISPATCH_EFFECT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_EFFECT_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_EFFECT_FIELD_NUMBER: _ClassVar[int]
    BEGIN_SAGA_FIELD_NUMBER: _ClassVar[int]
    END_SAGA_FIELD_NUMBER: _ClassVar[int]
    ABORT_SAGA_FIELD_NUMBER: _ClassVar[int]
    START_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    CLAIM_COMPENSATIONS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_COMPENSATION_FIELD_NUMBER: _ClassVar[int]
    DECIDE_COMPENSATION_FIELD_NUMBER: _ClassVar[int]
    FINISH_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    ABORT_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    PUT_BREAKER_FIELD_NUMBER: _ClassVar[int]
    DELETE_BREAKER_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_PERMIT_FIELD_NUMBER: _ClassVar[int]
    REPORT_OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    FORCE_OPEN_FIELD_NUMBER: _ClassVar[int]
    FORCE_CLOSE_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    RECORD_VALUE_FIELD_NUMBER: _ClassVar[int]
    REPORT_VALIDATION_FIELD_NUMBER: _ClassVar[int]
    REPORT_SYMPTOM_FIELD_NUMBER: _ClassVar[int]
    ANNOTATE_INCIDENT_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_INCIDENT_FIELD_NUMBER: _ClassVar[int]
    open_session: _session_service_pb2.OpenSessionRequest
    close_session: _session_service_pb2.CloseSessionRequest
    create_agent: _agent_service_pb2.CreateAgentRequest
    update_agent: _agent_service_pb2.UpdateAgentRequest
    retire_agent: _agent_service_pb2.RetireAgentRequest
    acquire_ownership: _agent_service_pb2.AcquireOwnershipRequest
    release_ownership: _agent_service_pb2.ReleaseOwnershipRequest
    halt_agent: _agent_service_pb2.HaltAgentRequest
    resume_agent: _agent_service_pb2.ResumeAgentRequest
    commit_step: _step_service_pb2.CommitStepRequest
    expire_session: ExpireSession
    expire_ownership: ExpireOwnership
    expire_lease: ExpireLease
    trim_history: TrimHistory
    collect_chunks: CollectChunks
    sweep: Sweep
    fork_agent: _agent_service_pb2.ForkAgentRequest
    append_events: _event_service_pb2.AppendEventsRequest
    truncate_before: _event_service_pb2.TruncateBeforeRequest
    save_projection: _event_service_pb2.SaveProjectionRequest
    delete_projection: _event_service_pb2.DeleteProjectionRequest
    put_checkpoint: _checkpoint_service_pb2.PutCheckpointRequest
    put_chunk: _checkpoint_service_pb2.PutChunkRequest
    tag_checkpoint: _checkpoint_service_pb2.TagCheckpointRequest
    mark_valid: _checkpoint_service_pb2.MarkValidRequest
    prune_checkpoints: _checkpoint_service_pb2.PruneCheckpointsRequest
    copy_lineage: _checkpoint_service_pb2.CopyLineageRequest
    put_group_checkpoint: _checkpoint_service_pb2.PutGroupCheckpointRequest
    delete_group_checkpoint: _checkpoint_service_pb2.DeleteGroupCheckpointRequest
    put: _kv_service_pb2.PutRequest
    delete: _kv_service_pb2.DeleteRequest
    delete_range: _kv_service_pb2.DeleteRangeRequest
    txn: _kv_service_pb2.TxnRequest
    compact: _kv_service_pb2.CompactRequest
    grant: _lease_service_pb2.GrantRequest
    revoke: _lease_service_pb2.RevokeRequest
    put_validator: _recovery_service_pb2.PutValidatorRequest
    prepare_effect: _effect_service_pb2.PrepareEffectRequest
    dispatch_effect: _effect_service_pb2.DispatchEffectRequest
    complete_effect: _effect_service_pb2.CompleteEffectRequest
    reconcile_effect: _effect_service_pb2.ReconcileEffectRequest
    begin_saga: _effect_service_pb2.BeginSagaRequest
    end_saga: _effect_service_pb2.EndSagaRequest
    abort_saga: _effect_service_pb2.AbortSagaRequest
    start_rollback: _rollback_service_pb2.StartRollbackRequest
    claim_compensations: _rollback_service_pb2.ClaimCompensationsRequest
    complete_compensation: _rollback_service_pb2.CompleteCompensationRequest
    decide_compensation: _rollback_service_pb2.DecideCompensationRequest
    finish_rollback: _rollback_service_pb2.FinishRollbackRequest
    abort_rollback: _rollback_service_pb2.AbortRollbackRequest
    put_breaker: _breaker_service_pb2.PutBreakerRequest
    delete_breaker: _breaker_service_pb2.DeleteBreakerRequest
    acquire_permit: _breaker_service_pb2.AcquirePermitRequest
    report_outcomes: _breaker_service_pb2.ReportOutcomesRequest
    force_open: _breaker_service_pb2.ForceOpenRequest
    force_close: _breaker_service_pb2.ForceCloseRequest
    reset: _breaker_service_pb2.ResetRequest
    record_value: _replay_service_pb2.RecordValueRequest
    report_validation: _recovery_service_pb2.ReportValidationRequest
    report_symptom: _recovery_service_pb2.ReportSymptomRequest
    annotate_incident: _recovery_service_pb2.AnnotateIncidentRequest
    resolve_incident: _recovery_service_pb2.ResolveIncidentRequest
    def __init__(self, open_session: _Optional[_Union[_session_service_pb2.OpenSessionRequest, _Mapping[str, _Any]]] = ..., close_session: _Optional[_Union[_session_service_pb2.CloseSessionRequest, _Mapping[str, _Any]]] = ..., create_agent: _Optional[_Union[_agent_service_pb2.CreateAgentRequest, _Mapping[str, _Any]]] = ..., update_agent: _Optional[_Union[_agent_service_pb2.UpdateAgentRequest, _Mapping[str, _Any]]] = ..., retire_agent: _Optional[_Union[_agent_service_pb2.RetireAgentRequest, _Mapping[str, _Any]]] = ..., acquire_ownership: _Optional[_Union[_agent_service_pb2.AcquireOwnershipRequest, _Mapping[str, _Any]]] = ..., release_ownership: _Optional[_Union[_agent_service_pb2.ReleaseOwnershipRequest, _Mapping[str, _Any]]] = ..., halt_agent: _Optional[_Union[_agent_service_pb2.HaltAgentRequest, _Mapping[str, _Any]]] = ..., resume_agent: _Optional[_Union[_agent_service_pb2.ResumeAgentRequest, _Mapping[str, _Any]]] = ..., commit_step: _Optional[_Union[_step_service_pb2.CommitStepRequest, _Mapping[str, _Any]]] = ..., expire_session: _Optional[_Union[ExpireSession, _Mapping[str, _Any]]] = ..., expire_ownership: _Optional[_Union[ExpireOwnership, _Mapping[str, _Any]]] = ..., expire_lease: _Optional[_Union[ExpireLease, _Mapping[str, _Any]]] = ..., trim_history: _Optional[_Union[TrimHistory, _Mapping[str, _Any]]] = ..., collect_chunks: _Optional[_Union[CollectChunks, _Mapping[str, _Any]]] = ..., sweep: _Optional[_Union[Sweep, _Mapping[str, _Any]]] = ..., fork_agent: _Optional[_Union[_agent_service_pb2.ForkAgentRequest, _Mapping[str, _Any]]] = ..., append_events: _Optional[_Union[_event_service_pb2.AppendEventsRequest, _Mapping[str, _Any]]] = ..., truncate_before: _Optional[_Union[_event_service_pb2.TruncateBeforeRequest, _Mapping[str, _Any]]] = ..., save_projection: _Optional[_Union[_event_service_pb2.SaveProjectionRequest, _Mapping[str, _Any]]] = ..., delete_projection: _Optional[_Union[_event_service_pb2.DeleteProjectionRequest, _Mapping[str, _Any]]] = ..., put_checkpoint: _Optional[_Union[_checkpoint_service_pb2.PutCheckpointRequest, _Mapping[str, _Any]]] = ..., put_chunk: _Optional[_Union[_checkpoint_service_pb2.PutChunkRequest, _Mapping[str, _Any]]] = ..., tag_checkpoint: _Optional[_Union[_checkpoint_service_pb2.TagCheckpointRequest, _Mapping[str, _Any]]] = ..., mark_valid: _Optional[_Union[_checkpoint_service_pb2.MarkValidRequest, _Mapping[str, _Any]]] = ..., prune_checkpoints: _Optional[_Union[_checkpoint_service_pb2.PruneCheckpointsRequest, _Mapping[str, _Any]]] = ..., copy_lineage: _Optional[_Union[_checkpoint_service_pb2.CopyLineageRequest, _Mapping[str, _Any]]] = ..., put_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.PutGroupCheckpointRequest, _Mapping[str, _Any]]] = ..., delete_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.DeleteGroupCheckpointRequest, _Mapping[str, _Any]]] = ..., put: _Optional[_Union[_kv_service_pb2.PutRequest, _Mapping[str, _Any]]] = ..., delete: _Optional[_Union[_kv_service_pb2.DeleteRequest, _Mapping[str, _Any]]] = ..., delete_range: _Optional[_Union[_kv_service_pb2.DeleteRangeRequest, _Mapping[str, _Any]]] = ..., txn: _Optional[_Union[_kv_service_pb2.TxnRequest, _Mapping[str, _Any]]] = ..., compact: _Optional[_Union[_kv_service_pb2.CompactRequest, _Mapping[str, _Any]]] = ..., grant: _Optional[_Union[_lease_service_pb2.GrantRequest, _Mapping[str, _Any]]] = ..., revoke: _Optional[_Union[_lease_service_pb2.RevokeRequest, _Mapping[str, _Any]]] = ..., put_validator: _Optional[_Union[_recovery_service_pb2.PutValidatorRequest, _Mapping[str, _Any]]] = ..., prepare_effect: _Optional[_Union[_effect_service_pb2.PrepareEffectRequest, _Mapping[str, _Any]]] = ..., dispatch_effect: _Optional[_Union[_effect_service_pb2.DispatchEffectRequest, _Mapping[str, _Any]]] = ..., complete_effect: _Optional[_Union[_effect_service_pb2.CompleteEffectRequest, _Mapping[str, _Any]]] = ..., reconcile_effect: _Optional[_Union[_effect_service_pb2.ReconcileEffectRequest, _Mapping[str, _Any]]] = ..., begin_saga: _Optional[_Union[_effect_service_pb2.BeginSagaRequest, _Mapping[str, _Any]]] = ..., end_saga: _Optional[_Union[_effect_service_pb2.EndSagaRequest, _Mapping[str, _Any]]] = ..., abort_saga: _Optional[_Union[_effect_service_pb2.AbortSagaRequest, _Mapping[str, _Any]]] = ..., start_rollback: _Optional[_Union[_rollback_service_pb2.StartRollbackRequest, _Mapping[str, _Any]]] = ..., claim_compensations: _Optional[_Union[_rollback_service_pb2.ClaimCompensationsRequest, _Mapping[str, _Any]]] = ..., complete_compensation: _Optional[_Union[_rollback_service_pb2.CompleteCompensationRequest, _Mapping[str, _Any]]] = ..., decide_compensation: _Optional[_Union[_rollback_service_pb2.DecideCompensationRequest, _Mapping[str, _Any]]] = ..., finish_rollback: _Optional[_Union[_rollback_service_pb2.FinishRollbackRequest, _Mapping[str, _Any]]] = ..., abort_rollback: _Optional[_Union[_rollback_service_pb2.AbortRollbackRequest, _Mapping[str, _Any]]] = ..., put_breaker: _Optional[_Union[_breaker_service_pb2.PutBreakerRequest, _Mapping[str, _Any]]] = ..., delete_breaker: _Optional[_Union[_breaker_service_pb2.DeleteBreakerRequest, _Mapping[str, _Any]]] = ..., acquire_permit: _Optional[_Union[_breaker_service_pb2.AcquirePermitRequest, _Mapping[str, _Any]]] = ..., report_outcomes: _Optional[_Union[_breaker_service_pb2.ReportOutcomesRequest, _Mapping[str, _Any]]] = ..., force_open: _Optional[_Union[_breaker_service_pb2.ForceOpenRequest, _Mapping[str, _Any]]] = ..., force_close: _Optional[_Union[_breaker_service_pb2.ForceCloseRequest, _Mapping[str, _Any]]] = ..., reset: _Optional[_Union[_breaker_service_pb2.ResetRequest, _Mapping[str, _Any]]] = ..., record_value: _Optional[_Union[_replay_service_pb2.RecordValueRequest, _Mapping[str, _Any]]] = ..., report_validation: _Optional[_Union[_recovery_service_pb2.ReportValidationRequest, _Mapping[str, _Any]]] = ..., report_symptom: _Optional[_Union[_recovery_service_pb2.ReportSymptomRequest, _Mapping[str, _Any]]] = ..., annotate_incident: _Optional[_Union[_recovery_service_pb2.AnnotateIncidentRequest, _Mapping[str, _Any]]] = ..., resolve_incident: _Optional[_Union[_recovery_service_pb2.ResolveIncidentRequest, _Mapping[str, _Any]]] = ...) -> None: ...

class ExpireSession(_message.Message):
    __slots__ = ("session_id", "touched_revision")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_REVISION_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    touched_revision: int
    def __init__(self, session_id: _Optional[str] = ..., touched_revision: _Optional[int] = ...) -> None: ...

class ExpireOwnership(_message.Message):
    __slots__ = ("agent_id", "fence", "touched_revision")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_REVISION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    fence: _common_pb2.FencingToken
    touched_revision: int
    def __init__(self, agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., touched_revision: _Optional[int] = ...) -> None: ...

class ExpireLease(_message.Message):
    __slots__ = ("lease_id", "granted_revision", "touched_revision")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_REVISION_FIELD_NUMBER: _ClassVar[int]
    lease_id: int
    granted_revision: int
    touched_revision: int
    def __init__(self, lease_id: _Optional[int] = ..., granted_revision: _Optional[int] = ..., touched_revision: _Optional[int] = ...) -> None: ...

class TrimHistory(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class CollectChunks(_message.Message):
    __slots__ = ("unused_since_ms", "limit")
    UNUSED_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    unused_since_ms: int
    limit: int
    def __init__(self, unused_since_ms: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class Sweep(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    def __init__(self, rows: _Optional[int] = ...) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("log_time_ms", "wall_time_ms", "commands")
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    WALL_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    log_time_ms: int
    wall_time_ms: int
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    def __init__(self, log_time_ms: _Optional[int] = ..., wall_time_ms: _Optional[int] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping[str, _Any]]]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "message", "current_fence", "current_holder", "current_head", "lifecycle", "field", "subject", "current_seq", "current_position", "current_revision", "oldest_revision", "limit", "chunk_hash", "current_state", "open_until_ms", "log_time_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FENCE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_HOLDER_FIELD_NUMBER: _ClassVar[int]
    CURRENT_HEAD_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CURRENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    CURRENT_POSITION_FIELD_NUMBER: _ClassVar[int]
    CURRENT_REVISION_FIELD_NUMBER: _ClassVar[int]
    OLDEST_REVISION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_HASH_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STATE_FIELD_NUMBER: _ClassVar[int]
    OPEN_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    reason: Reason
    message: str
    current_fence: _common_pb2.FencingToken
    current_holder: str
    current_head: _common_pb2.StepHead
    lifecycle: _agent_service_pb2.Lifecycle
    field: str
    subject: str
    current_seq: int
    current_position: int
    current_revision: int
    oldest_revision: int
    limit: int
    chunk_hash: bytes
    current_state: str
    open_until_ms: int
    log_time_ms: int
    def __init__(self, reason: _Optional[_Union[Reason, str]] = ..., message: _Optional[str] = ..., current_fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., current_holder: _Optional[str] = ..., current_head: _Optional[_Union[_common_pb2.StepHead, _Mapping[str, _Any]]] = ..., lifecycle: _Optional[_Union[_agent_service_pb2.Lifecycle, str]] = ..., field: _Optional[str] = ..., subject: _Optional[str] = ..., current_seq: _Optional[int] = ..., current_position: _Optional[int] = ..., current_revision: _Optional[int] = ..., oldest_revision: _Optional[int] = ..., limit: _Optional[int] = ..., chunk_hash: _Optional[bytes] = ..., current_state: _Optional[str] = ..., open_until_ms: _Optional[int] = ..., log_time_ms: _Optional[int] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("revision", "raft_index", "refusal", "done", "open_session", "close_session", "create_agent", "update_agent", "retire_agent", "acquire_ownership", "release_ownership", "halt_agent", "resume_agent", "commit_step", "fork_agent", "append_events", "truncate_before", "save_projection", "delete_projection", "put_checkpoint", "put_chunk", "tag_checkpoint", "mark_valid", "prune_checkpoints", "copy_lineage", "put_group_checkpoint", "delete_group_checkpoint", "put", "delete", "delete_range", "txn", "compact", "grant", "revoke", "put_validator", "prepare_effect", "dispatch_effect", "complete_effect", "reconcile_effect", "begin_saga", "end_saga", "abort_saga", "start_rollback", "claim_compensations", "complete_compensation", "decide_compensation", "finish_rollback", "abort_rollback", "put_breaker", "delete_breaker", "acquire_permit", "report_outcomes", "force_open", "force_close", "reset", "record_value", "report_validation", "report_symptom", "annotate_incident", "resolve_incident")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RAFT_INDEX_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    CLOSE_SESSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_AGENT_FIELD_NUMBER: _ClassVar[int]
    RETIRE_AGENT_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    RELEASE_OWNERSHIP_FIELD_NUMBER: _ClassVar[int]
    HALT_AGENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_AGENT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_STEP_FIELD_NUMBER: _ClassVar[int]
    FORK_AGENT_FIELD_NUMBER: _ClassVar[int]
    APPEND_EVENTS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SAVE_PROJECTION_FIELD_NUMBER: _ClassVar[int]
    DELETE_PROJECTION_FIELD_NUMBER: _ClassVar[int]
    PUT_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PUT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    TAG_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    MARK_VALID_FIELD_NUMBER: _ClassVar[int]
    PRUNE_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    COPY_LINEAGE_FIELD_NUMBER: _ClassVar[int]
    PUT_GROUP_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    DELETE_GROUP_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DELETE_RANGE_FIELD_NUMBER: _ClassVar[int]
    TXN_FIELD_NUMBER: _ClassVar[int]
    COMPACT_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    REVOKE_FIELD_NUMBER: _ClassVar[int]
    PUT_VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    PREPARE_EFFECT_FIELD_NUMBER: _ClassVar[int]
    DISPATCH_EFFECT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_EFFECT_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_EFFECT_FIELD_NUMBER: _ClassVar[int]
    BEGIN_SAGA_FIELD_NUMBER: _ClassVar[int]
    END_SAGA_FIELD_NUMBER: _ClassVar[int]
    ABORT_SAGA_FIELD_NUMBER: _ClassVar[int]
    START_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    CLAIM_COMPENSATIONS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_COMPENSATION_FIELD_NUMBER: _ClassVar[int]
    DECIDE_COMPENSATION_FIELD_NUMBER: _ClassVar[int]
    FINISH_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    ABORT_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    PUT_BREAKER_FIELD_NUMBER: _ClassVar[int]
    DELETE_BREAKER_FIELD_NUMBER: _ClassVar[int]
    ACQUIRE_PERMIT_FIELD_NUMBER: _ClassVar[int]
    REPORT_OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    FORCE_OPEN_FIELD_NUMBER: _ClassVar[int]
    FORCE_CLOSE_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    RECORD_VALUE_FIELD_NUMBER: _ClassVar[int]
    REPORT_VALIDATION_FIELD_NUMBER: _ClassVar[int]
    REPORT_SYMPTOM_FIELD_NUMBER: _ClassVar[int]
    ANNOTATE_INCIDENT_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_INCIDENT_FIELD_NUMBER: _ClassVar[int]
    revision: int
    raft_index: int
    refusal: Refusal
    done: Done
    open_session: _session_service_pb2.OpenSessionResponse
    close_session: _session_service_pb2.CloseSessionResponse
    create_agent: _agent_service_pb2.CreateAgentResponse
    update_agent: _agent_service_pb2.UpdateAgentResponse
    retire_agent: _agent_service_pb2.RetireAgentResponse
    acquire_ownership: _agent_service_pb2.AcquireOwnershipResponse
    release_ownership: _agent_service_pb2.ReleaseOwnershipResponse
    halt_agent: _agent_service_pb2.HaltAgentResponse
    resume_agent: _agent_service_pb2.ResumeAgentResponse
    commit_step: _step_service_pb2.CommitStepResponse
    fork_agent: _agent_service_pb2.ForkAgentResponse
    append_events: _event_service_pb2.AppendEventsResponse
    truncate_before: _event_service_pb2.TruncateBeforeResponse
    save_projection: _event_service_pb2.SaveProjectionResponse
    delete_projection: _event_service_pb2.DeleteProjectionResponse
    put_checkpoint: _checkpoint_service_pb2.PutCheckpointResponse
    put_chunk: _checkpoint_service_pb2.PutChunkResponse
    tag_checkpoint: _checkpoint_service_pb2.TagCheckpointResponse
    mark_valid: _checkpoint_service_pb2.MarkValidResponse
    prune_checkpoints: _checkpoint_service_pb2.PruneCheckpointsResponse
    copy_lineage: _checkpoint_service_pb2.CopyLineageResponse
    put_group_checkpoint: _checkpoint_service_pb2.PutGroupCheckpointResponse
    delete_group_checkpoint: _checkpoint_service_pb2.DeleteGroupCheckpointResponse
    put: _kv_service_pb2.PutResponse
    delete: _kv_service_pb2.DeleteResponse
    delete_range: _kv_service_pb2.DeleteRangeResponse
    txn: _kv_service_pb2.TxnResponse
    compact: _kv_service_pb2.CompactResponse
    grant: _lease_service_pb2.GrantResponse
    revoke: _lease_service_pb2.RevokeResponse
    put_validator: _recovery_service_pb2.PutValidatorResponse
    prepare_effect: _effect_service_pb2.PrepareEffectResponse
    dispatch_effect: _effect_service_pb2.DispatchEffectResponse
    complete_effect: _effect_service_pb2.CompleteEffectResponse
    reconcile_effect: _effect_service_pb2.ReconcileEffectResponse
    begin_saga: _effect_service_pb2.BeginSagaResponse
    end_saga: _effect_service_pb2.EndSagaResponse
    abort_saga: _effect_service_pb2.AbortSagaResponse
    start_rollback: _rollback_service_pb2.StartRollbackResponse
    claim_compensations: _rollback_service_pb2.ClaimCompensationsResponse
    complete_compensation: _rollback_service_pb2.CompleteCompensationResponse
    decide_compensation: _rollback_service_pb2.DecideCompensationResponse
    finish_rollback: _rollback_service_pb2.FinishRollbackResponse
    abort_rollback: _rollback_service_pb2.AbortRollbackResponse
    put_breaker: _breaker_service_pb2.PutBreakerResponse
    delete_breaker: _breaker_service_pb2.DeleteBreakerResponse
    acquire_permit: _breaker_service_pb2.AcquirePermitResponse
    report_outcomes: _breaker_service_pb2.ReportOutcomesResponse
    force_open: _breaker_service_pb2.ForceOpenResponse
    force_close: _breaker_service_pb2.ForceCloseResponse
    reset: _breaker_service_pb2.ResetResponse
    record_value: _replay_service_pb2.RecordValueResponse
    report_validation: _recovery_service_pb2.ReportValidationResponse
    report_symptom: _recovery_service_pb2.ReportSymptomResponse
    annotate_incident: _recovery_service_pb2.AnnotateIncidentResponse
    resolve_incident: _recovery_service_pb2.ResolveIncidentResponse
    def __init__(self, revision: _Optional[int] = ..., raft_index: _Optional[int] = ..., refusal: _Optional[_Union[Refusal, _Mapping[str, _Any]]] = ..., done: _Optional[_Union[Done, _Mapping[str, _Any]]] = ..., open_session: _Optional[_Union[_session_service_pb2.OpenSessionResponse, _Mapping[str, _Any]]] = ..., close_session: _Optional[_Union[_session_service_pb2.CloseSessionResponse, _Mapping[str, _Any]]] = ..., create_agent: _Optional[_Union[_agent_service_pb2.CreateAgentResponse, _Mapping[str, _Any]]] = ..., update_agent: _Optional[_Union[_agent_service_pb2.UpdateAgentResponse, _Mapping[str, _Any]]] = ..., retire_agent: _Optional[_Union[_agent_service_pb2.RetireAgentResponse, _Mapping[str, _Any]]] = ..., acquire_ownership: _Optional[_Union[_agent_service_pb2.AcquireOwnershipResponse, _Mapping[str, _Any]]] = ..., release_ownership: _Optional[_Union[_agent_service_pb2.ReleaseOwnershipResponse, _Mapping[str, _Any]]] = ..., halt_agent: _Optional[_Union[_agent_service_pb2.HaltAgentResponse, _Mapping[str, _Any]]] = ..., resume_agent: _Optional[_Union[_agent_service_pb2.ResumeAgentResponse, _Mapping[str, _Any]]] = ..., commit_step: _Optional[_Union[_step_service_pb2.CommitStepResponse, _Mapping[str, _Any]]] = ..., fork_agent: _Optional[_Union[_agent_service_pb2.ForkAgentResponse, _Mapping[str, _Any]]] = ..., append_events: _Optional[_Union[_event_service_pb2.AppendEventsResponse, _Mapping[str, _Any]]] = ..., truncate_before: _Optional[_Union[_event_service_pb2.TruncateBeforeResponse, _Mapping[str, _Any]]] = ..., save_projection: _Optional[_Union[_event_service_pb2.SaveProjectionResponse, _Mapping[str, _Any]]] = ..., delete_projection: _Optional[_Union[_event_service_pb2.DeleteProjectionResponse, _Mapping[str, _Any]]] = ..., put_checkpoint: _Optional[_Union[_checkpoint_service_pb2.PutCheckpointResponse, _Mapping[str, _Any]]] = ..., put_chunk: _Optional[_Union[_checkpoint_service_pb2.PutChunkResponse, _Mapping[str, _Any]]] = ..., tag_checkpoint: _Optional[_Union[_checkpoint_service_pb2.TagCheckpointResponse, _Mapping[str, _Any]]] = ..., mark_valid: _Optional[_Union[_checkpoint_service_pb2.MarkValidResponse, _Mapping[str, _Any]]] = ..., prune_checkpoints: _Optional[_Union[_checkpoint_service_pb2.PruneCheckpointsResponse, _Mapping[str, _Any]]] = ..., copy_lineage: _Optional[_Union[_checkpoint_service_pb2.CopyLineageResponse, _Mapping[str, _Any]]] = ..., put_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.PutGroupCheckpointResponse, _Mapping[str, _Any]]] = ..., delete_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.DeleteGroupCheckpointResponse, _Mapping[str, _Any]]] = ..., put: _Optional[_Union[_kv_service_pb2.PutResponse, _Mapping[str, _Any]]] = ..., delete: _Optional[_Union[_kv_service_pb2.DeleteResponse, _Mapping[str, _Any]]] = ..., delete_range: _Optional[_Union[_kv_service_pb2.DeleteRangeResponse, _Mapping[str, _Any]]] = ..., txn: _Optional[_Union[_kv_service_pb2.TxnResponse, _Mapping[str, _Any]]] = ..., compact: _Optional[_Union[_kv_service_pb2.CompactResponse, _Mapping[str, _Any]]] = ..., grant: _Optional[_Union[_lease_service_pb2.GrantResponse, _Mapping[str, _Any]]] = ..., revoke: _Optional[_Union[_lease_service_pb2.RevokeResponse, _Mapping[str, _Any]]] = ..., put_validator: _Optional[_Union[_recovery_service_pb2.PutValidatorResponse, _Mapping[str, _Any]]] = ..., prepare_effect: _Optional[_Union[_effect_service_pb2.PrepareEffectResponse, _Mapping[str, _Any]]] = ..., dispatch_effect: _Optional[_Union[_effect_service_pb2.DispatchEffectResponse, _Mapping[str, _Any]]] = ..., complete_effect: _Optional[_Union[_effect_service_pb2.CompleteEffectResponse, _Mapping[str, _Any]]] = ..., reconcile_effect: _Optional[_Union[_effect_service_pb2.ReconcileEffectResponse, _Mapping[str, _Any]]] = ..., begin_saga: _Optional[_Union[_effect_service_pb2.BeginSagaResponse, _Mapping[str, _Any]]] = ..., end_saga: _Optional[_Union[_effect_service_pb2.EndSagaResponse, _Mapping[str, _Any]]] = ..., abort_saga: _Optional[_Union[_effect_service_pb2.AbortSagaResponse, _Mapping[str, _Any]]] = ..., start_rollback: _Optional[_Union[_rollback_service_pb2.StartRollbackResponse, _Mapping[str, _Any]]] = ..., claim_compensations: _Optional[_Union[_rollback_service_pb2.ClaimCompensationsResponse, _Mapping[str, _Any]]] = ..., complete_compensation: _Optional[_Union[_rollback_service_pb2.CompleteCompensationResponse, _Mapping[str, _Any]]] = ..., decide_compensation: _Optional[_Union[_rollback_service_pb2.DecideCompensationResponse, _Mapping[str, _Any]]] = ..., finish_rollback: _Optional[_Union[_rollback_service_pb2.FinishRollbackResponse, _Mapping[str, _Any]]] = ..., abort_rollback: _Optional[_Union[_rollback_service_pb2.AbortRollbackResponse, _Mapping[str, _Any]]] = ..., put_breaker: _Optional[_Union[_breaker_service_pb2.PutBreakerResponse, _Mapping[str, _Any]]] = ..., delete_breaker: _Optional[_Union[_breaker_service_pb2.DeleteBreakerResponse, _Mapping[str, _Any]]] = ..., acquire_permit: _Optional[_Union[_breaker_service_pb2.AcquirePermitResponse, _Mapping[str, _Any]]] = ..., report_outcomes: _Optional[_Union[_breaker_service_pb2.ReportOutcomesResponse, _Mapping[str, _Any]]] = ..., force_open: _Optional[_Union[_breaker_service_pb2.ForceOpenResponse, _Mapping[str, _Any]]] = ..., force_close: _Optional[_Union[_breaker_service_pb2.ForceCloseResponse, _Mapping[str, _Any]]] = ..., reset: _Optional[_Union[_breaker_service_pb2.ResetResponse, _Mapping[str, _Any]]] = ..., record_value: _Optional[_Union[_replay_service_pb2.RecordValueResponse, _Mapping[str, _Any]]] = ..., report_validation: _Optional[_Union[_recovery_service_pb2.ReportValidationResponse, _Mapping[str, _Any]]] = ..., report_symptom: _Optional[_Union[_recovery_service_pb2.ReportSymptomResponse, _Mapping[str, _Any]]] = ..., annotate_incident: _Optional[_Union[_recovery_service_pb2.AnnotateIncidentResponse, _Mapping[str, _Any]]] = ..., resolve_incident: _Optional[_Union[_recovery_service_pb2.ResolveIncidentResponse, _Mapping[str, _Any]]] = ...) -> None: ...

class SessionTouch(_message.Message):
    __slots__ = ("touched_revision", "forgotten_below")
    TOUCHED_REVISION_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_BELOW_FIELD_NUMBER: _ClassVar[int]
    touched_revision: int
    forgotten_below: int
    def __init__(self, touched_revision: _Optional[int] = ..., forgotten_below: _Optional[int] = ...) -> None: ...

class CheckpointBody(_message.Message):
    __slots__ = ("data", "chunks")
    DATA_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    chunks: _containers.RepeatedCompositeFieldContainer[_checkpoint_service_pb2.ChunkRef]
    def __init__(self, data: _Optional[bytes] = ..., chunks: _Optional[_Iterable[_Union[_checkpoint_service_pb2.ChunkRef, _Mapping[str, _Any]]]] = ...) -> None: ...

class ChunkRecord(_message.Message):
    __slots__ = ("uses", "unused_since_ms", "size_bytes")
    USES_FIELD_NUMBER: _ClassVar[int]
    UNUSED_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    uses: int
    unused_since_ms: int
    size_bytes: int
    def __init__(self, uses: _Optional[int] = ..., unused_since_ms: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class HistoryMark(_message.Message):
    __slots__ = ("oldest_revision", "swept_revision")
    OLDEST_REVISION_FIELD_NUMBER: _ClassVar[int]
    SWEPT_REVISION_FIELD_NUMBER: _ClassVar[int]
    oldest_revision: int
    swept_revision: int
    def __init__(self, oldest_revision: _Optional[int] = ..., swept_revision: _Optional[int] = ...) -> None: ...

class ChangedKeys(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, keys: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GarbageJob(_message.Message):
    __slots__ = ("events", "recordings")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    events: TruncatedEvents
    recordings: TruncatedRecordings
    def __init__(self, events: _Optional[_Union[TruncatedEvents, _Mapping[str, _Any]]] = ..., recordings: _Optional[_Union[TruncatedRecordings, _Mapping[str, _Any]]] = ...) -> None: ...

class TruncatedEvents(_message.Message):
    __slots__ = ("stream_id", "first_seq", "last_seq")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    first_seq: int
    last_seq: int
    def __init__(self, stream_id: _Optional[str] = ..., first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ...) -> None: ...

class TruncatedRecordings(_message.Message):
    __slots__ = ("agent_id", "last_step")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_STEP_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    last_step: int
    def __init__(self, agent_id: _Optional[str] = ..., last_step: _Optional[int] = ...) -> None: ...

class UndoneRange(_message.Message):
    __slots__ = ("first_seq", "last_seq", "rollback_id")
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    first_seq: int
    last_seq: int
    rollback_id: str
    def __init__(self, first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., rollback_id: _Optional[str] = ...) -> None: ...

class BreakerWindow(_message.Message):
    __slots__ = ("buckets", "shown_log_time_ms", "behind")
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    SHOWN_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedCompositeFieldContainer[BreakerBucket]
    shown_log_time_ms: int
    behind: bool
    def __init__(self, buckets: _Optional[_Iterable[_Union[BreakerBucket, _Mapping[str, _Any]]]] = ..., shown_log_time_ms: _Optional[int] = ..., behind: _Optional[bool] = ...) -> None: ...

class BreakerBucket(_message.Message):
    __slots__ = ("began_log_time_ms", "calls", "failures", "slow", "reporters")
    BEGAN_LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    REPORTERS_FIELD_NUMBER: _ClassVar[int]
    began_log_time_ms: int
    calls: int
    failures: int
    slow: int
    reporters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, began_log_time_ms: _Optional[int] = ..., calls: _Optional[int] = ..., failures: _Optional[int] = ..., slow: _Optional[int] = ..., reporters: _Optional[_Iterable[str]] = ...) -> None: ...

class OutcomeRecord(_message.Message):
    __slots__ = ("payload_hash", "outcome")
    PAYLOAD_HASH_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    payload_hash: bytes
    outcome: Outcome
    def __init__(self, payload_hash: _Optional[bytes] = ..., outcome: _Optional[_Union[Outcome, _Mapping[str, _Any]]] = ...) -> None: ...
