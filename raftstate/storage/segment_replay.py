"""What the records of a segment log come to: applied at the opening, frame after frame.

Kinds of record: `H` term and vote, at the head of each frame; `N` the incarnation; `E` an
entry; `T` a truncation, with where the log ends then; `C` a base within the log; `R` a
base from outside, which leaves no entry.
"""

from __future__ import annotations

import struct
from array import array
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from raftstate.core.ports import Base, Damage, Entry, HardState
from raftstate.core.types import Index, MemberId, Position, Term
from raftstate.storage.entry_cache import Held
from raftstate.storage.records import CRC_BYTES
from raftstate.storage.segments import (
    RECORD,
    RECORD_HEADER_BYTES,
    Frame,
    SegmentFile,
    open_record,
    record,
)
from raftstate.v1 import disk_pb2

HARD_STATE, INCARNATION, ENTRY, TRUNCATION, CUT, RESET = b"H", b"N", b"E", b"T", b"C", b"R"
# Index, term, running total of data bytes up to and with it.
_ENTRY = struct.Struct(">QQQ")
# What an entry's record has beside the data: in all, and behind its length.
_ENTRY_FRAMING = CRC_BYTES + _ENTRY.size
ENTRY_OVERHEAD_BYTES = RECORD_HEADER_BYTES + _ENTRY_FRAMING
_ENTRY_AT = RECORD_HEADER_BYTES + CRC_BYTES

_Message = TypeVar("_Message", bound=Message)


class End(NamedTuple):
    """Where a log ends, or begins, and the running total of data bytes there."""

    position: Position
    end_bytes: int


class Place(NamedTuple):
    """Where a record stands."""

    segment: int
    offset: int


class EntryIndex:
    """Term, end and place of each entry after `before`, 24 bytes an entry."""

    def __init__(self, before: End) -> None:
        self.before = before
        self._terms = array("Q")
        self._ends = array("Q")
        self._places = array("Q")

    @property
    def last(self) -> End:
        """Where the newest entry is; `before` where there is none."""
        if not self._terms:
            return self.before
        index = self.before.position.index + len(self._terms)
        return End(Position(Index(index), Term(self._terms[-1])), self._ends[-1])

    def end_at(self, index: int) -> End | None:
        """The end of the log if it ended with `index`; None outside."""
        at = index - self.before.position.index - 1
        if at == -1:
            return self.before
        if not 0 <= at < len(self._terms):
            return None
        return End(Position(Index(index), Term(self._terms[at])), self._ends[at])

    def place_at(self, index: int) -> Place:
        """Where the record of an entry stands."""
        return Place(*divmod(self._places[index - self.before.position.index - 1], 1 << 32))

    def size_at(self, index: int) -> int:
        """The bytes of data of an entry."""
        at = index - self.before.position.index - 1
        return self._ends[at] - (self._ends[at - 1] if at else self.before.end_bytes)

    def append(self, term: int, end_bytes: int) -> None:
        """The next entry; where it will stand is not known yet."""
        self._terms.append(term)
        self._ends.append(end_bytes)
        self._places.append(0)

    def put_place(self, index: int, segment: int, offset: int) -> None:
        """Say where the record of an entry stands, if the log has that entry."""
        at = index - self.before.position.index - 1
        if 0 <= at < len(self._places):
            self._places[at] = (segment << 32) + offset

    def load(self, index: int, term: int, end_bytes: int, size: int, place: int) -> bool:
        """As `append`, for an entry that was stored; says whether it follows the last."""
        terms, ends = self._terms, self._ends
        if terms:
            last_term, last_end = terms[-1], ends[-1]
        else:
            last_term, last_end = self.before.position.term, self.before.end_bytes
        if (
            index != self.before.position.index + len(terms) + 1
            or term < last_term
            or end_bytes != last_end + size
        ):
            return False
        terms.append(term)
        ends.append(end_bytes)
        self._places.append(place)
        return True

    def truncate(self, end: End) -> None:
        """Remove what follows an end."""
        keep = end.position.index - self.before.position.index
        if keep <= 0:
            self.before = end
        for column in self._columns():
            del column[max(keep, 0) :]

    def cut(self, before: End) -> None:
        """Remove what stands up to and with `before`, unless it is gone already."""
        gone = before.position.index - self.before.position.index
        if gone > 0:
            self.before = before
            for column in self._columns():
                del column[:gone]

    def restart(self, before: End) -> None:
        """Remove everything, and begin after `before`."""
        self.before = before
        for column in self._columns():
            del column[:]

    def _columns(self) -> tuple[array[int], array[int], array[int]]:
        return self._terms, self._ends, self._places


class Replay:
    """What a log comes to, one record after the other. Raises Damage where a record does
    not fit what stands before it."""

    def __init__(self, head: disk_pb2.SegmentHead) -> None:
        """Begin where the files before one come to an end."""
        self.next_frame = head.first_frame
        self.hard_state = hard_state_of(head.hard_state)
        self.incarnation = head.incarnation.count
        self.base = base_of(head.base)
        self.base_end = End(self.base.position, head.base.end_bytes)
        self.index = EntryIndex(end_of(head.last))
        self._newest_hard_state = b""

    def agrees_with(self, head: disk_pb2.SegmentHead) -> bool:
        """Whether a file's head says what the files before it came to."""
        return (
            self.next_frame == head.first_frame
            and self.hard_state == hard_state_of(head.hard_state)
            and self.incarnation == head.incarnation.count
            and base_record(self.base, self.base_end.end_bytes) == head.base
            and self.index.last == end_of(head.last)
        )

    def take(self, frame: Frame, segment: SegmentFile) -> None:
        """Take in one frame, whose checksum was compared: that of each entry is not, here."""
        try:
            end = self._take(frame, segment)
        except struct.error as error:
            raise Damage(f"{segment.path} at {frame.offset}: half a record: {error}") from error
        if end != len(frame.body):
            raise Damage(f"{segment.path} at {frame.offset}: half a record ends the frame")
        self.next_frame += 1

    def _take(self, frame: Frame, segment: SegmentFile) -> int:
        """The loop that opening a log takes its time in; answers where records end."""
        body, at, size = frame.body, 0, len(frame.body)
        places = (segment.number << 32) + frame.body_offset
        while at < size:
            length, kind = RECORD.unpack_from(body, at)
            if kind == ENTRY and length >= _ENTRY_FRAMING:
                index, term, end_bytes = _ENTRY.unpack_from(body, at + _ENTRY_AT)
                data = length - _ENTRY_FRAMING
                if not self.index.load(index, term, end_bytes, data, places + at):
                    where = f"{segment.path} at {frame.body_offset + at}"
                    last = self.index.last
                    raise Damage(f"{where}: {index} of term {term} cannot follow {last}")
            else:
                where = f"{segment.path} at {frame.body_offset + at}"
                self._apply(kind, body[at : at + RECORD_HEADER_BYTES + length], where)
            at += RECORD_HEADER_BYTES + length
        return at

    def _apply(self, kind: bytes, stored: bytes, where: str) -> None:
        """Take in a record that is no entry."""
        if kind == HARD_STATE and stored == self._newest_hard_state:
            return  # it stands in each frame, and mostly says the same
        value = open_record(kind, stored, where)
        if kind == HARD_STATE:
            self.hard_state = hard_state_of(_parse(disk_pb2.HardState(), value, where))
            self._newest_hard_state = stored
        elif kind == INCARNATION:
            self.incarnation = _parse(disk_pb2.Incarnation(), value, where).count
        elif kind == TRUNCATION:
            self._truncate(end_of(_parse(disk_pb2.LogEnd(), value, where)), where)
        elif kind in {CUT, RESET}:
            self._set_base(kind, _parse(disk_pb2.LogBase(), value, where), where)
        else:
            raise Damage(f"{where}: a record of unknown kind {kind!r}")

    def _truncate(self, end: End, where: str) -> None:
        index = end.position.index
        known = self.index.end_at(index)
        if index >= self.index.before.position.index and known != end:
            raise Damage(f"{where}: the log is truncated to {end}, where it has {known}")
        self.index.truncate(end)

    def _set_base(self, kind: bytes, stored: disk_pb2.LogBase, where: str) -> None:
        self.base = base_of(stored)
        self.base_end = End(self.base.position, stored.end_bytes)
        if kind == RESET:
            self.index.restart(self.base_end)
            return
        index = self.base.position.index
        known = self.index.end_at(index)
        if index >= self.index.before.position.index and known != self.base_end:
            raise Damage(f"{where}: the log is cut at {self.base_end}, where it has {known}")
        self.index.cut(self.base_end)


def hard_state_in(frame: Frame, where: str) -> disk_pb2.HardState:
    """Term and vote as a frame has them. Raises Damage."""
    length, _ = RECORD.unpack_from(frame.body)
    value = open_record(HARD_STATE, frame.body[: RECORD_HEADER_BYTES + length], where)
    return _parse(disk_pb2.HardState(), value, where)


# --- records -----------------------------------------------------------------


def entry_record(held: Held) -> bytes:
    """An entry as it is stored."""
    index, term, data = held.entry
    return record(ENTRY, _ENTRY.pack(index, term, held.end_bytes) + data)


def open_entry(stored: bytes, index: Index, where: str) -> Held:
    """The entry that a record holds. Raises Damage if it is another one, or damaged."""
    value = open_record(ENTRY, stored, where)
    found, term, end_bytes = _ENTRY.unpack_from(value)
    if found != index:
        raise Damage(f"{where}: this is entry {found}")
    return Held(Entry(index, Term(term), value[_ENTRY.size :]), end_bytes)


def message_record(kind: bytes, message: Message) -> bytes:
    """Anything but an entry, as it is stored."""
    return record(kind, message.SerializeToString(deterministic=True))


def hard_state_record(hard_state: HardState) -> disk_pb2.HardState:
    """Term and vote as they are stored."""
    return disk_pb2.HardState(
        term=hard_state.term, vote=hard_state.vote or "", settled=hard_state.settled
    )


def hard_state_of(stored: disk_pb2.HardState) -> HardState:
    """Term and vote as they were stored."""
    vote = MemberId(stored.vote) if stored.vote else None
    return HardState(Term(stored.term), vote, stored.settled)


def base_record(base: Base, end_bytes: int) -> disk_pb2.LogBase:
    """A base as it is stored."""
    index, term = base.position
    return disk_pb2.LogBase(index=index, term=term, snapshot=base.snapshot, end_bytes=end_bytes)


def base_of(stored: disk_pb2.LogBase) -> Base:
    """A base as it was stored."""
    return Base(Position(Index(stored.index), Term(stored.term)), stored.snapshot)


def end_record(end: End) -> disk_pb2.LogEnd:
    """An end of the log as it is stored."""
    index, term = end.position
    return disk_pb2.LogEnd(index=index, term=term, end_bytes=end.end_bytes)


def end_of(stored: disk_pb2.LogEnd) -> End:
    """An end of the log as it was stored."""
    return End(Position(Index(stored.index), Term(stored.term)), stored.end_bytes)


def _parse(message: _Message, value: bytes, where: str) -> _Message:
    try:
        message.ParseFromString(value)
    except DecodeError as error:
        raise Damage(f"{where}: the record makes no sense: {error}") from error
    return message
