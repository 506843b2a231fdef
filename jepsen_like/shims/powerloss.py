"""Makes of a data folder what a power cut would leave of it.

What was synced is there; `lazy.c` says what that is. Of everything else any part may have
reached the disk by itself:

* of a file, any of the pages that were not synced, or any sectors of them; and where it
  became longer, any length between, with zeros where the bytes are missing;
* of what was made, renamed or removed since its folder was synced, any of it. A rename is
  whole or has not happened, and says nothing about what the file holds.

How much, is drawn from a seed: the same folder, shadow, mode and seed leave the same. The
mode "drop" keeps nothing that was not synced.

Start reading at `lose`.
"""

from __future__ import annotations

import os
import random
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DROP, SOME, TORN = "drop", "some", "torn"
MODES: Final = (DROP, SOME, TORN)
PAGE: Final = 4_096
SECTOR: Final = 512
_PIECE = 1 << 20
_DENSITIES = (0.1, 0.5, 0.9)
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600


class ShadowError(Exception):
    """The shadow cannot say what a power cut would leave."""


@dataclass(slots=True)
class Loss:
    """What was not durable, and how much of that is gone. Pages and names that differ
    between what was synced and what the processes saw."""

    files: int = 0
    pages_unsynced: int = 0
    pages_lost: int = 0
    pages_torn: int = 0
    names_unsynced: int = 0
    names_lost: int = 0


def draw_boot_id(path: Path) -> str:
    """The machine starts anew: another boot id, as the kernel would write it."""
    boot_id = str(uuid.uuid4())
    new = path.with_name(f"{path.name}.new")
    new.write_text(f"{boot_id}\n", "ascii")
    new.replace(path)
    return boot_id


def prepare(data: Path, shadow: Path) -> None:
    """Make a data folder, if there is none; whatever stands in it is durable."""
    data.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    shutil.rmtree(shadow, ignore_errors=True)
    for part in ("content", "names", "removed"):
        (shadow / part).mkdir(parents=True)
    for folder, _, files in os.walk(data):
        listed = _listing(Path(folder))
        stored = "".join(f"{one.kind} {one.inode} {name}\0" for name, one in listed.items())
        (shadow / "names" / str(Path(folder).stat().st_ino)).write_text(stored, "utf-8")
        for name in files:
            path = Path(folder, name)
            same = _Content(path, path, _Draws(DROP, random.Random(0)), Loss())
            same.write(shadow / "content" / str(path.stat().st_ino), _FILE_MODE)


def lose(data: Path, shadow: Path, mode: str, seed: int) -> Loss:
    """Rebuild a data folder as a power cut could leave it; all of that is durable then.

    No process that has the folder open may be alive. Raises ShadowError if something
    happened in it that the shadow knows no answer to.
    """
    if mode not in MODES:
        raise ValueError(f"{mode} is none of {', '.join(MODES)}")
    unsupported = shadow / "unsupported"
    if unsupported.exists():
        raise ShadowError(f"in {data}: {unsupported.read_text('utf-8').strip()}")
    disk, draws, loss = _Disk.read(data, shadow), _Draws(mode, random.Random(seed)), Loss()
    tree = disk.draw_names(draws, loss)
    left = data.with_name(f"{data.name}.left")
    shutil.rmtree(left, ignore_errors=True)
    _write(disk, tree, draws, loss, left)
    shutil.rmtree(data)
    left.rename(data)
    prepare(data, shadow)
    return loss


# --- what is there ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Node:
    """What a name stands for."""

    kind: str  # f or d
    inode: int


_Names = dict[str, _Node]


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """A name that does not stand for what it durably stands for."""

    folder: int
    name: str
    old: _Node | None
    new: _Node | None


@dataclass(slots=True)
class _Disk:
    """Names by folder: those that are durable, and those that processes saw."""

    shadow: Path
    root: int
    durable: dict[int, _Names] = field(default_factory=dict)
    seen: dict[int, _Names] = field(default_factory=dict)
    places: dict[int, Path] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Path, shadow: Path) -> _Disk:
        """Everything but what is in the files."""
        disk = cls(shadow, data.stat().st_ino)
        for stored in (shadow / "names").iterdir():
            if stored.name.isdecimal():  # and not one that was under way
                disk.durable[int(stored.name)] = _parse(stored)
        for path in (shadow / "removed").iterdir():
            disk.places[int(path.name)] = path
        for folder, _, files in os.walk(data):
            inode = Path(folder).stat().st_ino
            disk.places[inode] = Path(folder)
            disk.seen[inode] = _listing(Path(folder))
            disk.places |= {
                Path(folder, name).stat().st_ino: Path(folder, name) for name in files
            }
        return disk

    def draw_names(self, draws: _Draws, loss: Loss) -> dict[int, _Names]:
        """The names that are left. What belongs together is kept or lost together."""
        left = {folder: dict(names) for folder, names in self.durable.items()}
        changes = list(self._changes())
        loss.names_unsynced = len(changes)
        for together in _groups(changes):
            if not draws.keep():
                loss.names_lost += len(together)
                continue
            for change in together:
                names = left.setdefault(change.folder, {})
                if change.new is None:
                    names.pop(change.name, None)
                else:
                    names[change.name] = change.new
        return left

    def _changes(self) -> Iterator[_Change]:
        """By path, so that the draws are the same whatever numbers files have."""
        labels = {**self._labels(self.seen), **self._labels(self.durable)}
        for folder in sorted(labels, key=labels.__getitem__):
            old, new = self.durable.get(folder, {}), self.seen.get(folder, {})
            for name in sorted(old.keys() | new.keys()):
                if old.get(name) != new.get(name):
                    yield _Change(folder, name, old.get(name), new.get(name))

    def _labels(self, tree: Mapping[int, _Names]) -> dict[int, str]:
        """Folders by number, and where they are in a tree."""
        return {self.root: ""} | {
            node.inode: path for path, node in walk(tree, self.root) if node.kind == "d"
        }


def walk(tree: Mapping[int, _Names], root: int, above: str = "") -> Iterator[tuple[str, _Node]]:
    """Everything in a tree of names, by path; a folder before what is in it."""
    for name, node in sorted(tree.get(root, {}).items()):
        path = f"{above}{name}"
        yield path, node
        if node.kind == "d":
            yield from walk(tree, node.inode, f"{path}/")


def _parse(stored: Path) -> _Names:
    names: _Names = {}
    for record in stored.read_text("utf-8", "surrogateescape").split("\0")[:-1]:
        kind, inode, name = record.split(" ", 2)
        names[name] = _Node(kind, int(inode))
    return names


def _listing(folder: Path) -> _Names:
    with os.scandir(folder) as found:
        return {
            one.name: _Node("d" if one.is_dir(follow_symlinks=False) else "f", one.inode())
            for one in found
        }


# --- what belongs together ---------------------------------------------------------------


def _groups(changes: list[_Change]) -> list[list[_Change]]:
    """Changes that a disk makes as one: both names of what was renamed; and, since nothing
    is lost by a move, the making of the folder that it was moved to, and the removal of the
    one that it was moved from."""
    leader = {id(change): change for change in changes}

    def first(change: _Change) -> _Change:
        while leader[id(change)] is not change:
            change = leader[id(change)]
        return change

    def join(one: _Change, other: _Change) -> None:
        leader[id(first(other))] = first(one)

    away = {change.old.inode: change for change in changes if change.old is not None}
    here = {change.new.inode: change for change in changes if change.new is not None}
    for inode in away.keys() & here.keys():
        moved_from, moved_to = away[inode], here[inode]
        join(moved_from, moved_to)
        for side, change in ((here, moved_to), (away, moved_from)):
            above: _Change | None = change
            while above is not None and (above := side.get(above.folder)) is not None:
                join(change, above)
    groups: dict[int, list[_Change]] = {}
    for change in changes:
        groups.setdefault(id(first(change)), []).append(change)
    return list(groups.values())


# --- what is left of the files ---------------------------------------------------------------


class _Draws:
    """Draws what reached the disk by itself."""

    def __init__(self, mode: str, rng: random.Random) -> None:
        self.mode = mode
        self._rng = rng
        self._density = rng.choice(_DENSITIES)

    def keep(self) -> bool:
        """Whether one thing that was not synced is there."""
        return self.mode != DROP and self._rng.random() < self._density

    def length(self, durable: int, seen: int) -> int:
        """How long a file is; either of both, or between them where it grew."""
        if self.mode == DROP or durable == seen:
            return durable
        if seen < durable:
            return seen if self.keep() else durable
        between = self._rng.randrange(durable, seen) // PAGE * PAGE
        return self._rng.choice((durable, max(durable, between), seen, seen))

    def page(self, durable: bytes, seen: bytes) -> bytes:
        """What is left of a page whose two sides differ."""
        if not self.keep():
            return durable
        if self.mode != TORN:
            return seen
        return b"".join(
            (seen if self._rng.random() < 0.5 else durable)[at : at + SECTOR]
            for at in range(0, len(durable), SECTOR)
        )


@dataclass(slots=True)
class _Content:
    """One file: what is durable of it, what processes saw, and what is left."""

    durable: Path | None
    seen: Path | None
    draws: _Draws
    loss: Loss

    def write(self, target: Path, mode: int) -> None:
        """Draw what is left, and write it. Zeros take no room."""
        sizes = [_size(self.durable), _size(self.seen)]
        length = self.draws.length(*sizes) if self.seen is not None else sizes[0]
        with target.open("xb") as file:
            os.fchmod(file.fileno(), mode)
            file.truncate(length)
            for at, piece in self._pieces(length, max(sizes)):
                if piece.count(0) < len(piece):
                    file.seek(at)
                    file.write(piece)

    def _pieces(self, length: int, end: int) -> Iterator[tuple[int, bytes]]:
        for at in range(0, end, _PIECE):
            size = min(_PIECE, end - at)
            durable = _read(self.durable, at, size)
            seen = durable if self.seen is None else _read(self.seen, at, size)
            piece = durable if seen == durable else self._pages(durable, seen, length - at)
            if at < length:
                yield at, piece[: length - at]

    def _pages(self, durable: bytes, seen: bytes, left: int) -> bytes:
        pages = []
        for at in range(0, len(durable), PAGE):
            old, new = durable[at : at + PAGE], seen[at : at + PAGE]
            page = old if old == new else self.draws.page(old, new)
            if old != new:
                self.loss.pages_unsynced += 1
                self.loss.pages_lost += page == old or at >= left
                self.loss.pages_torn += page not in (old, new) and at < left
            pages.append(page)
        return b"".join(pages)


def _size(path: Path | None) -> int:
    return 0 if path is None else path.stat().st_size


def _read(path: Path | None, at: int, size: int) -> bytes:
    """Part of a file; zeros beyond its end."""
    if path is None:
        return bytes(size)
    with path.open("rb") as file:
        return os.pread(file.fileno(), size, at).ljust(size, b"\0")


def _write(
    disk: _Disk, tree: Mapping[int, _Names], draws: _Draws, loss: Loss, target: Path
) -> None:
    target.mkdir(mode=_mode(disk.places.get(disk.root), _FOLDER_MODE))
    written: set[int] = set()
    for path, node in walk(tree, disk.root):
        place = disk.places.get(node.inode)
        if node.inode in written:
            raise ShadowError(f"{path} has two names")
        written.add(node.inode)
        if node.kind == "d":
            (target / path).mkdir(mode=_mode(place, _FOLDER_MODE))
            continue
        stored = disk.shadow / "content" / str(node.inode)
        content = _Content(stored if stored.exists() else None, place, draws, loss)
        content.write(target / path, _mode(place, _FILE_MODE))
        loss.files += 1


def _mode(path: Path | None, otherwise: int) -> int:
    return otherwise if path is None else path.stat().st_mode & 0o777
