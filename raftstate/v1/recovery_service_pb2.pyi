from raftstate.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Symptom(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SYMPTOM_UNSPECIFIED: _ClassVar[Symptom]
    SYMPTOM_OWNERSHIP_LOST: _ClassVar[Symptom]
    SYMPTOM_BREAKER_TRIPPED: _ClassVar[Symptom]
    SYMPTOM_VALIDATION_FAILED: _ClassVar[Symptom]
    SYMPTOM_DIVERGED: _ClassVar[Symptom]
    SYMPTOM_STUCK: _ClassVar[Symptom]
    SYMPTOM_REPORTED: _ClassVar[Symptom]
    SYMPTOM_ROLLBACK: _ClassVar[Symptom]
    SYMPTOM_EFFECT_UNKNOWN: _ClassVar[Symptom]

class Classification(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLASSIFICATION_UNSPECIFIED: _ClassVar[Classification]
    CLASSIFICATION_TRANSIENT_TOOL: _ClassVar[Classification]
    CLASSIFICATION_PERMANENT_TOOL: _ClassVar[Classification]
    CLASSIFICATION_RATE_LIMIT: _ClassVar[Classification]
    CLASSIFICATION_BAD_OUTPUT: _ClassVar[Classification]
    CLASSIFICATION_STATE_CORRUPTION: _ClassVar[Classification]
    CLASSIFICATION_NONDETERMINISM: _ClassVar[Classification]
    CLASSIFICATION_OWNER_LOST: _ClassVar[Classification]
    CLASSIFICATION_SPLIT_OWNER_ATTEMPT: _ClassVar[Classification]
    CLASSIFICATION_RESOURCE_EXHAUSTED: _ClassVar[Classification]
    CLASSIFICATION_POISON_INPUT: _ClassVar[Classification]
    CLASSIFICATION_DEPENDENCY_OPEN: _ClassVar[Classification]
    CLASSIFICATION_STORE_DEGRADED: _ClassVar[Classification]
    CLASSIFICATION_OPERATOR: _ClassVar[Classification]
    CLASSIFICATION_UNKNOWN: _ClassVar[Classification]
SYMPTOM_UNSPECIFIED: Symptom
SYMPTOM_OWNERSHIP_LOST: Symptom
SYMPTOM_BREAKER_TRIPPED: Symptom
SYMPTOM_VALIDATION_FAILED: Symptom
SYMPTOM_DIVERGED: Symptom
SYMPTOM_STUCK: Symptom
SYMPTOM_REPORTED: Symptom
SYMPTOM_ROLLBACK: Symptom
SYMPTOM_EFFECT_UNKNOWN: Symptom
CLASSIFICATION_UNSPECIFIED: Classification
CLASSIFICATION_TRANSIENT_TOOL: Classification
CLASSIFICATION_PERMANENT_TOOL: Classification
CLASSIFICATION_RATE_LIMIT: Classification
CLASSIFICATION_BAD_OUTPUT: Classification
CLASSIFICATION_STATE_CORRUPTION: Classification
CLASSIFICATION_NONDETERMINISM: Classification
CLASSIFICATION_OWNER_LOST: Classification
CLASSIFICATION_SPLIT_OWNER_ATTEMPT: Classification
CLASSIFICATION_RESOURCE_EXHAUSTED: Classification
CLASSIFICATION_POISON_INPUT: Classification
CLASSIFICATION_DEPENDENCY_OPEN: Classification
CLASSIFICATION_STORE_DEGRADED: Classification
CLASSIFICATION_OPERATOR: Classification
CLASSIFICATION_UNKNOWN: Classification

class Evidence(_message.Message):
    __slots__ = ("kind", "ref", "detail")
    KIND_FIELD_NUMBER: _ClassVar[int]
    REF_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kind: str
    ref: str
    detail: str
    def __init__(self, kind: _Optional[str] = ..., ref: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class IncidentNote(_message.Message):
    __slots__ = ("by", "text", "revision", "log_time_ms")
    BY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    by: str
    text: str
    revision: int
    log_time_ms: int
    def __init__(self, by: _Optional[str] = ..., text: _Optional[str] = ..., revision: _Optional[int] = ..., log_time_ms: _Optional[int] = ...) -> None: ...

class Incident(_message.Message):
    __slots__ = ("incident_id", "symptom", "classification", "agent_ids", "summary", "evidence", "notes", "rollback_id", "saga_id", "breaker", "detected_ms", "fenced_ms", "restored_ms", "compensated_ms", "validated_ms", "resumed_ms", "resolved_ms", "opened_revision", "resolved_revision", "open", "resolution", "opened_wall_time_ms")
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMPTOM_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    AGENT_IDS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    SAGA_ID_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    DETECTED_MS_FIELD_NUMBER: _ClassVar[int]
    FENCED_MS_FIELD_NUMBER: _ClassVar[int]
    RESTORED_MS_FIELD_NUMBER: _ClassVar[int]
    COMPENSATED_MS_FIELD_NUMBER: _ClassVar[int]
    VALIDATED_MS_FIELD_NUMBER: _ClassVar[int]
    RESUMED_MS_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_MS_FIELD_NUMBER: _ClassVar[int]
    OPENED_REVISION_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_REVISION_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    OPENED_WALL_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    incident_id: str
    symptom: Symptom
    classification: Classification
    agent_ids: _containers.RepeatedScalarFieldContainer[str]
    summary: str
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    notes: _containers.RepeatedCompositeFieldContainer[IncidentNote]
    rollback_id: str
    saga_id: str
    breaker: str
    detected_ms: int
    fenced_ms: int
    restored_ms: int
    compensated_ms: int
    validated_ms: int
    resumed_ms: int
    resolved_ms: int
    opened_revision: int
    resolved_revision: int
    open: bool
    resolution: str
    opened_wall_time_ms: int
    def __init__(self, incident_id: _Optional[str] = ..., symptom: _Optional[_Union[Symptom, str]] = ..., classification: _Optional[_Union[Classification, str]] = ..., agent_ids: _Optional[_Iterable[str]] = ..., summary: _Optional[str] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping[str, _Any]]]] = ..., notes: _Optional[_Iterable[_Union[IncidentNote, _Mapping[str, _Any]]]] = ..., rollback_id: _Optional[str] = ..., saga_id: _Optional[str] = ..., breaker: _Optional[str] = ..., detected_ms: _Optional[int] = ..., fenced_ms: _Optional[int] = ..., restored_ms: _Optional[int] = ..., compensated_ms: _Optional[int] = ..., validated_ms: _Optional[int] = ..., resumed_ms: _Optional[int] = ..., resolved_ms: _Optional[int] = ..., opened_revision: _Optional[int] = ..., resolved_revision: _Optional[int] = ..., open: _Optional[bool] = ..., resolution: _Optional[str] = ..., opened_wall_time_ms: _Optional[int] = ...) -> None: ...

class ReportValidationRequest(_message.Message):
    __slots__ = ("request_id", "validator", "agent_id", "checkpoint_id", "content_hash", "rollback_id", "passed", "evidence")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATOR_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    validator: str
    agent_id: str
    checkpoint_id: int
    content_hash: bytes
    rollback_id: str
    passed: bool
    evidence: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., validator: _Optional[str] = ..., agent_id: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., content_hash: _Optional[bytes] = ..., rollback_id: _Optional[str] = ..., passed: _Optional[bool] = ..., evidence: _Optional[str] = ...) -> None: ...

class ReportValidationResponse(_message.Message):
    __slots__ = ("header", "known_good", "incident_id")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    KNOWN_GOOD_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    known_good: bool
    incident_id: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., known_good: _Optional[bool] = ..., incident_id: _Optional[str] = ...) -> None: ...

class ReportSymptomRequest(_message.Message):
    __slots__ = ("request_id", "symptom", "classification", "agent_ids", "summary", "evidence")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SYMPTOM_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    AGENT_IDS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    symptom: Symptom
    classification: Classification
    agent_ids: _containers.RepeatedScalarFieldContainer[str]
    summary: str
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., symptom: _Optional[_Union[Symptom, str]] = ..., classification: _Optional[_Union[Classification, str]] = ..., agent_ids: _Optional[_Iterable[str]] = ..., summary: _Optional[str] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping[str, _Any]]]] = ...) -> None: ...

class ReportSymptomResponse(_message.Message):
    __slots__ = ("header", "incident_id")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    incident_id: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., incident_id: _Optional[str] = ...) -> None: ...

class GetIncidentRequest(_message.Message):
    __slots__ = ("incident_id", "consistency", "revision")
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    incident_id: str
    consistency: _common_pb2.Consistency
    revision: int
    def __init__(self, incident_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetIncidentResponse(_message.Message):
    __slots__ = ("header", "incident")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    incident: Incident
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., incident: _Optional[_Union[Incident, _Mapping[str, _Any]]] = ...) -> None: ...

class ListIncidentsRequest(_message.Message):
    __slots__ = ("only_open", "agent_id", "consistency", "revision", "page_size", "page_token")
    ONLY_OPEN_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    only_open: bool
    agent_id: str
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, only_open: _Optional[bool] = ..., agent_id: _Optional[str] = ..., consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListIncidentsResponse(_message.Message):
    __slots__ = ("header", "incidents", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    INCIDENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    incidents: _containers.RepeatedCompositeFieldContainer[Incident]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., incidents: _Optional[_Iterable[_Union[Incident, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AnnotateIncidentRequest(_message.Message):
    __slots__ = ("request_id", "incident_id", "by", "text", "classification")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    incident_id: str
    by: str
    text: str
    classification: Classification
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., incident_id: _Optional[str] = ..., by: _Optional[str] = ..., text: _Optional[str] = ..., classification: _Optional[_Union[Classification, str]] = ...) -> None: ...

class AnnotateIncidentResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class ResolveIncidentRequest(_message.Message):
    __slots__ = ("request_id", "incident_id", "resolution")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_ID_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    incident_id: str
    resolution: str
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., incident_id: _Optional[str] = ..., resolution: _Optional[str] = ...) -> None: ...

class ResolveIncidentResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class Validator(_message.Message):
    __slots__ = ("name", "agent_prefix", "description", "revision", "required_in_rollbacks")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_PREFIX_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_IN_ROLLBACKS_FIELD_NUMBER: _ClassVar[int]
    name: str
    agent_prefix: str
    description: str
    revision: int
    required_in_rollbacks: bool
    def __init__(self, name: _Optional[str] = ..., agent_prefix: _Optional[str] = ..., description: _Optional[str] = ..., revision: _Optional[int] = ..., required_in_rollbacks: _Optional[bool] = ...) -> None: ...

class PutValidatorRequest(_message.Message):
    __slots__ = ("request_id", "name", "agent_prefix", "description", "required_in_rollbacks")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_PREFIX_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_IN_ROLLBACKS_FIELD_NUMBER: _ClassVar[int]
    request_id: _common_pb2.RequestId
    name: str
    agent_prefix: str
    description: str
    required_in_rollbacks: bool
    def __init__(self, request_id: _Optional[_Union[_common_pb2.RequestId, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ..., agent_prefix: _Optional[str] = ..., description: _Optional[str] = ..., required_in_rollbacks: _Optional[bool] = ...) -> None: ...

class PutValidatorResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ...) -> None: ...

class ListValidatorsRequest(_message.Message):
    __slots__ = ("consistency", "revision", "page_size", "page_token")
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    consistency: _common_pb2.Consistency
    revision: int
    page_size: int
    page_token: str
    def __init__(self, consistency: _Optional[_Union[_common_pb2.Consistency, str]] = ..., revision: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListValidatorsResponse(_message.Message):
    __slots__ = ("header", "validators", "next_page_token")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    VALIDATORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    header: _common_pb2.ResponseHeader
    validators: _containers.RepeatedCompositeFieldContainer[Validator]
    next_page_token: str
    def __init__(self, header: _Optional[_Union[_common_pb2.ResponseHeader, _Mapping[str, _Any]]] = ..., validators: _Optional[_Iterable[_Union[Validator, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
