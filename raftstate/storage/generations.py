"""The folders that hold the state, one after another, and when one may be trusted.

The state is written without fsync, so after a crash of the machine its file may be
anything. It is a cache of snapshot and log, so that is allowed if such a file is
never opened. Two marks in a generation's folder see to it:

`clean`
    Written by a clean stop after a sync; removed, durably, before the first write.
    A generation with it is what it was then.
`boot`
    The kernel's boot id, written last, when everything else about the generation is
    settled. A generation whose id is the one of the running kernel was, at worst,
    left by a process that died: what it wrote is in the page cache, all of it, in
    order.

A generation with neither was being written when the machine went down.

A generation is built under the name `building-...` and becomes one by a rename, so
`state-N` is whole. The highest N is the one that counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from raftstate.storage.environment import DATA
from raftstate.storage.files import (
    DISCARDED,
    copy_durably,
    make_folder,
    remove_durably,
    remove_tree,
    rename_durably,
    write_durably,
)

_CLEAN = "clean"
_BOOT = "boot"
_STATE = "state-"
_BUILDING = "building-"


def folder_of(data_dir: Path, number: int) -> Path:
    """Where a generation stands."""
    return data_dir / f"{_STATE}{number}"


def numbers(data_dir: Path) -> list[int]:
    """The generations there are, the newest last."""
    names = (path.name.removeprefix(_STATE) for path in data_dir.glob(f"{_STATE}*"))
    return sorted(int(name) for name in names if name.isdecimal())


def build(data_dir: Path, label: str, boot_id: str, image: Path | None) -> Path:
    """Prepare a generation, durably: a copy of an image, or empty.

    It has the boot id already, and is no generation before `publish`.
    """
    building = data_dir / f"{_BUILDING}{label}"
    remove_tree(building)
    make_folder(building)
    if image is not None:
        copy_durably(image, building / DATA)
    record_boot(building, boot_id)
    return building


def publish(data_dir: Path, building: Path, number: int) -> Path:
    """Make what was built a generation. From here on it is the state."""
    folder = folder_of(data_dir, number)
    rename_durably(building, folder)
    return folder


def leftovers(data_dir: Path) -> Iterator[Path]:
    """What a crash left of building and of discarding."""
    yield from data_dir.glob(f"{_BUILDING}*")
    yield from data_dir.glob(f"{DISCARDED}*")


def is_clean(folder: Path) -> bool:
    """Whether the generation was closed by a clean stop and not opened since."""
    return (folder / _CLEAN).exists()


def is_of_boot(folder: Path, boot_id: str) -> bool:
    """Whether the running kernel has seen every write to the generation."""
    if not boot_id:
        return False
    try:
        return (folder / _BOOT).read_text("ascii") == boot_id
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def mark_clean(folder: Path) -> None:
    """Say that the generation was synced and closed."""
    write_durably(folder / _CLEAN, b"")


def unmark_clean(folder: Path) -> None:
    """Say, before the first write, that the generation is open."""
    remove_durably(folder / _CLEAN)


def record_boot(folder: Path, boot_id: str) -> None:
    """Say which kernel sees the writes to come. The last thing done at opening."""
    write_durably(folder / _BOOT, boot_id.encode("ascii"))


def distrust(folder: Path) -> None:
    """Make sure that nobody opens the generation again: its file may not be what was
    written."""
    remove_durably(folder / _BOOT)
