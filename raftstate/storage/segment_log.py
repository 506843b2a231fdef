"""The durable log as files that are only appended to: one sync a commit.

A commit is one frame (see `raftstate.storage.segments`): all records of a tick behind the
term and the vote, written at the end of the newest file and made durable with one
`fdatasync` of that file, which was allocated in full when it was made. A truncation and a
base are records like any other, so they hold from the commit on that holds the entries
after them, and nothing that was removed can come back: what is read is what all records
come to, in order. A full file is followed by a new one, whose head says what all before
it came to, and a file is removed once a durable base has overtaken all entries in it.

What counts as durable. Two things vouch for a frame:

- *a frame after it*, or a file after its file: each was written only after the sync of
  the frame before had returned;
- *the mark*, with the number of the newest frame whose sync has returned. It is written
  after each sync and is not synced itself, so it is exact after a process was killed and
  after a clean stop (which syncs it), and out of date by any amount after a loss of power.

So a frame that is not whole is a torn tail if and only if nothing vouches for it: it is
the last, no valid header of a later frame stands behind it, no later file exists and the
mark does not name it. A torn tail is cut off at the opening and `repaired` says so. All
else is `Damage`: a frame that is not whole or is missing and is vouched for, a file that
is missing, shorter or another's, a head, a mark or a record with a wrong checksum, what
does not follow what stands before it, and anything but zeros behind the frames of a file
that is not the newest.

Why a loss of power never cuts off what was acknowledged: a commit is acknowledged when
its sync has returned, and then all its bytes are on the disk. Later writes touch only
bytes behind them; the sector that they share with the next frame is written anew with the
same bytes in that part, and a disk writes a sector as a whole or not at all. So such a
frame is found valid, and frames that are found valid are never cut off.

What is not detected: damage of the very last frame, by the medium and not by a loss of
power, if the mark was lost as well; it looks like a write that was cut short. That takes a
loss of power within the half minute in which the kernel writes the mark back, no commit
after it, and a fault of the disk in just that frame. And a folder that was put back
whole, as it was at an earlier time, is a log like any other.

At the opening the last frame is written again and synced before anything is appended: a
frame that is only in the page cache, because the process was killed, or because a sync
failed and the process ended of it, is vouched for by the next one from then on. What is
cut off is overwritten with zeros, durably, before the next frame is written.

Opening reads all of the log: some seconds for each gigabyte.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import Message

from raftstate.core.ports import Base, Damage, Entry, HardState, Identity, StorageError
from raftstate.core.types import ORIGIN, Index, MemberId, Position, Term
from raftstate.storage.entry_cache import CACHE_BYTES, WARM_BYTES, EntryCache, Held
from raftstate.storage.files import (
    make_folder,
    remove_tree,
    rename_durably,
    storage_errors,
    sync_folder,
)
from raftstate.storage.identities import check_identity, identity_record
from raftstate.storage.marks import Mark
from raftstate.storage.segment_replay import (
    CUT,
    ENTRY_OVERHEAD_BYTES,
    HARD_STATE,
    INCARNATION,
    RESET,
    TRUNCATION,
    End,
    EntryIndex,
    Replay,
    base_record,
    end_record,
    entry_record,
    hard_state_record,
    message_record,
    open_entry,
)
from raftstate.storage.segments import (
    FRAME_HEADER_BYTES,
    HEAD_BYTES,
    LAYOUT,
    MARK,
    SALT_BYTES,
    SEGMENT_BYTES,
    UNFINISHED,
    Scan,
    SegmentFile,
    create_segment,
    encode_frame,
    open_segment,
    segment_numbers,
    segment_path,
)
from raftstate.storage.space import Use
from raftstate.v1 import disk_pb2

_PAGE_BYTES = 4096
# How much space ahead of the frames is written with zeros at a time. A file system has to
# record the first write to a block that was only allocated, which makes a sync two.
_AHEAD_BYTES = 256 << 10


class _Durable(NamedTuple):
    """What all frames so far come to, as the head of the next file says it."""

    hard_state: HardState
    base: Base
    before: End
    last: End


class _Record(NamedTuple):
    """A record of the next commit, and the index if it is an entry's."""

    data: bytes
    entry: Index | None = None


class SegmentLog:
    """A `ports.Log` in one folder. Every method belongs to one thread at a time.

    `repaired` says what the opening cut off; it is empty if there was nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cluster_id: str,
        member_id: MemberId,
        segment_bytes: int = SEGMENT_BYTES,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Open the log of a member. Raises WrongStore if the folder is another's, and
        Damage if it does not hold what was committed."""
        self.repaired = ""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._failed: str | None = None
        self._hard_state = HardState(Term(0), None)
        self._base = Base(ORIGIN, "")
        self._index = EntryIndex(End(ORIGIN, 0))
        self._durable = self._present()
        self._segments: dict[int, SegmentFile] = {}
        self._mark: Mark | None = None
        self._cache = EntryCache(cache_bytes)
        self._records: list[_Record] = []
        self._staged: dict[int, Held] = {}
        # Where the next frame goes, and its number; and up to where zeros were written.
        self._end = self._written_to = HEAD_BYTES
        self._next_frame = 1
        try:
            with storage_errors(f"cannot open the log {folder}"):
                self._open(cluster_id, member_id)
        except BaseException:
            self._release()
            raise

    @staticmethod
    def create(folder: Path, identity: Identity, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Make an empty log. Under its final name it is whole and durable."""
        staged = folder.with_name(folder.name + UNFINISHED)
        with storage_errors(f"cannot make {folder}"):
            remove_tree(staged)
            make_folder(staged)
            head = disk_pb2.SegmentHead(identity=identity_record(identity))
            _make_segment(staged, head, number=1, first_frame=1, size=segment_bytes).close()
            Mark.create(staged / MARK, identity.disk_id)
            sync_folder(staged)
            rename_durably(staged, folder)

    # --- what stands in memory -----------------------------------------------

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def incarnation(self) -> int:
        return self._incarnation

    @property
    def hard_state(self) -> HardState:
        return self._hard_state

    @property
    def base(self) -> Base:
        return self._base

    @property
    def last(self) -> Position:
        return self._index.last.position

    @property
    def size_bytes(self) -> int:
        return self._index.last.end_bytes - self._index.before.end_bytes

    # --- reads ---------------------------------------------------------------

    def use(self) -> Use:
        """It has no map, and its files are of a fixed size."""
        return Use(map_bytes=1, used_bytes=0, spare_bytes=0)

    def forget_dead_readers(self) -> None:
        """Who reads the files leaves no trace in them."""

    def term_at(self, index: Index) -> Term | None:
        end = self._index.end_at(index)
        return None if end is None else end.position.term

    def read(self, first: Index, bytes_max: int) -> list[Entry]:
        self._refuse_cut(first)
        found: list[Entry] = []
        room = bytes_max
        for index in range(first, self.last.index + 1):
            entry = self._held(Index(index)).entry
            room -= len(entry.data)
            if found and room < 0:
                break
            found.append(entry)
        return found

    # --- changes -------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        self._check()
        last, last_end = self._index.last
        if entry.index != last.index + 1 or entry.term < last.term:
            raise ValueError(f"an entry at {entry[:2]} cannot follow {last}")
        held = Held(entry, last_end + len(entry.data))
        self._records.append(_Record(entry_record(held), entry.index))
        self._index.append(entry.term, held.end_bytes)
        self._staged[entry.index] = held
        self._cache.add(held)

    def truncate(self, first: Index) -> None:
        self._check()
        self._refuse_cut(first)
        last = self.last.index
        if first > last:
            return
        end = self._index.end_at(first - 1)
        assert end is not None
        self._index.truncate(end)
        self._cache.truncate(first)
        for index in range(first, last + 1):
            self._staged.pop(index, None)
        self._stage(TRUNCATION, end_record(end))

    def set_hard_state(self, hard_state: HardState) -> None:
        self._check()
        if hard_state == self._hard_state:
            return
        if hard_state.term < self._hard_state.term:
            raise ValueError(f"{hard_state} is before {self._hard_state}")
        self._hard_state = hard_state

    def cut(self, base: Base) -> None:
        self._check()
        end = self._index.end_at(base.position.index)
        if end is None or end.position != base.position:
            raise ValueError(f"{base} is not a position of this log")
        self._index.cut(end)
        self._cache.cut(base.position.index)
        self._set_base(CUT, base, end.end_bytes)

    def reset(self, base: Base) -> None:
        self._check()
        index, term = base.position
        assert index >= self._base.position.index, f"{base} is before {self._base}"
        if self.term_at(index) == term:
            self.cut(base)
            return
        self._index.restart(End(base.position, 0))
        self._cache.restart(index + 1)
        self._staged.clear()
        self._set_base(RESET, base, 0)

    def commit(self) -> None:
        self._check()
        if not self._records and self._hard_state == self._durable.hard_state:
            return
        with self._writing():
            self._write_frame()
            self._drop_overtaken()

    def close(self) -> None:
        """Let go of the folder. What was not committed is gone."""
        if self._mark is None:
            return
        try:
            if self._failed is None:
                with self._writing():
                    self._mark.sync()
        finally:
            self._failed = self._failed or "it was closed"
            self._release()

    # --- the commit ----------------------------------------------------------

    def _write_frame(self) -> None:
        """Write all changes as one frame and make it durable: one sync."""
        hard = message_record(HARD_STATE, hard_state_record(self._hard_state))
        body = b"".join([hard, *(record.data for record in self._records)])
        segment = self._with_room(FRAME_HEADER_BYTES + len(body))
        segment.write(self._end, encode_frame(segment.head, self._end, self._next_frame, body))
        self._write_ahead(segment, self._end + FRAME_HEADER_BYTES + len(body))
        segment.sync()
        assert self._mark is not None
        self._mark.write(self._next_frame)
        self._settle(segment, self._end + FRAME_HEADER_BYTES + len(hard))
        self._end += FRAME_HEADER_BYTES + len(body)
        self._next_frame += 1
        self._durable = self._present()

    def _write_ahead(self, segment: SegmentFile, end: int) -> None:
        """Have the blocks that later frames go to written once, so that their syncs have
        nothing else to record. Synced with this commit; nothing hangs on it."""
        if end <= self._written_to or not _AHEAD_BYTES:
            return
        target = min(-(-end // _AHEAD_BYTES) * _AHEAD_BYTES, segment.size)
        segment.write_zeros(end, target - end)
        self._written_to = target

    def _present(self) -> _Durable:
        return _Durable(self._hard_state, self._base, self._index.before, self._index.last)

    def _settle(self, segment: SegmentFile, offset: int) -> None:
        """Note where the entries of this commit stand, and stage for the next one."""
        for record in self._records:
            if record.entry is not None:
                self._index.put_place(record.entry, segment.number, offset)
            offset += len(record.data)
        self._records.clear()
        self._staged.clear()

    def _with_room(self, size: int) -> SegmentFile:
        """The file that takes the next frame: the newest, or a new one."""
        newest = self._segments[max(self._segments)]
        if self._end + size <= newest.size:
            return newest
        made = _make_segment(
            self._folder,
            self._durable_head(),
            number=newest.number + 1,
            first_frame=self._next_frame,
            size=max(self._segment_bytes, HEAD_BYTES + size),
        )
        self._segments[made.number] = made
        self._end = self._written_to = HEAD_BYTES
        return made

    def _drop_overtaken(self) -> None:
        """Remove the files, oldest first, all of whose entries the durable base has
        overtaken. A loss of power may bring some back: they are removed again then."""
        if len(self._segments) == 1:
            return
        newest = max(self._segments)
        before, last = self._index.before.position, self._index.last.position
        if last.index > before.index:
            needed = self._index.place_at(before.index + 1).segment
        else:
            needed = newest
        for number in sorted(self._segments):
            if number >= needed:
                return
            segment = self._segments.pop(number)
            segment.close()
            segment.path.unlink()

    def _durable_head(self) -> disk_pb2.SegmentHead:
        """The head of a file that is made now. Nothing of the commit under way is in it."""
        hard_state, base, before, last = self._durable
        return disk_pb2.SegmentHead(
            identity=identity_record(self._identity),
            hard_state=hard_state_record(hard_state),
            base=base_record(base, before.end_bytes),
            incarnation=disk_pb2.Incarnation(count=self._incarnation),
            last=end_record(last),
        )

    # --- opening -------------------------------------------------------------

    def _open(self, cluster_id: str, member_id: MemberId) -> None:
        numbers = segment_numbers(self._folder)
        if not numbers:
            raise Damage(f"{segment_path(self._folder, 1)} is missing, and all after it")
        newest = self._open_segment(numbers[-1])
        whose = newest.head.identity
        self._identity = check_identity(whose, self._folder, cluster_id, member_id)
        self._mark = Mark(self._folder / MARK, self._identity.disk_id)
        run = _run_to_the_end(numbers)
        for number in run[:-1]:
            self._open_segment(number)
        replay = Replay(self._segments[run[0]].head)
        for number in run[:-1]:
            scan = self._replay(number, replay)
            if scan.garbage():
                at = f"{self._segments[number].path} at {scan.end}"
                raise Damage(f"{at}: frame {scan.next_number} is damaged")
        scan = self._replay(run[-1], replay)
        self._check_end(newest, scan)
        self._take(replay, run[0])
        self._settle_end(newest, scan)
        self._remove_leftovers(numbers[: -len(run)])
        self._warm()
        self._count_opening(replay.incarnation + 1)

    def _open_segment(self, number: int) -> SegmentFile:
        segment = open_segment(self._folder, number)
        self._segments[number] = segment
        return segment

    def _replay(self, number: int, replay: Replay) -> Scan:
        """Take in the frames of one file, which follows those taken in before."""
        segment = self._segments[number]
        if segment.head.identity != identity_record(self._identity):
            raise Damage(f"{segment.path} at 0: this is a file of another log")
        if not replay.agrees_with(segment.head):
            raise Damage(f"{segment.path} at 0: it does not follow the file before it")
        scan = Scan(segment)
        for frame in scan.frames():
            replay.take(frame, segment)
        return scan

    def _check_end(self, newest: SegmentFile, scan: Scan) -> None:
        """Whether anything vouches for what is not whole, or not there, at the end."""
        assert self._mark is not None
        wanted, durable = scan.next_number, self._mark.number
        where = f"{newest.path} at {scan.end}: frame {wanted} is damaged or missing"
        if wanted <= durable:
            raise Damage(f"{where}, and {durable} was synced")
        if (later := scan.later_frame()) is not None:
            raise Damage(f"{where}, and {later.number} stands at {later.offset}")

    def _take(self, replay: Replay, oldest: int) -> None:
        """Go on from what the records come to."""
        self._hard_state, self._base = replay.hard_state, replay.base
        self._index = replay.index
        if self._index.before != replay.base_end:
            raise Damage(
                f"{segment_path(self._folder, oldest - 1)} is missing: the base is"
                f" {replay.base.position}, and entries begin after"
                f" {self._index.before.position}"
            )
        self._durable = self._present()

    def _settle_end(self, newest: SegmentFile, scan: Scan) -> None:
        """Cut off a torn tail. Afterwards everything that was read is durable, and nothing
        but zeros follows it."""
        assert self._mark is not None
        self._end = self._written_to = scan.end
        self._next_frame = scan.next_number
        garbage, found = scan.garbage(), scan.next_number - 1
        if garbage == 0 and found == self._mark.number:
            return
        if (last := scan.last) is not None:
            again = encode_frame(newest.head, last.offset, last.number, last.body)
            newest.write(last.offset, again)
        newest.write_zeros(scan.end, garbage)
        newest.sync()
        self._mark.write(found)
        if garbage:
            self.repaired = (
                f"cut off {garbage} bytes of {newest.path} at {scan.end}: a commit that was"
                f" never acknowledged, behind frame {found}"
            )

    def _remove_leftovers(self, numbers: list[int]) -> None:
        """What a crash left of making a file, and of removing one."""
        for path in self._folder.iterdir():
            if path.name.endswith(UNFINISHED):
                path.unlink()
        for number in numbers:
            segment_path(self._folder, number).unlink()

    def _count_opening(self, count: int) -> None:
        self._incarnation = count
        self._stage(INCARNATION, disk_pb2.Incarnation(count=count))
        self.commit()

    def _warm(self) -> None:
        """Keep the newest entries in memory."""
        first, room = self.last.index + 1, min(WARM_BYTES, self._cache.bytes_max)
        while first > self._base.position.index + 1 and room > 0:
            first -= 1
            room -= self._index.size_at(first)
        self._cache.restart(first)
        for index in range(first, self.last.index + 1):
            self._cache.add(self._stored(Index(index)))

    # --- the rest ------------------------------------------------------------

    def _stage(self, kind: bytes, message: Message) -> None:
        self._records.append(_Record(message_record(kind, message)))

    def _set_base(self, kind: bytes, base: Base, end_bytes: int) -> None:
        self._base = base
        self._stage(kind, base_record(base, end_bytes))

    def _held(self, index: Index) -> Held:
        held = self._cache.get(index) or self._staged.get(index)
        return held or self._stored(index)

    def _stored(self, index: Index) -> Held:
        """An entry out of its file."""
        self._check()
        place = self._index.place_at(index)
        segment = self._segments[place.segment]
        where = f"log entry {index} in {segment.path} at {place.offset}"
        with storage_errors(f"cannot read {where}"):
            stored = segment.read(
                place.offset, ENTRY_OVERHEAD_BYTES + self._index.size_at(index)
            )
        held = open_entry(stored, index, where)
        if held.entry.term != self.term_at(index):
            raise Damage(f"{where}: the entry is of term {held.entry.term}")
        return held

    def _refuse_cut(self, first: Index) -> None:
        if first <= self._base.position.index:
            raise ValueError(f"entry {first} was cut away: the base is {self._base}")

    def _check(self) -> None:
        if self._failed is not None:
            raise StorageError(f"the log {self._folder} cannot be used: {self._failed}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """After an error in it nothing works any more: nobody knows what is on disk."""
        try:
            yield
        except OSError as error:
            self._failed = str(error)
            raise StorageError(f"cannot write to the log {self._folder}: {error}") from error

    def _release(self) -> None:
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()
        if self._mark is not None:
            self._mark.close()
            self._mark = None


def _make_segment(
    folder: Path, head: disk_pb2.SegmentHead, *, number: int, first_frame: int, size: int
) -> SegmentFile:
    """A new file that follows what a head says."""
    made = disk_pb2.SegmentHead()
    made.CopyFrom(head)
    made.layout = LAYOUT
    made.number = number
    made.salt = secrets.token_bytes(SALT_BYTES)
    made.first_frame = first_frame
    made.size_bytes = -(-max(size, 2 * _PAGE_BYTES) // _PAGE_BYTES) * _PAGE_BYTES
    return create_segment(folder, made)


def _run_to_the_end(numbers: list[int]) -> list[int]:
    """The newest files, as far back as none is missing."""
    first = len(numbers) - 1
    while first > 0 and numbers[first - 1] == numbers[first] - 1:
        first -= 1
    return numbers[first:]
