"""An audit in a file: written from a cluster, and verified without one.

The file is JSON lines, each written in one way only: keys in order, no blanks, bytes as
hexadecimal digits (`data` as base64).

    {"raftstate_audit":1,"cluster_id":..,"cluster_epoch":..,"revision":..,"prefix":..}
    {"stream":{..}}     one for each stream, in order of id
    {"event":{..}}      the events, stream by stream in the same order, each by seq
    {"end":{"streams":..,"events":..,"head":..,"file_hash":..}}

`head` is blake2b-32 over every stream's id and last hash, in order of id, each as its
length in eight big-endian bytes and then its bytes: who keeps it elsewhere can tell later
that nothing of the past was changed. `file_hash` is blake2b-32 of all lines before.

What is proved: each event's hash follows from its fields and the event before, each stream
ends as it says, and nothing is missing, doubled or out of order. What cannot be proved
here is what came before a stream's first event, if it was truncated: its base is taken at
its word, and named. Nor is it said which events a rollback has undone: all are here.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import IO, Any, Final

from raftstate.client.audit import GENESIS, event_hash
from raftstate.v1.event_service_pb2 import (
    AuditEnd,
    Event,
    ExportAuditResponse,
    StreamInfo,
)

FORMAT: Final = 1
# What is said of a file that is damaged in more places.
FAULTS_MAX: Final = 20
# Written only where it is not empty, as its event's hash has it only then; and what is no
# part of a stored event.
_SELDOM: Final = frozenset({"state_hash"})
_SHOWN: Final = frozenset({"undone_by"})
_HEADER: Final = ("raftstate_audit", "cluster_id", "cluster_epoch", "revision", "prefix")


class _NotWritten(ValueError):
    """A line that the export does not write like this."""


@dataclass
class Report:
    """What a file holds, and what is wrong with it."""

    cluster_id: str = ""
    revision: int = 0
    prefix: str = ""
    streams: int = 0
    events: int = 0
    head: str = ""
    # Streams that begin behind events that were truncated.
    truncated: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether everything is what was written, and all of it is there."""
        return not self.faults


# --- writing -----------------------------------------------------------------


async def write(
    answers: AsyncIterable[ExportAuditResponse], prefix: str, file: IO[bytes]
) -> Report:
    """Write an export to a file; what it holds."""
    report = Report(prefix=prefix)
    total = blake2b(digest_size=32)
    async for answer in answers:
        lines: list[bytes] = []
        if not report.revision:
            report.cluster_id = answer.header.cluster_id
            report.revision = answer.header.revision
            lines.append(_header(answer, prefix))
        lines += [_line({"stream": _fields(info)}) for info in answer.streams]
        lines += [_line({"event": _fields(event)}) for event in answer.events]
        report.streams += len(answer.streams)
        report.events += len(answer.events)
        for line in lines:
            total.update(line)
            file.write(line)
        if answer.HasField("end"):
            report.head = answer.end.head.hex()
            end = _fields(answer.end) | {"file_hash": total.hexdigest()}
            file.write(_line({"end": end}))
    return report


def _header(answer: ExportAuditResponse, prefix: str) -> bytes:
    known = (
        FORMAT,
        answer.header.cluster_id,
        answer.header.cluster_epoch,
        answer.header.revision,
        prefix,
    )
    return _line(dict(zip(_HEADER, known, strict=True)))


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _fields(message: StreamInfo | Event | AuditEnd) -> dict[str, Any]:
    """Every field of a message that is written, in the order of their numbers."""
    found: dict[str, Any] = {}
    for one in message.DESCRIPTOR.fields:
        value = getattr(message, one.name)
        if one.name in _SHOWN or (one.name in _SELDOM and not value):
            continue
        if isinstance(value, bytes):
            value = b64encode(value).decode() if one.name == "data" else value.hex()
        found[one.name] = value
    return found


# --- verifying ---------------------------------------------------------------


def verify(lines: Iterable[bytes]) -> Report:
    """Compute anew everything that a file claims, line by line."""
    verifier = _Verifier()
    for number, line in enumerate(lines, 1):
        verifier.take(number, line)
        if len(verifier.report.faults) > FAULTS_MAX:
            del verifier.report.faults[FAULTS_MAX:]
            verifier.fault("and more; the rest of the file was not looked at")
            return verifier.report
    verifier.close()
    return verifier.report


class _Verifier:
    """Takes lines in order, and says what is wrong with them."""

    def __init__(self) -> None:
        self.report = Report()
        self._total = blake2b(digest_size=32)
        self._number = 0
        self._streams: dict[str, StreamInfo] = {}
        self._waiting: Iterator[StreamInfo] = iter(())
        # The stream whose events come now, the next seq, and the hash before it; None:
        # that is not known, because what came before is missing or damaged.
        self._stream: StreamInfo | None = None
        self._next = 0
        self._hash: bytes | None = None
        self._places: dict[str, int] = {}
        self._ended = False
        self._end_at = 0

    def fault(self, what: str) -> None:
        """Note what is wrong."""
        self.report.faults.append(what)

    def take(self, number: int, line: bytes) -> None:
        """The next line."""
        self._number = number
        if self._ended:
            if number - 1 == self._end_at:
                self._say("there is something behind the end")
            return
        if not line.endswith(b"\n"):
            self._say("is cut off")
            return
        try:
            kind, value = _read(line)
            if number == 1 or kind == "header":
                self._header(number, kind, value)
            elif kind == "stream":
                self._stream_line(value)
            elif kind == "event":
                self._event_line(value)
            else:
                self._end_line(value)
        except _NotWritten as error:
            self._hash = None
            self._say(f"is not as it was written: {error}")
        self._total.update(line)

    def close(self) -> None:
        """There are no more lines."""
        if not self._number:
            self.fault("the file is empty")
        elif not self._ended:
            self.fault("the file is cut: its end is missing")

    def _say(self, what: str) -> None:
        self.fault(f"line {self._number}: {what}")

    # --- line by line ---

    def _header(self, number: int, kind: str, value: dict[str, Any]) -> None:
        if kind != "header":
            self._say("the header is missing")
        elif number != 1:
            self._say("the header comes again")
        else:
            self.report.cluster_id = value["cluster_id"]
            self.report.revision = value["revision"]
            self.report.prefix = value["prefix"]

    def _stream_line(self, value: dict[str, Any]) -> None:
        info = _message(StreamInfo(), value)
        name, last = info.stream_id, next(reversed(self._streams), "")
        if self.report.events or self._stream is not None:
            self._say(f"stream {name} comes behind events")
            return
        if name in self._streams:
            self._say(f"stream {name} comes twice")
            return
        if name < last:
            self._say(f"stream {name} comes out of order, behind {last}")
        if not name.startswith(self.report.prefix):
            self._say(f"stream {name} does not begin with {self.report.prefix!r}")
        self._streams[name] = info
        self.report.streams += 1
        self._bounds(info)

    def _bounds(self, info: StreamInfo) -> None:
        """A stream's own line: where it says that it begins and ends."""
        truncated = info.first_seq > 1
        self.report.truncated += truncated
        if not 0 < info.first_seq <= info.last_seq + 1:
            self._say(f"stream {info.stream_id} cannot begin at {info.first_seq}")
        if truncated != bool(info.base_hash):
            what = "no base" if truncated else "a base, though nothing was truncated"
            self._say(f"stream {info.stream_id} has {what}")
        if info.first_seq > info.last_seq and info.base_hash != info.last_hash:
            self._say(f"stream {info.stream_id} is empty, and does not end as its base does")

    def _event_line(self, value: dict[str, Any]) -> None:
        event = _message(Event(), value)
        self.report.events += 1
        name = event.stream_id
        here = self._stream is not None and self._stream.stream_id == name
        if not here and not self._move_to(event):
            return
        assert self._stream is not None
        if event.seq < self._next:
            self._say(f"event {event.seq} of {name} comes twice, or out of order")
            return
        if event.seq > self._next:
            self._gap(self._next, event.seq - 1)
            self._hash = None
        if event.seq > self._stream.last_seq:
            self._say(f"event {event.seq} of {name} is behind the end of its stream")
        if self._hash is not None and event_hash(self._hash, event) != event.hash:
            first = event.seq == self._stream.first_seq and event.seq > 1
            base = ", or the base of its stream" if first else ""
            self._say(f"event {event.seq} of {name} is not what was written{base}")
        self._next, self._hash = event.seq + 1, event.hash

    def _move_to(self, event: Event) -> bool:
        """The events of another stream begin; whether it is one whose turn has come."""
        if self._stream is None:
            self._waiting = iter(list(self._streams.values()))
        name = event.stream_id
        if name not in self._streams:
            self._say(f"event {event.seq} is of stream {name}, which was not announced")
            return False
        if self._stream is not None and self._at(name) < self._at(self._stream.stream_id):
            self._say(f"event {event.seq} of {name} comes out of order")
            return False
        while self._stream is None or self._stream.stream_id != name:
            self._leave()
            self._enter(next(self._waiting))
        return True

    def _at(self, name: str) -> int:
        if not self._places:  # streams come before all events
            self._places = {one: place for place, one in enumerate(self._streams)}
        return self._places[name]

    def _enter(self, info: StreamInfo) -> None:
        self._stream = info
        self._next = info.first_seq
        self._hash = info.base_hash if info.first_seq > 1 else GENESIS

    def _leave(self) -> None:
        """No more events of the stream at hand will come: did it end as it should?"""
        info = self._stream
        if info is None:
            return
        if self._next <= info.last_seq:
            self._gap(self._next, info.last_seq)
        elif self._hash is not None and info.last_seq and self._hash != info.last_hash:
            self._say(f"stream {info.stream_id} does not end as it says: its last hash differs")

    def _gap(self, first: int, last: int) -> None:
        assert self._stream is not None
        which = f"event {first}" if first == last else f"events {first} to {last}"
        self._say(f"{which} of {self._stream.stream_id} missing before this line")

    def _end_line(self, value: dict[str, Any]) -> None:
        file_hash = value.pop("file_hash", None)
        end = _message(AuditEnd(), value)
        if self._stream is None:
            self._waiting = iter(list(self._streams.values()))
        self._leave()
        for info in self._waiting:
            self._enter(info)
            self._leave()
        self._ended, self._end_at = True, self._number
        self.report.head = end.head.hex()
        head = blake2b(digest_size=32)
        for name, info in self._streams.items():
            for part in (name.encode(), info.last_hash):
                head.update(len(part).to_bytes(8, "big") + part)
        for what, claimed, found in (
            ("streams", end.streams, self.report.streams),
            ("events", end.events, self.report.events),
        ):
            if claimed != found:
                self._say(f"the file holds {found} {what}; its end says {claimed}")
        if head.digest() != end.head:
            self._say("the chain's head is not the one of these streams")
        if file_hash != self._total.hexdigest():
            self._say("a line before the end is not what was written: the file's hash differs")


def _read(line: bytes) -> tuple[str, Any]:
    """What kind of line it is, and what it holds."""
    try:
        value = json.loads(line)
        if _line(value) != line:
            raise _NotWritten("it is written in another way")
    except (ValueError, RecursionError) as error:
        raise _NotWritten(str(error)) from error
    if isinstance(value, dict) and tuple(value) == _HEADER:
        if value["raftstate_audit"] != FORMAT:
            raise _NotWritten(f"format {value['raftstate_audit']!r} is not known here")
        wrong = [
            name
            for name, kind in zip(_HEADER, (int, str, int, int, str), strict=True)
            if type(value[name]) is not kind
        ]
        if wrong:
            raise _NotWritten(f"{wrong[0]} is not what it should be")
        return "header", value
    if isinstance(value, dict) and len(value) == 1:
        [(kind, held)] = value.items()
        if kind in ("stream", "event", "end") and isinstance(held, dict):
            return kind, held
    raise _NotWritten("it is no line of an audit")


def _message(message: Any, value: dict[str, Any]) -> Any:
    """A message from its fields, all of which must be there that are always written."""
    known = [one.name for one in message.DESCRIPTOR.fields if one.name not in _SHOWN]
    if list(value) != [name for name in known if name in value or name not in _SELDOM]:
        raise _NotWritten("its fields are others")
    try:
        for name, held in value.items():
            kind = type(getattr(message, name))
            if type(held) is not (str if kind is bytes else kind):
                raise _NotWritten(f"{name} is not what it should be")
            if kind is bytes:
                raw = b64decode(held, validate=True) if name == "data" else bytes.fromhex(held)
                held = raw  # noqa: PLW2901  # the same, as the message has it
            setattr(message, name, held)
    except (ValueError, TypeError, OverflowError) as error:
        raise _NotWritten(str(error)) from error
    if _fields(message) != value:
        raise _NotWritten("a field is written in another way")
    return message
