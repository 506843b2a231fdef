"""What golden stories say of streams and projections, besides `story`:

    append by=S into=STREAM [expect=none|exists|SEQ] [fence=R] event=TYPE:DATA[#ID]...
           [into=STREAM ...]...
    truncate STREAM by=S before=SEQ [checkpoint=N] [projection=P]
    save P by=S position=N [expect=N]      forget P by=S      sweep rows=N

and the reads

    stream A    streams PREFIX    verify A    events-back A    all-back PREFIX    projections
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from raftstate.core import stream_queries
from raftstate.core.ports import Reader
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.event_service_pb2 import (
    AppendEventsRequest,
    AppendEventsResponse,
    DeleteProjectionRequest,
    NewEvent,
    Projection,
    SaveProjectionRequest,
    StreamAppend,
    StreamInfo,
    TruncateBeforeRequest,
)
from raftstate.v1.store_pb2 import Command, Sweep
from tests.core.bench import EPOCH, Bench

MANY = 1 << 20


class Words(Protocol):
    """A line of a story; see `story.Line`."""

    name: str

    def pairs(self, *names: str) -> list[tuple[str, str]]: ...
    def text(self, key: str, default: str = "") -> str: ...
    def number(self, key: str, default: int = 0) -> int: ...


class Shown(Protocol):
    """What reads look at; see `Bench`."""

    @property
    def store(self) -> Reader: ...


def new_event(word: str) -> NewEvent:
    """TYPE:DATA, and perhaps #ID."""
    rest, _, name = word.partition("#")
    kind, _, data = rest.partition(":")
    return NewEvent(type=kind, data=data.encode(), event_id=name)


# --- commands ----------------------------------------------------------------


def _append(bench: Bench, line: Words, session: str) -> Command:
    request = AppendEventsRequest(request_id=bench.request_id(session))
    append = StreamAppend()
    for name, value in line.pairs("into", "expect", "fence", "event"):
        if name == "into":
            append = request.appends.add(stream_id=value)
        elif name == "expect":
            named = value in ("any", "none", "exists")
            append.expected = f"EXPECTED_{value.upper() if named else 'EXACT'}"  # type: ignore[assignment]
            append.expected_seq = 0 if named else int(value)
        elif name == "fence":
            append.fence.CopyFrom(FencingToken(epoch=EPOCH, revision=int(value)))
        else:
            append.events.append(new_event(value))
    return Command(append_events=request)


def _truncate(bench: Bench, line: Words, session: str) -> Command:
    request = TruncateBeforeRequest(
        request_id=bench.request_id(session),
        stream_id=line.name,
        before_seq=line.number("before"),
        checkpoint_id=line.number("checkpoint"),
        projection=line.text("projection"),
    )
    return Command(truncate_before=request)


def _save(bench: Bench, line: Words, session: str) -> Command:
    request = SaveProjectionRequest(
        request_id=bench.request_id(session), name=line.name, position=line.number("position")
    )
    if expected := line.text("expect"):
        request.expected_position = int(expected)
    return Command(save_projection=request)


def _forget(bench: Bench, line: Words, session: str) -> Command:
    request = DeleteProjectionRequest(request_id=bench.request_id(session), name=line.name)
    return Command(delete_projection=request)


PLAIN: dict[str, Callable[[Words], Command]] = {
    "sweep": lambda line: Command(sweep=Sweep(rows=line.number("rows"))),
}
MUTATIONS: dict[str, Callable[[Bench, Words, str], Command]] = {
    "append": _append,
    "truncate": _truncate,
    "save": _save,
    "forget": _forget,
}

# --- what was said -----------------------------------------------------------


def _appended(response: AppendEventsResponse) -> str:
    spans = " ".join(
        f"{one.first_seq}-{one.last_seq}({one.last_hash.hex()[:8]})"
        for one in response.appended
    )
    words = f"appended {spans} first_position={response.first_position}"
    return f"{words} duplicate" if response.duplicate else words


SAID: dict[str, Callable[[Any], str]] = {
    "append_events": _appended,
    "truncate_before": lambda response: f"truncated first_seq={response.first_seq}",
}

# --- reads -------------------------------------------------------------------


def _info(info: StreamInfo) -> str:
    kind = "agent's" if info.agent else "free"
    words = f"{info.stream_id} {kind} {info.first_seq}-{info.last_seq}"
    words += f" hash={info.last_hash.hex()[:8]}"
    return f"{words} base={info.base_hash.hex()[:8]}" if info.base_hash else words


def _projection(one: Projection) -> str:
    return f"{one.name} at {one.position} revision={one.saved_revision} time={one.log_time_ms}"


def _stream(shown: Shown, name: str) -> Iterator[str]:
    info = stream_queries.get_stream(shown.store, name)
    if info is not None:
        yield _info(info)


def _verified(shown: Shown, name: str) -> Iterator[str]:
    first = stream_queries.oldest_seq(shown.store, name)
    found = stream_queries.verify(shown.store, name, first, MANY, MANY)
    yield f"broken at {found.broken_seq}" if found.broken_seq else f"intact to {found.last_seq}"


def reads(event: Callable[[Any], str]) -> dict[str, Callable[[Any, str], Iterator[str]]]:
    """Every read, given how an event is shown."""

    def events_back(shown: Shown, name: str) -> Iterator[str]:
        found = stream_queries.read_events(shown.store, name, 0, MANY, MANY, backwards=True)
        return map(event, found)

    def every(*, backwards: bool) -> Callable[[Shown, str], Iterator[str]]:
        def read(shown: Shown, prefix: str) -> Iterator[str]:
            found = stream_queries.read_all(
                shown.store, 0, MANY, MANY, prefix=prefix, backwards=backwards
            )
            return map(event, found.events)

        return read

    return {
        "stream": _stream,
        "streams": lambda shown, prefix: map(
            _info, stream_queries.list_streams(shown.store, prefix, "", MANY).streams
        ),
        "verify": _verified,
        "events-back": events_back,
        "all": every(backwards=False),
        "all-back": every(backwards=True),
        "projections": lambda shown, _: map(
            _projection, stream_queries.list_projections(shown.store, "", MANY)
        ),
    }
