from raftstate.v1 import agent_service_pb2 as _agent_service_pb2
from raftstate.v1 import breaker_service_pb2 as _breaker_service_pb2
from raftstate.v1 import checkpoint_service_pb2 as _checkpoint_service_pb2
from raftstate.v1 import common_pb2 as _common_pb2
from raftstate.v1 import effect_service_pb2 as _effect_service_pb2
from raftstate.v1 import event_service_pb2 as _event_service_pb2
from raftstate.v1 import kv_service_pb2 as _kv_service_pb2
from raftstate.v1 import lease_service_pb2 as _lease_service_pb2
from raftstate.v1 import recording_pb2 as _recording_pb2
from raftstate.v1 import recovery_service_pb2 as _recovery_service_pb2
from raftstate.v1 import replay_service_pb2 as _replay_service_pb2
from raftstate.v1 import rollback_service_pb2 as _rollback_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CommitStepRequest(_message.Message):
    __slots__ = ("request_id", "agent_id", "fence", "expected_step", "events", "checkpoint", "closings", "effects", "recordings")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_STEP_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CLOSINGS_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    agent_id: str
    fence: _common_pb2.FencingToken
    expected_step: int
    events: _containers.RepeatedCompositeFieldContainer[_event_service_pb2.NewEvent]
    checkpoint: _checkpoint_service_pb2.NewCheckpoint
    closings: _containers.RepeatedCompositeFieldContainer[_effect_service_pb2.EffectClosing]
    effects: _containers.RepeatedCompositeFieldContainer[_effect_service_pb2.NewEffect]
    recordings: _containers.RepeatedCompositeFieldContainer[_recording_pb2.NewRecording]
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., agent_id: _Optional[str] = ..., fence: _Optional[_Union[_common_pb2.FencingToken, _Mapping[str, _Any]]] = ..., expected_step: _Optional[int] = ..., events: _Optional[_Iterable[_Union[_event_service_pb2.NewEvent, _Mapping[str, _Any]]]] = ..., checkpoint: _Optional[_Union[_checkpoint_service_pb2.NewCheckpoint, _Mapping[str, _Any]]] = ..., closings: _Optional[_Iterable[_Union[_effect_service_pb2.EffectClosing, _Mapping[str, _Any]]]] = ..., effects: _Optional[_Iterable[_Union[_effect_service_pb2.NewEffect, _Mapping[str, _Any]]]] = ..., recordings: _Optional[_Iterable[_Union[_recording_pb2.NewRecording, _Mapping[str, _Any]]]] = ...) -> None: ...

class CommitStepResponse(_message.Message):
    __slots__ = ("header", "head", "first_position")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    FIRST_POSITION_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    head: _common_pb2.StepHead
    first_position: int
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., head: _Optional[_Union[_common_pb2.StepHead, _Mapping[str, _Any]]] = ..., first_position: _Optional[int] = ...) -> None: ...

class Mutation(_message.Message):
    __slots__ = ("create_agent", "update_agent", "retire_agent", "acquire_ownership", "release_ownership", "halt_agent", "resume_agent", "commit_step", "fork_agent", "append_events", "truncate_before", "save_projection", "delete_projection", "put_checkpoint", "put_chunk", "tag_checkpoint", "mark_valid", "prune_checkpoints", "copy_lineage", "put_group_checkpoint", "delete_group_checkpoint", "put", "delete", "delete_range", "txn", "compact", "grant", "revoke", "put_validator", "prepare_effect", "dispatch_effect", "complete_effect", "reconcile_effect", "begin_saga", "end_saga", "abort_saga", "start_rollback", "claim_compensations", "complete_compensation", "decide_compensation", "finish_rollback", "abort_rollback", "put_breaker", "delete_breaker", "acquire_permit", "report_outcomes", "force_open", "force_close", "reset", "record_value", "report_validation", "report_symptom", "annotate_incident", "resolve_incident")
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
    create_agent: _agent_service_pb2.CreateAgentRequest
    update_agent: _agent_service_pb2.UpdateAgentRequest
    retire_agent: _agent_service_pb2.RetireAgentRequest
    acquire_ownership: _agent_service_pb2.AcquireOwnershipRequest
    release_ownership: _agent_service_pb2.ReleaseOwnershipRequest
    halt_agent: _agent_service_pb2.HaltAgentRequest
    resume_agent: _agent_service_pb2.ResumeAgentRequest
    commit_step: CommitStepRequest
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
    def __init__(self, create_agent: _Optional[_Union[_agent_service_pb2.CreateAgentRequest, _Mapping[str, _Any]]] = ..., update_agent: _Optional[_Union[_agent_service_pb2.UpdateAgentRequest, _Mapping[str, _Any]]] = ..., retire_agent: _Optional[_Union[_agent_service_pb2.RetireAgentRequest, _Mapping[str, _Any]]] = ..., acquire_ownership: _Optional[_Union[_agent_service_pb2.AcquireOwnershipRequest, _Mapping[str, _Any]]] = ..., release_ownership: _Optional[_Union[_agent_service_pb2.ReleaseOwnershipRequest, _Mapping[str, _Any]]] = ..., halt_agent: _Optional[_Union[_agent_service_pb2.HaltAgentRequest, _Mapping[str, _Any]]] = ..., resume_agent: _Optional[_Union[_agent_service_pb2.ResumeAgentRequest, _Mapping[str, _Any]]] = ..., commit_step: _Optional[_Union[CommitStepRequest, _Mapping[str, _Any]]] = ..., fork_agent: _Optional[_Union[_agent_service_pb2.ForkAgentRequest, _Mapping[str, _Any]]] = ..., append_events: _Optional[_Union[_event_service_pb2.AppendEventsRequest, _Mapping[str, _Any]]] = ..., truncate_before: _Optional[_Union[_event_service_pb2.TruncateBeforeRequest, _Mapping[str, _Any]]] = ..., save_projection: _Optional[_Union[_event_service_pb2.SaveProjectionRequest, _Mapping[str, _Any]]] = ..., delete_projection: _Optional[_Union[_event_service_pb2.DeleteProjectionRequest, _Mapping[str, _Any]]] = ..., put_checkpoint: _Optional[_Union[_checkpoint_service_pb2.PutCheckpointRequest, _Mapping[str, _Any]]] = ..., put_chunk: _Optional[_Union[_checkpoint_service_pb2.PutChunkRequest, _Mapping[str, _Any]]] = ..., tag_checkpoint: _Optional[_Union[_checkpoint_service_pb2.TagCheckpointRequest, _Mapping[str, _Any]]] = ..., mark_valid: _Optional[_Union[_checkpoint_service_pb2.MarkValidRequest, _Mapping[str, _Any]]] = ..., prune_checkpoints: _Optional[_Union[_checkpoint_service_pb2.PruneCheckpointsRequest, _Mapping[str, _Any]]] = ..., copy_lineage: _Optional[_Union[_checkpoint_service_pb2.CopyLineageRequest, _Mapping[str, _Any]]] = ..., put_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.PutGroupCheckpointRequest, _Mapping[str, _Any]]] = ..., delete_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.DeleteGroupCheckpointRequest, _Mapping[str, _Any]]] = ..., put: _Optional[_Union[_kv_service_pb2.PutRequest, _Mapping[str, _Any]]] = ..., delete: _Optional[_Union[_kv_service_pb2.DeleteRequest, _Mapping[str, _Any]]] = ..., delete_range: _Optional[_Union[_kv_service_pb2.DeleteRangeRequest, _Mapping[str, _Any]]] = ..., txn: _Optional[_Union[_kv_service_pb2.TxnRequest, _Mapping[str, _Any]]] = ..., compact: _Optional[_Union[_kv_service_pb2.CompactRequest, _Mapping[str, _Any]]] = ..., grant: _Optional[_Union[_lease_service_pb2.GrantRequest, _Mapping[str, _Any]]] = ..., revoke: _Optional[_Union[_lease_service_pb2.RevokeRequest, _Mapping[str, _Any]]] = ..., put_validator: _Optional[_Union[_recovery_service_pb2.PutValidatorRequest, _Mapping[str, _Any]]] = ..., prepare_effect: _Optional[_Union[_effect_service_pb2.PrepareEffectRequest, _Mapping[str, _Any]]] = ..., dispatch_effect: _Optional[_Union[_effect_service_pb2.DispatchEffectRequest, _Mapping[str, _Any]]] = ..., complete_effect: _Optional[_Union[_effect_service_pb2.CompleteEffectRequest, _Mapping[str, _Any]]] = ..., reconcile_effect: _Optional[_Union[_effect_service_pb2.ReconcileEffectRequest, _Mapping[str, _Any]]] = ..., begin_saga: _Optional[_Union[_effect_service_pb2.BeginSagaRequest, _Mapping[str, _Any]]] = ..., end_saga: _Optional[_Union[_effect_service_pb2.EndSagaRequest, _Mapping[str, _Any]]] = ..., abort_saga: _Optional[_Union[_effect_service_pb2.AbortSagaRequest, _Mapping[str, _Any]]] = ..., start_rollback: _Optional[_Union[_rollback_service_pb2.StartRollbackRequest, _Mapping[str, _Any]]] = ..., claim_compensations: _Optional[_Union[_rollback_service_pb2.ClaimCompensationsRequest, _Mapping[str, _Any]]] = ..., complete_compensation: _Optional[_Union[_rollback_service_pb2.CompleteCompensationRequest, _Mapping[str, _Any]]] = ..., decide_compensation: _Optional[_Union[_rollback_service_pb2.DecideCompensationRequest, _Mapping[str, _Any]]] = ..., finish_rollback: _Optional[_Union[_rollback_service_pb2.FinishRollbackRequest, _Mapping[str, _Any]]] = ..., abort_rollback: _Optional[_Union[_rollback_service_pb2.AbortRollbackRequest, _Mapping[str, _Any]]] = ..., put_breaker: _Optional[_Union[_breaker_service_pb2.PutBreakerRequest, _Mapping[str, _Any]]] = ..., delete_breaker: _Optional[_Union[_breaker_service_pb2.DeleteBreakerRequest, _Mapping[str, _Any]]] = ..., acquire_permit: _Optional[_Union[_breaker_service_pb2.AcquirePermitRequest, _Mapping[str, _Any]]] = ..., report_outcomes: _Optional[_Union[_breaker_service_pb2.ReportOutcomesRequest, _Mapping[str, _Any]]] = ..., force_open: _Optional[_Union[_breaker_service_pb2.ForceOpenRequest, _Mapping[str, _Any]]] = ..., force_close: _Optional[_Union[_breaker_service_pb2.ForceCloseRequest, _Mapping[str, _Any]]] = ..., reset: _Optional[_Union[_breaker_service_pb2.ResetRequest, _Mapping[str, _Any]]] = ..., record_value: _Optional[_Union[_replay_service_pb2.RecordValueRequest, _Mapping[str, _Any]]] = ..., report_validation: _Optional[_Union[_recovery_service_pb2.ReportValidationRequest, _Mapping[str, _Any]]] = ..., report_symptom: _Optional[_Union[_recovery_service_pb2.ReportSymptomRequest, _Mapping[str, _Any]]] = ..., annotate_incident: _Optional[_Union[_recovery_service_pb2.AnnotateIncidentRequest, _Mapping[str, _Any]]] = ..., resolve_incident: _Optional[_Union[_recovery_service_pb2.ResolveIncidentRequest, _Mapping[str, _Any]]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("first_nonce", "mutations")
    FIRST_NONCE_FIELD_NUMBER: _ClassVar[int]
    MUTATIONS_FIELD_NUMBER: _ClassVar[int]
    first_nonce: int
    mutations: _containers.RepeatedCompositeFieldContainer[Mutation]
    def __init__(self, first_nonce: _Optional[int] = ..., mutations: _Optional[_Iterable[_Union[Mutation, _Mapping[str, _Any]]]] = ...) -> None: ...

class MutationResult(_message.Message):
    __slots__ = ("nonce", "error", "create_agent", "update_agent", "retire_agent", "acquire_ownership", "release_ownership", "halt_agent", "resume_agent", "commit_step", "fork_agent", "append_events", "truncate_before", "save_projection", "delete_projection", "put_checkpoint", "put_chunk", "tag_checkpoint", "mark_valid", "prune_checkpoints", "copy_lineage", "put_group_checkpoint", "delete_group_checkpoint", "put", "delete", "delete_range", "txn", "compact", "grant", "revoke", "put_validator", "prepare_effect", "dispatch_effect", "complete_effect", "reconcile_effect", "begin_saga", "end_saga", "abort_saga", "start_rollback", "claim_compensations", "complete_compensation", "decide_compensation", "finish_rollback", "abort_rollback", "put_breaker", "delete_breaker", "acquire_permit", "report_outcomes", "force_open", "force_close", "reset", "record_value", "report_validation", "report_symptom", "annotate_incident", "resolve_incident")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
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
    nonce: int
    error: bytes
    create_agent: _agent_service_pb2.CreateAgentResponse
    update_agent: _agent_service_pb2.UpdateAgentResponse
    retire_agent: _agent_service_pb2.RetireAgentResponse
    acquire_ownership: _agent_service_pb2.AcquireOwnershipResponse
    release_ownership: _agent_service_pb2.ReleaseOwnershipResponse
    halt_agent: _agent_service_pb2.HaltAgentResponse
    resume_agent: _agent_service_pb2.ResumeAgentResponse
    commit_step: CommitStepResponse
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
    def __init__(self, nonce: _Optional[int] = ..., error: _Optional[bytes] = ..., create_agent: _Optional[_Union[_agent_service_pb2.CreateAgentResponse, _Mapping[str, _Any]]] = ..., update_agent: _Optional[_Union[_agent_service_pb2.UpdateAgentResponse, _Mapping[str, _Any]]] = ..., retire_agent: _Optional[_Union[_agent_service_pb2.RetireAgentResponse, _Mapping[str, _Any]]] = ..., acquire_ownership: _Optional[_Union[_agent_service_pb2.AcquireOwnershipResponse, _Mapping[str, _Any]]] = ..., release_ownership: _Optional[_Union[_agent_service_pb2.ReleaseOwnershipResponse, _Mapping[str, _Any]]] = ..., halt_agent: _Optional[_Union[_agent_service_pb2.HaltAgentResponse, _Mapping[str, _Any]]] = ..., resume_agent: _Optional[_Union[_agent_service_pb2.ResumeAgentResponse, _Mapping[str, _Any]]] = ..., commit_step: _Optional[_Union[CommitStepResponse, _Mapping[str, _Any]]] = ..., fork_agent: _Optional[_Union[_agent_service_pb2.ForkAgentResponse, _Mapping[str, _Any]]] = ..., append_events: _Optional[_Union[_event_service_pb2.AppendEventsResponse, _Mapping[str, _Any]]] = ..., truncate_before: _Optional[_Union[_event_service_pb2.TruncateBeforeResponse, _Mapping[str, _Any]]] = ..., save_projection: _Optional[_Union[_event_service_pb2.SaveProjectionResponse, _Mapping[str, _Any]]] = ..., delete_projection: _Optional[_Union[_event_service_pb2.DeleteProjectionResponse, _Mapping[str, _Any]]] = ..., put_checkpoint: _Optional[_Union[_checkpoint_service_pb2.PutCheckpointResponse, _Mapping[str, _Any]]] = ..., put_chunk: _Optional[_Union[_checkpoint_service_pb2.PutChunkResponse, _Mapping[str, _Any]]] = ..., tag_checkpoint: _Optional[_Union[_checkpoint_service_pb2.TagCheckpointResponse, _Mapping[str, _Any]]] = ..., mark_valid: _Optional[_Union[_checkpoint_service_pb2.MarkValidResponse, _Mapping[str, _Any]]] = ..., prune_checkpoints: _Optional[_Union[_checkpoint_service_pb2.PruneCheckpointsResponse, _Mapping[str, _Any]]] = ..., copy_lineage: _Optional[_Union[_checkpoint_service_pb2.CopyLineageResponse, _Mapping[str, _Any]]] = ..., put_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.PutGroupCheckpointResponse, _Mapping[str, _Any]]] = ..., delete_group_checkpoint: _Optional[_Union[_checkpoint_service_pb2.DeleteGroupCheckpointResponse, _Mapping[str, _Any]]] = ..., put: _Optional[_Union[_kv_service_pb2.PutResponse, _Mapping[str, _Any]]] = ..., delete: _Optional[_Union[_kv_service_pb2.DeleteResponse, _Mapping[str, _Any]]] = ..., delete_range: _Optional[_Union[_kv_service_pb2.DeleteRangeResponse, _Mapping[str, _Any]]] = ..., txn: _Optional[_Union[_kv_service_pb2.TxnResponse, _Mapping[str, _Any]]] = ..., compact: _Optional[_Union[_kv_service_pb2.CompactResponse, _Mapping[str, _Any]]] = ..., grant: _Optional[_Union[_lease_service_pb2.GrantResponse, _Mapping[str, _Any]]] = ..., revoke: _Optional[_Union[_lease_service_pb2.RevokeResponse, _Mapping[str, _Any]]] = ..., put_validator: _Optional[_Union[_recovery_service_pb2.PutValidatorResponse, _Mapping[str, _Any]]] = ..., prepare_effect: _Optional[_Union[_effect_service_pb2.PrepareEffectResponse, _Mapping[str, _Any]]] = ..., dispatch_effect: _Optional[_Union[_effect_service_pb2.DispatchEffectResponse, _Mapping[str, _Any]]] = ..., complete_effect: _Optional[_Union[_effect_service_pb2.CompleteEffectResponse, _Mapping[str, _Any]]] = ..., reconcile_effect: _Optional[_Union[_effect_service_pb2.ReconcileEffectResponse, _Mapping[str, _Any]]] = ..., begin_saga: _Optional[_Union[_effect_service_pb2.BeginSagaResponse, _Mapping[str, _Any]]] = ..., end_saga: _Optional[_Union[_effect_service_pb2.EndSagaResponse, _Mapping[str, _Any]]] = ..., abort_saga: _Optional[_Union[_effect_service_pb2.AbortSagaResponse, _Mapping[str, _Any]]] = ..., start_rollback: _Optional[_Union[_rollback_service_pb2.StartRollbackResponse, _Mapping[str, _Any]]] = ..., claim_compensations: _Optional[_Union[_rollback_service_pb2.ClaimCompensationsResponse, _Mapping[str, _Any]]] = ..., complete_compensation: _Optional[_Union[_rollback_service_pb2.CompleteCompensationResponse, _Mapping[str, _Any]]] = ..., decide_compensation: _Optional[_Union[_rollback_service_pb2.DecideCompensationResponse, _Mapping[str, _Any]]] = ..., finish_rollback: _Optional[_Union[_rollback_service_pb2.FinishRollbackResponse, _Mapping[str, _Any]]] = ..., abort_rollback: _Optional[_Union[_rollback_service_pb2.AbortRollbackResponse, _Mapping[str, _Any]]] = ..., put_breaker: _Optional[_Union[_breaker_service_pb2.PutBreakerResponse, _Mapping[str, _Any]]] = ..., delete_breaker: _Optional[_Union[_breaker_service_pb2.DeleteBreakerResponse, _Mapping[str, _Any]]] = ..., acquire_permit: _Optional[_Union[_breaker_service_pb2.AcquirePermitResponse, _Mapping[str, _Any]]] = ..., report_outcomes: _Optional[_Union[_breaker_service_pb2.ReportOutcomesResponse, _Mapping[str, _Any]]] = ..., force_open: _Optional[_Union[_breaker_service_pb2.ForceOpenResponse, _Mapping[str, _Any]]] = ..., force_close: _Optional[_Union[_breaker_service_pb2.ForceCloseResponse, _Mapping[str, _Any]]] = ..., reset: _Optional[_Union[_breaker_service_pb2.ResetResponse, _Mapping[str, _Any]]] = ..., record_value: _Optional[_Union[_replay_service_pb2.RecordValueResponse, _Mapping[str, _Any]]] = ..., report_validation: _Optional[_Union[_recovery_service_pb2.ReportValidationResponse, _Mapping[str, _Any]]] = ..., report_symptom: _Optional[_Union[_recovery_service_pb2.ReportSymptomResponse, _Mapping[str, _Any]]] = ..., annotate_incident: _Optional[_Union[_recovery_service_pb2.AnnotateIncidentResponse, _Mapping[str, _Any]]] = ..., resolve_incident: _Optional[_Union[_recovery_service_pb2.ResolveIncidentResponse, _Mapping[str, _Any]]] = ...) -> None: ...

class SubmitResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[MutationResult]
    def __init__(self, results: _Optional[_Iterable[_Union[MutationResult, _Mapping[str, _Any]]]] = ...) -> None: ...
