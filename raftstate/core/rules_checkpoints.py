"""What steps and requests about checkpoints may hold; see `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from raftstate.core import limits, parts
from raftstate.core.parts import Violation
from raftstate.v1.checkpoint_service_pb2 import GetCheckpointRequest, ListCheckpointsRequest
from raftstate.v1.step_service_pb2 import CommitStepRequest


def _commit_step(message: CommitStepRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.fence(message)
    if (count := len(message.events)) > limits.EVENTS_PER_STEP_MAX:
        yield Violation("events", f"has {count} events", str(limits.EVENTS_PER_STEP_MAX))
        return
    for at, event in enumerate(message.events):
        if not parts.event_is_fine(event):
            yield from parts.event(event, f"events[{at}]")
    if message.HasField("checkpoint"):
        yield from parts.checkpoint(message.checkpoint)


def _list_checkpoints(message: ListCheckpointsRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.page(message)


def _checkpoint_read(message: GetCheckpointRequest) -> Iterator[Violation]:
    yield from parts.agent_id(message.agent_id)
    yield from parts.consistency(message)


RULES: dict[type[Message], Callable[[Any], Iterable[Violation]]] = {
    CommitStepRequest: _commit_step,
    GetCheckpointRequest: _checkpoint_read,
    ListCheckpointsRequest: _list_checkpoints,
}
