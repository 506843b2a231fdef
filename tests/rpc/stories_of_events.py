"""The calls about streams and projections, each on its happy path."""

from __future__ import annotations

from typing import Any

from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    DeleteProjectionRequest,
    Expected,
    ExportAuditRequest,
    GetProjectionRequest,
    GetStreamRequest,
    ListProjectionsRequest,
    NewEvent,
    ReadAllRequest,
    ReadEventsRequest,
    SaveProjectionRequest,
    StreamAppend,
    TruncateBeforeRequest,
    VerifyChainRequest,
)
from tests.rpc.harness import Bench, all_of
from tests.rpc.stories_of_keys import Story


async def append(b: Bench, stream_id: str = "s", count: int = 1) -> Any:
    """Append events to a free stream."""
    events = [NewEvent(type="said", data=b"x") for _ in range(count)]
    request = AppendEventsRequest(
        request_id=b.request_id(), appends=[StreamAppend(stream_id=stream_id, events=events)]
    )
    return await b.events.AppendEvents(request)


async def saved(b: Bench, name: str = "p", position: int = 1) -> None:
    """Save a projection."""
    await b.events.SaveProjection(
        SaveProjectionRequest(request_id=b.request_id(), name=name, position=position)
    )


async def append_events(b: Bench) -> None:
    fence = await b.own("a")
    request = AppendEventsRequest(
        request_id=b.request_id(),
        appends=[
            StreamAppend(
                stream_id="s",
                expected=Expected.EXPECTED_NONE,
                events=[NewEvent(type="one", event_id="e1"), NewEvent(type="two")],
            ),
            StreamAppend(stream_id="a", fence=fence, events=[NewEvent(type="three")]),
        ],
    )
    response = await b.events.AppendEvents(request)
    assert [(one.first_seq, one.last_seq) for one in response.appended] == [(1, 2), (1, 1)]
    assert (response.first_position, response.duplicate) == (1, False)


async def read_events(b: Bench) -> None:
    await append(b, count=6)
    responses = await all_of(b.events.ReadEvents(ReadEventsRequest(stream_id="s")))
    events = [event for response in responses for event in response.events]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
    request = ReadEventsRequest(stream_id="s", from_seq=4, max_events=3, backwards=True)
    (some,) = await all_of(b.events.ReadEvents(request))
    assert [event.seq for event in some.events] == [4, 3, 2]


async def read_all(b: Bench) -> None:
    for name in ("a/1", "b/1", "a/2"):
        await append(b, name)
    (found,) = await all_of(b.events.ReadAll(ReadAllRequest(prefix="a/")))
    assert [event.stream_id for event in found.events] == ["a/1", "a/2"]


async def get_stream(b: Bench) -> None:
    await append(b, count=2)
    found = await b.events.GetStream(GetStreamRequest(stream_id="s"))
    assert (found.last_seq, found.stream.first_seq, found.stream.agent) == (2, 1, False)


async def truncate_before(b: Bench) -> None:
    await append(b, count=3)
    await saved(b, position=2)
    request = TruncateBeforeRequest(
        request_id=b.request_id(), stream_id="s", before_seq=3, projection="p"
    )
    assert (await b.events.TruncateBefore(request)).first_seq == 3


async def verify_chain(b: Bench) -> None:
    await append(b, count=3)
    found = await b.events.VerifyChain(VerifyChainRequest(stream_id="s"))
    assert (found.intact, found.first_seq, found.last_seq) == (True, 1, 3)
    assert (found.broken_seq, found.next_seq) == (0, 0)


async def export_audit(b: Bench) -> None:
    await append(b, count=3)
    messages = await all_of(b.events.ExportAudit(ExportAuditRequest()))
    assert [one.stream_id for message in messages for one in message.streams] == ["s"]
    assert [one.seq for message in messages for one in message.events] == [1, 2, 3]
    assert (messages[-1].end.streams, messages[-1].end.events) == (1, 3)


async def save_projection(b: Bench) -> None:
    await append(b, count=3)
    await saved(b, position=3)


async def get_projection(b: Bench) -> None:
    await save_projection(b)
    found = await b.events.GetProjection(GetProjectionRequest(name="p"))
    assert (found.projection.position, found.projection.saved_revision) == (
        3,
        b.fake.machine.revision,
    )


async def list_projections(b: Bench) -> None:
    await append(b)
    for name in ("p1", "p2", "p3"):
        await saved(b, name)
    page = await b.events.ListProjections(ListProjectionsRequest(page_size=2))
    assert [one.name for one in page.projections] == ["p1", "p2"]
    rest = await b.events.ListProjections(
        ListProjectionsRequest(page_size=2, page_token=page.next_page_token)
    )
    assert [one.name for one in rest.projections] == ["p3"]
    assert rest.next_page_token == ""


async def delete_projection(b: Bench) -> None:
    await save_projection(b)
    await b.events.DeleteProjection(
        DeleteProjectionRequest(request_id=b.request_id(), name="p")
    )
    assert list((await b.events.ListProjections(ListProjectionsRequest())).projections) == []


STORIES: dict[str, Story] = {
    "EventService.AppendEvents": append_events,
    "EventService.ReadEvents": read_events,
    "EventService.ReadAll": read_all,
    "EventService.GetStream": get_stream,
    "EventService.TruncateBefore": truncate_before,
    "EventService.VerifyChain": verify_chain,
    "EventService.ExportAudit": export_audit,
    "EventService.SaveProjection": save_projection,
    "EventService.GetProjection": get_projection,
    "EventService.ListProjections": list_projections,
    "EventService.DeleteProjection": delete_projection,
}
