"""Reading a segment log that is not one's own: one that may be damaged, or is in use."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from raftstate.core.ports import Damage, WrongStore
from raftstate.storage.marks import read_mark
from raftstate.storage.segment_replay import hard_state_in
from raftstate.storage.segments import (
    FRAME_HEADER_BYTES,
    HEAD_BYTES,
    MARK,
    Scan,
    SegmentFile,
    open_segment,
    parse_header,
    segment_numbers,
    segment_path,
)
from raftstate.v1 import disk_pb2

_SLICE_BYTES = 256 << 10
# The mark may be read while it is written, and twice running that is no accident.
_MARK_READS = 3


# --- one that may be damaged ---------------------------------------------------


def read_owner(
    folder: Path,
) -> tuple[disk_pb2.DiskIdentity | None, disk_pb2.HardState | None]:
    """What a log that may be damaged says of its owner: each record, if it is sound.

    Every frame holds term and vote, so those of the newest frame count; but only if no
    newer frame is known to have been synced. Changes nothing."""
    identity: disk_pb2.DiskIdentity | None = None
    hard_state: disk_pb2.HardState | None = None
    numbers = segment_numbers(folder)
    for number in reversed(numbers):
        try:
            segment = open_segment(folder, number, writable=False)
        except (Damage, WrongStore):
            continue
        try:
            identity = segment.head.identity
            if number == numbers[-1]:
                hard_state = _newest_hard_state(folder, segment)
        finally:
            segment.close()
        break
    return identity, hard_state


def _newest_hard_state(folder: Path, newest: SegmentFile) -> disk_pb2.HardState | None:
    """The hard state of the newest frame, unless the mark names a newer one."""
    number, found = newest.head.first_frame - 1, newest.head.hard_state
    scan = Scan(newest)
    try:
        durable = read_mark(folder / MARK, newest.head.identity.disk_id)
        for frame in scan.all_frames():
            if frame.number > number:
                where = f"{newest.path} at {frame.body_offset}"
                number, found = frame.number, hard_state_in(frame, where)
    except Damage:
        return None
    return found if number >= durable else None


# --- one that is in use --------------------------------------------------------


def check_slices(folder: Path) -> Generator[int, None, None]:
    """Read every frame of a log that another process may be writing to, a slice at a
    time; yields how many bytes each slice had.

    Looks at frames that were synced when it began. Raises Damage for a wrong checksum, a
    gap, or a file that is missing or does not follow the one before.
    """
    durable = _read_mark(folder)
    numbers = segment_numbers(folder)
    following: int | None = None
    for number in numbers:
        try:
            segment = open_segment(folder, number, writable=False)
        except FileNotFoundError:
            if following is None:
                continue  # the log was cut meanwhile, and its oldest files are removed
            raise Damage(f"{segment_path(folder, number)} is missing") from None
        try:
            first = segment.head.first_frame
            if following is not None and first != following:
                raise Damage(f"{segment.path} at 0: it does not follow the file before it")
            following = yield from _check_frames(segment, durable, number < numbers[-1])
        finally:
            segment.close()
    if following is not None and following <= durable:
        raise Damage(f"{folder} ends with frame {following - 1}; {durable} was synced")


def _read_mark(folder: Path) -> int:
    for attempt in range(1, _MARK_READS + 1):
        numbers = segment_numbers(folder)
        if not numbers:
            raise Damage(f"{segment_path(folder, 1)} is missing, and all after it")
        try:
            newest = open_segment(folder, numbers[-1], writable=False)
            newest.close()
            return read_mark(folder / MARK, newest.head.identity.disk_id)
        except (Damage, FileNotFoundError):
            if attempt == _MARK_READS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _check_frames(
    segment: SegmentFile, durable: int, is_full: bool
) -> Generator[int, None, int]:
    """Check the frames of one file; answers with the number of the frame after them."""
    number, offset, size = segment.head.first_frame, HEAD_BYTES, HEAD_BYTES
    while number <= durable:
        stored = segment.read(offset, FRAME_HEADER_BYTES)
        if is_full and not stored.strip(b"\0"):
            break  # a full file; the next one goes on
        header = parse_header(segment.head, stored, offset)
        body = b"" if header is None else segment.read(offset + len(stored), header.length)
        if header is None or header.number != number or not header.vouches_for(body):
            raise Damage(f"{segment.path} at {offset}: frame {number} is damaged")
        number += 1
        offset += len(stored) + len(body)
        size += len(stored) + len(body)
        if size >= _SLICE_BYTES:
            yield size
            size = 0
    yield size
    return number
