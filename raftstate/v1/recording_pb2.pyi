from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordingKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORDING_KIND_UNSPECIFIED: _ClassVar[RecordingKind]
    RECORDING_KIND_TIME: _ClassVar[RecordingKind]
    RECORDING_KIND_RANDOM: _ClassVar[RecordingKind]
    RECORDING_KIND_UUID: _ClassVar[RecordingKind]
    RECORDING_KIND_MODEL: _ClassVar[RecordingKind]
    RECORDING_KIND_TOOL: _ClassVar[RecordingKind]
    RECORDING_KIND_OTHER: _ClassVar[RecordingKind]
RECORDING_KIND_UNSPECIFIED: RecordingKind
RECORDING_KIND_TIME: RecordingKind
RECORDING_KIND_RANDOM: RecordingKind
RECORDING_KIND_UUID: RecordingKind
RECORDING_KIND_MODEL: RecordingKind
RECORDING_KIND_TOOL: RecordingKind
RECORDING_KIND_OTHER: RecordingKind

class NewRecording(_message.Message):
    __slots__ = ("kind", "key", "content_type", "data")
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    kind: RecordingKind
    key: str
    content_type: str
    data: bytes
    def __init__(self, kind: _Optional[_Union[RecordingKind, str]] = ..., key: _Optional[str] = ..., content_type: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class Recording(_message.Message):
    __slots__ = ("agent_id", "step", "kind", "key", "content_type", "data", "revision", "log_time_ms")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    step: int
    kind: RecordingKind
    key: str
    content_type: str
    data: bytes
    revision: int
    log_time_ms: int
    def __init__(self, agent_id: _Optional[str] = ..., step: _Optional[int] = ..., kind: _Optional[_Union[RecordingKind, str]] = ..., key: _Optional[str] = ..., content_type: _Optional[str] = ..., data: _Optional[bytes] = ..., revision: _Optional[int] = ..., log_time_ms: _Optional[int] = ...) -> None: ...
