"""The files of the segment log: heads, frames, the mark, and how each is checked.

A segment is a file of a fixed size, allocated when it is made, so that what was never
written reads as zeros and a sync has no length to record:

    head     4 KiB, sealed: whose log, which file, and what all files before it come to
    frames   one a commit, without gaps, each a header and a body of records
    zeros    to the end of the file

A frame's header holds the file's random salt, the frame's number, the length and the
checksum of its body, and a checksum of itself with the file's number and its offset: a
frame is valid only where it was written, in the life of the file that it was written in.
Frames are numbered through all files. Each record of a body has a checksum of its own,
which is compared again whenever it is read.

The mark is a small file with the number of the newest frame whose sync is known to have
returned. What it is for: see `raftstate.storage.segment_log`.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c
from google.protobuf.message import DecodeError

from raftstate.core.ports import Damage, WrongStore
from raftstate.storage.files import FILE_MODE, rename_durably
from raftstate.storage.marks import write_at
from raftstate.storage.records import CRC_BYTES, seal, unseal
from raftstate.v1 import disk_pb2

LAYOUT = 1
SEGMENT_BYTES = 64 << 20
HEAD_BYTES = 4096
SALT_BYTES = 8
MARK = "mark"
# What a file is called before it is whole.
UNFINISHED = ".new"
_NAME = re.compile(r"segment-([0-9a-f]{16})")

_HEAD_KEY = b"segment head"
_HEAD_LENGTH = struct.Struct(">I")
# Salt, number, length of the body, checksum of the body.
_FRAME = struct.Struct(f">{SALT_BYTES}sQII")
_FRAME_KEY = struct.Struct(">QQ")
FRAME_HEADER_BYTES = _FRAME.size + CRC_BYTES
# Length of what follows, kind.
RECORD = struct.Struct(">Ic")
RECORD_HEADER_BYTES = RECORD.size

_PIECE_BYTES = 1 << 20
_ZEROS = bytes(_PIECE_BYTES)


# --- files -------------------------------------------------------------------


def segment_path(folder: Path, number: int) -> Path:
    """Where the file of this number is."""
    return folder / f"segment-{number:016x}"


def segment_numbers(folder: Path) -> list[int]:
    """The numbers of the files in a folder, in order."""
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match[1], 16) for match in found if match is not None)


def is_segment_log(folder: Path) -> bool:
    """Whether a folder holds a log of segments, whole or not."""
    return folder.is_dir() and ((folder / MARK).exists() or bool(segment_numbers(folder)))


class SegmentFile:
    """One file, open. Errors of the operating system pass through."""

    def __init__(self, path: Path, head: disk_pb2.SegmentHead, handle: int) -> None:
        self.path = path
        self.head = head
        self._handle = handle

    @property
    def number(self) -> int:
        """The file's number."""
        return self.head.number

    @property
    def size(self) -> int:
        """The size that the file has, from its making on."""
        return self.head.size_bytes

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes at an offset; fewer at the file's end."""
        pieces: list[bytes] = []
        while size > 0 and (piece := os.pread(self._handle, size, offset)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at an offset; they are durable after `sync`."""
        write_at(self._handle, offset, data)

    def write_zeros(self, offset: int, size: int) -> None:
        """Put zeros at an offset; as `write`."""
        for at in range(offset, offset + size, _PIECE_BYTES):
            self.write(at, _ZEROS[: offset + size - at])

    def sync(self) -> None:
        """Make durable what was written. Never to be called again after it failed: the
        operating system may have dropped what it could not write."""
        os.fdatasync(self._handle)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)


def create_segment(folder: Path, head: disk_pb2.SegmentHead) -> SegmentFile:
    """Make a file of the size that its head says. Under its name it is whole and durable."""
    path = segment_path(folder, head.number)
    staged = path.with_name(path.name + UNFINISHED)
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    handle = os.open(staged, flags, FILE_MODE)
    try:
        os.posix_fallocate(handle, 0, head.size_bytes)
        write_at(handle, 0, _encode_head(head))
        os.fsync(handle)
        rename_durably(staged, path)
    except BaseException:
        os.close(handle)
        raise
    return SegmentFile(path, head, handle)


def open_segment(folder: Path, number: int, *, writable: bool = True) -> SegmentFile:
    """Open a file by its number. Raises Damage if it cannot be one that was made."""
    path = segment_path(folder, number)
    handle = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
    try:
        head = _decode_head(path, os.pread(handle, HEAD_BYTES, 0))
        if head.number != number:
            raise Damage(f"{path} at 0: this is the head of segment {head.number:016x}")
        size = os.fstat(handle).st_size
        if size != head.size_bytes:
            raise Damage(f"{path} at {size}: the file ends, and had {head.size_bytes} bytes")
    except BaseException:
        os.close(handle)
        raise
    return SegmentFile(path, head, handle)


def _encode_head(head: disk_pb2.SegmentHead) -> bytes:
    """The head, sealed together with the zeros that fill it up."""
    record = head.SerializeToString(deterministic=True)
    content = _HEAD_LENGTH.pack(len(record)) + record
    assert len(content) + CRC_BYTES <= HEAD_BYTES, "names have bounds that keep a head small"
    return seal(_HEAD_KEY, content.ljust(HEAD_BYTES - CRC_BYTES, b"\0"))


def _decode_head(path: Path, stored: bytes) -> disk_pb2.SegmentHead:
    content = unseal(_HEAD_KEY, stored, f"{path} at 0: the head")
    try:
        (length,) = _HEAD_LENGTH.unpack_from(content)
        head = disk_pb2.SegmentHead.FromString(
            content[_HEAD_LENGTH.size : _HEAD_LENGTH.size + length]
        )
    except (struct.error, DecodeError) as error:
        raise Damage(f"{path} at 0: the head makes no sense: {error}") from error
    if head.layout != LAYOUT:
        raise WrongStore(f"{path} has layout {head.layout}; wanted is layout {LAYOUT}")
    return head


# --- frames ------------------------------------------------------------------


def record(kind: bytes, value: bytes) -> bytes:
    """One record as it stands in the body of a frame."""
    sealed = seal(kind, value)
    return RECORD.pack(len(sealed), kind) + sealed


def open_record(kind: bytes, stored: bytes, where: str) -> bytes:
    """The value of a record of a known kind. Raises Damage, saying where."""
    if stored[:RECORD_HEADER_BYTES] != RECORD.pack(len(stored) - RECORD_HEADER_BYTES, kind):
        raise Damage(f"{where}: the record is damaged")
    return unseal(kind, stored[RECORD_HEADER_BYTES:], f"{where}: the record")


class Frame(NamedTuple):
    """One commit, and the offset in the file at which it begins."""

    number: int
    body: bytes
    offset: int

    @property
    def body_offset(self) -> int:
        """The offset at which its body begins."""
        return self.offset + FRAME_HEADER_BYTES

    @property
    def end(self) -> int:
        """The offset at which the next frame begins."""
        return self.body_offset + len(self.body)


class Later(NamedTuple):
    """A frame that was written only after what stands before it was durable."""

    number: int
    offset: int


def encode_frame(head: disk_pb2.SegmentHead, offset: int, number: int, body: bytes) -> bytes:
    """A frame as it stands in a file, at this offset and no other."""
    packed = _FRAME.pack(head.salt, number, len(body), google_crc32c.value(body))
    # The checksum behind the header, so that a frame begins with its file's salt.
    return packed + _header_crc(head, offset, packed) + body


def _header_crc(head: disk_pb2.SegmentHead, offset: int, packed: bytes) -> bytes:
    return seal(_FRAME_KEY.pack(head.number, offset), packed)[:CRC_BYTES]


class FrameHeader(NamedTuple):
    """A frame's header that has its checksum."""

    number: int
    length: int
    body_crc: int

    def vouches_for(self, body: bytes) -> bool:
        """Whether a body is the one that was written with it."""
        return len(body) == self.length and google_crc32c.value(body) == self.body_crc


def parse_header(head: disk_pb2.SegmentHead, stored: bytes, offset: int) -> FrameHeader | None:
    """The header that stands at an offset of a file, if it is a whole one."""
    packed = stored[: _FRAME.size]
    if len(stored) < FRAME_HEADER_BYTES or not packed.startswith(head.salt):
        return None
    if stored[_FRAME.size : FRAME_HEADER_BYTES] != _header_crc(head, offset, packed):
        return None
    _, number, length, body_crc = _FRAME.unpack(packed)
    return FrameHeader(number, length, body_crc)


class Scan:
    """Reads the frames of one file, and says what stands behind the last."""

    def __init__(self, segment: SegmentFile) -> None:
        self._segment = segment
        self._head = segment.head
        self._data = segment.read(0, segment.size)
        self.end = HEAD_BYTES
        self.next_number = self._head.first_frame
        self.last: Frame | None = None

    def frames(self) -> Iterator[Frame]:
        """The valid frames, in order, up to the first that is not."""
        while (frame := self._frame_at(self.end)) is not None:
            self.end = frame.end
            self.next_number += 1
            self.last = frame
            yield frame

    def all_frames(self) -> Iterator[Frame]:
        """Every valid frame, also those behind damage."""
        offset = HEAD_BYTES
        while (offset := self._data.find(self._head.salt, offset)) >= 0:
            header = self._header_at(offset)
            frame = None if header is None else self._body_of(header, offset)
            if frame is not None:
                yield frame
            offset = offset + 1 if frame is None else frame.end

    def garbage(self) -> int:
        """How many bytes behind the last frame are not known to be untouched."""
        last = len(self._data)
        while last - _PIECE_BYTES >= self.end and self._data.startswith(
            _ZEROS, last - _PIECE_BYTES
        ):
            last -= _PIECE_BYTES
        return len(self._data[self.end : last].rstrip(b"\0"))

    def later_frame(self) -> Later | None:
        """A frame behind the end whose header is whole, if any."""
        offset = self.end
        while (offset := self._data.find(self._head.salt, offset)) >= 0:
            header = self._header_at(offset)
            if header is not None and header.number > self.next_number:
                return Later(header.number, offset)
            offset += 1
        return None

    def _frame_at(self, offset: int) -> Frame | None:
        header = self._header_at(offset)
        if header is None or header.number != self.next_number:
            return None
        return self._body_of(header, offset)

    def _header_at(self, offset: int) -> FrameHeader | None:
        stored = self._data[offset : offset + FRAME_HEADER_BYTES]
        return parse_header(self._head, stored, offset)

    def _body_of(self, header: FrameHeader, offset: int) -> Frame | None:
        start = offset + FRAME_HEADER_BYTES
        body = self._data[start : start + header.length]
        return Frame(header.number, body, offset) if header.vouches_for(body) else None
