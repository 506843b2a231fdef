"""A disk that is told what a node did, and says what a power cut could leave of it.

What was synced is there. Of everything else nobody knows: any part of it, in any order,
may have reached the disk by itself.

* The content of a file is durable as far as its last sync covers it; a sync covers what
  had returned when it began. Through a descriptor opened with O_DSYNC a write is durable
  when it returns, and it alone.
* A name (a file made, renamed, removed) is durable once its folder was synced, and a move
  once both folders were. A rename is whole or has not happened, and says nothing about
  what the file holds.
* A write that is not durable may be there in part, by sectors of 512 bytes; and where it
  made the file longer, the length may be there without the bytes.

`honours` says which kinds of sync this disk keeps its word about: the test of the test is
a disk that does not.

Start reading at `Disk.image`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.crash_images.recording import VOLATILE, Event, Op, RecordingError

SECTOR = 512
FILES, FOLDERS, WRITES = "files", "folders", "writes"
EVERY_SYNC = frozenset({FILES, FOLDERS, WRITES})
NO_SYNC = frozenset[str]()
# How what is not durable is drawn, for content and for names each.
NOTHING, EVERYTHING, IN_ORDER, PREFIX, SUBSET, TORN = (
    *("nothing", "everything", "in order", "prefix", "subset", "torn"),
)
MODES = (NOTHING, EVERYTHING, IN_ORDER, PREFIX, SUBSET, TORN)
_DENSITIES = (0.1, 0.5, 0.9)
_LOST_AT_ONCE = (3, 30, 300)


@dataclass(slots=True)
class _Change:
    """A change of a file's content."""

    seq: int
    event: Event
    must: bool
    flying: bool = False


@dataclass(slots=True, eq=False)
class _Object:
    """A file or a folder: what is durable, what is not yet, and what a process sees."""

    is_folder: bool
    content: bytearray = field(default_factory=bytearray)
    changes: list[_Change] = field(default_factory=list)
    durable_names: dict[str, _Object] = field(default_factory=dict)
    names: dict[str, _Object] = field(default_factory=dict)

    def settle(self) -> None:
        """Take what is durable, and has nothing in front of it that is not, for good."""
        settled = 0
        for change in self.changes:
            if not change.must:
                break
            apply(self.content, change.event)
            settled += 1
        del self.changes[:settled]


class _Place(NamedTuple):
    """A name in a folder."""

    folder: _Object
    name: str


@dataclass(slots=True)
class _Naming:
    """A change of names, which happens as a whole: `what` stands at `at`, and no more at
    `away`. `unsynced` are the folders that were not synced since."""

    seq: int
    what: _Object
    at: _Place | None
    away: _Place | None
    unsynced: list[_Object]

    def do(self, names: dict[_Object, dict[str, _Object]]) -> None:
        """Change the names of an image."""
        if self.away is not None:
            folder = names[self.away.folder]
            if self.at is None:
                folder.pop(self.away.name, None)
            else:
                # If a rename before this one did not happen, it has its older name still.
                for name in [name for name, one in folder.items() if one is self.what]:
                    del folder[name]
        if self.at is not None:
            names[self.at.folder][self.at.name] = self.what


class Image(NamedTuple):
    """A folder that a power cut could leave: content by path, None for a folder."""

    files: dict[str, bytes | None]
    how: str

    def write(self, folder: Path) -> None:
        """Make the folder. It must not exist."""
        folder.mkdir(parents=True)
        for path, content in self.files.items():
            if content is None:
                (folder / path).mkdir()
            else:
                (folder / path).write_bytes(content)

    def differences(self, folder: Path) -> list[str]:
        """In what a real folder is not this one."""
        found = {
            str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")
        }
        return sorted(
            path
            for path in found.keys() | self.files.keys()
            if Path(path).name not in VOLATILE
            and found.get(path, b"missing") != self.files.get(path, b"missing")
        )


class Disk:
    """All that was recorded up to a point. Below the root there was nothing at first."""

    def __init__(self, root_inode: int, honours: frozenset[str] = EVERY_SYNC) -> None:
        self._honours = honours
        self._root = _Object(is_folder=True)
        self._objects = {root_inode: self._root}
        self._everything = [self._root]
        self._namings: list[_Naming] = []
        self._begun: dict[tuple[int, int], int] = {}
        self._seq = 0

    # --- what happened -----------------------------------------------------------

    def record(self, event: Event) -> None:
        """An event that has returned."""
        self._seq += 1
        op = event.op
        if op in (Op.CREATE, Op.MKDIR):
            self._make(event)
        elif op is Op.UNLINK:
            self._remove(event)
        elif op is Op.RENAME:
            self._rename(event)
        elif op in (Op.WRITE, Op.WRITE_SYNCED, Op.TRUNCATE, Op.ALLOCATE):
            must = op is Op.WRITE_SYNCED and WRITES in self._honours
            changed = self._known(event)
            changed.changes.append(_Change(self._seq, event, must))
            changed.settle()
        elif op is Op.SYNC_BEGIN:
            self._begun[event.inode, event.length] = self._seq
        elif op is Op.SYNC_END:
            self._sync(event)
        elif op is Op.LINK:
            raise RecordingError(f"{event.path} is a hard link, and no file here has two names")

    def begin(self, event: Event) -> None:
        """An event that was under way when the power went: it may have happened in part."""
        if event.op in (Op.SYNC_BEGIN, Op.SYNC_END):
            return
        if event.op is Op.WRITE_SYNCED:
            event = event._replace(op=Op.WRITE)
        self.record(event)
        known = self._objects.get(event.inode)
        if known is not None and known.changes and known.changes[-1].event is event:
            known.changes[-1].flying = True

    def restart(self) -> None:
        """The machine went down with nothing under way, and came back: what a process sees
        now, it reads from the disk."""
        for one in self._everything:
            for change in one.changes:
                change.must = True
            one.settle()
        for naming in self._namings:
            naming.unsynced = []
        self._settle_names()
        self._begun.clear()

    def _known(self, event: Event) -> _Object:
        found = self._objects.get(event.inode)
        if found is None:
            raise RecordingError(f"{event.path} was there before anything was recorded")
        return found

    def _place(self, path: str) -> _Place:
        *above, name = path.split("/")
        folder = self._root
        for part in above:
            if part not in folder.names:
                raise RecordingError(f"nobody recorded how {path} came to have a folder")
            folder = folder.names[part]
        return _Place(folder, name)

    def _make(self, event: Event) -> None:
        made = _Object(is_folder=event.op is Op.MKDIR)
        self._objects[event.inode] = made
        self._everything.append(made)
        self._name(made, self._place(event.path), None)

    def _remove(self, event: Event) -> None:
        place = self._place(event.path)
        self._name(self._at(place, event), None, place)

    def _rename(self, event: Event) -> None:
        away = self._place(event.path)
        self._name(self._at(away, event), self._place(event.target), away)

    @staticmethod
    def _at(place: _Place, event: Event) -> _Object:
        if place.name not in place.folder.names:
            raise RecordingError(f"nobody recorded how {event.path} was made")
        return place.folder.names[place.name]

    def _name(self, what: _Object, at: _Place | None, away: _Place | None) -> None:
        if away is not None:
            del away.folder.names[away.name]
        if at is not None:
            at.folder.names[at.name] = what
        folders = [place.folder for place in (at, away) if place is not None]
        self._namings.append(_Naming(self._seq, what, at, away, folders))

    def _sync(self, event: Event) -> None:
        began = self._begun.pop((event.inode, event.length))
        synced = self._known(event)
        if synced.is_folder and FOLDERS in self._honours:
            for naming in self._namings:
                if naming.seq < began:
                    naming.unsynced = [one for one in naming.unsynced if one is not synced]
            self._settle_names()
        elif not synced.is_folder and FILES in self._honours:
            for change in synced.changes:
                change.must = change.must or change.seq < began
            synced.settle()

    def _settle_names(self) -> None:
        settled = 0
        durable = {one: one.durable_names for one in self._everything}
        for naming in self._namings:
            if naming.unsynced:
                break
            naming.do(durable)
            settled += 1
        del self._namings[:settled]

    # --- what is left --------------------------------------------------------------

    def whole(self) -> Image:
        """What every process sees: nothing is lost."""
        keeping = _Keeping(random.Random(0), EVERYTHING, self._seq)
        return self._image(keeping, keeping, None)

    def image(self, rng: random.Random) -> Image:
        """One of the folders that a power cut could leave now."""
        # The newest change that got there, where they went in order.
        cut = self._seq - int(rng.expovariate(1 / rng.choice(_LOST_AT_ONCE)))
        content = _Keeping(rng, rng.choice(MODES), cut)
        names = _Keeping(rng, rng.choice(MODES), cut)
        return self._image(content, names, rng)

    def _image(self, content: _Keeping, names: _Keeping, noise: random.Random | None) -> Image:
        tree = {one: dict(one.durable_names) for one in self._everything if one.is_folder}
        kept = names.some([naming.seq for naming in self._namings if naming.unsynced])
        for naming in self._namings:
            if not naming.unsynced or naming.seq in kept:
                naming.do(tree)
        files: dict[str, bytes | None] = {}
        for path, one in _walk(tree, self._root, ""):
            if one.is_folder:
                files[path] = None
            elif path.rpartition("/")[2] not in VOLATILE:
                files[path] = _content(one, content)
            elif noise is not None and noise.random() < 0.5:
                files[path] = noise.randbytes(len(_content(one, content)))
        return Image(files, f"content {content.mode}, names {names.mode}")


class _Keeping:
    """Draws which changes got there by themselves."""

    def __init__(self, rng: random.Random, mode: str, cut: int) -> None:
        self.mode = mode
        self._rng = rng
        self._cut = cut
        self._density = rng.choice(_DENSITIES)

    def some(self, seqs: list[int]) -> set[int]:
        """Of the changes of one file, or of all names, those that got there."""
        if self.mode == EVERYTHING:
            return set(seqs)
        if self.mode == IN_ORDER:
            return {seq for seq in seqs if seq <= self._cut}
        if self.mode == PREFIX:
            return set(seqs[: self._rng.randint(0, len(seqs))])
        if self.mode == NOTHING:
            return set()
        return {seq for seq in seqs if self._rng.random() < self._density}

    def pieces(self, change: _Change, *, kept: bool) -> list[Event]:
        """What got there of a change: it as a whole, some sectors, a length, nothing."""
        is_write = change.event.op in (Op.WRITE, Op.WRITE_SYNCED)
        if change.flying and is_write:
            return self._torn(change.event, self._rng.choice((0.0, *_DENSITIES, 1.0)))
        if kept:
            torn = self.mode == TORN and is_write
            return self._torn(change.event, self._density) if torn else [change.event]
        if is_write and self.mode in (SUBSET, TORN) and self._rng.random() < 0.1:
            return [change.event._replace(op=Op.ALLOCATE)]
        return []

    def _torn(self, event: Event, density: float) -> list[Event]:
        kept = [piece for piece in sectors(event) if self._rng.random() < density]
        if self._rng.random() < 0.3:
            kept.append(event._replace(op=Op.ALLOCATE))
        return kept


def sectors(event: Event) -> Iterator[Event]:
    """A write, cut where the disk's sectors begin."""
    at, end = event.offset, event.offset + len(event.data)
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR)
        data = event.data[at - event.offset : stop - event.offset]
        yield event._replace(offset=at, length=stop - at, data=data)
        at = stop


def apply(content: bytearray, event: Event) -> None:
    """Change a file's content."""
    if event.op is Op.TRUNCATE:
        del content[event.length :]
    end = event.length if event.op is Op.TRUNCATE else event.offset + event.length
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if event.op in (Op.WRITE, Op.WRITE_SYNCED):
        content[event.offset : end] = event.data


def _content(one: _Object, keeping: _Keeping) -> bytes:
    kept = keeping.some([change.seq for change in one.changes if not change.must])
    content = bytearray(one.content)
    for change in one.changes:
        if change.must:
            apply(content, change.event)
            continue
        for piece in keeping.pieces(change, kept=change.seq in kept):
            apply(content, piece)
    return bytes(content)


def _walk(
    tree: dict[_Object, dict[str, _Object]], folder: _Object, above: str
) -> Iterator[tuple[str, _Object]]:
    for name, one in sorted(tree[folder].items()):
        yield above + name, one
        if one.is_folder:
            yield from _walk(tree, one, f"{above}{name}/")
