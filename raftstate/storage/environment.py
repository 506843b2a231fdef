"""How LMDB environments are opened here, and which settings are not up for choice.

`lib_version=0` is passed because two engines with unlike file formats come in one
package, and a variable in the process environment could pick the other. No
`writemap`: on a full disk it ends the process with SIGBUS, where the default
returns an error. One writer thread, no DUPFIXED, and a large map, which costs
address space only.
"""

from __future__ import annotations

import errno
import resource
import struct
from pathlib import Path
from typing import NamedTuple

import lmdb

from raftstate.core.ports import Damage, StorageError, WrongStore

DATA = "data.mdb"
MAP_BYTES = 64 << 30
_ENGINE = (0, 9)
_FILE_MODE = 0o600
# The head of each of the first two pages: magic number, version, page size, last page.
_META = struct.Struct("=16xII16xI92xQ")
_OURS = (0xBEEFC0DE, 1)
# A page of another kind than the tree wants, one beyond the file's end, no LMDB file.
_NOT_WHAT_WAS_WRITTEN: tuple[type[lmdb.Error], ...] = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
)


def open_environment(
    folder: Path,
    *,
    map_bytes: int,
    sync: bool = True,
    readonly: bool = False,
    shared: bool = False,
    databases: int = 0,
    readers_max: int = 126,
) -> lmdb.Environment:
    """Open the environment in a folder that exists; its file is made if there is none.

    `shared`: to be read while another process writes to it.

    Raises WrongStore for a file of another engine, Damage for one that is none of LMDB's,
    StorageError for any other failure.
    """
    try:
        env = lmdb.open(
            str(folder),
            map_size=map_bytes,
            sync=sync,
            metasync=sync,
            readonly=readonly,
            create=not readonly,
            mode=_FILE_MODE,
            writemap=False,
            # Nobody else ever opens a copy that is only read, so it needs no lock file.
            lock=shared or not readonly,
            max_dbs=databases,
            max_readers=readers_max,
            max_spare_txns=4,
            lib_version=0,
        )
    except lmdb.VersionMismatchError as error:
        if any(meta is not None and meta[:2] == _OURS for meta in _metas(folder)):
            raise Damage(f"cannot open {folder}: {error}, by one half of it") from error
        raise WrongStore(f"{folder} has another LMDB file format: {error}") from error
    except lmdb.Error as error:
        raise failure(f"cannot open {folder}", error) from error
    if env.lib_version()[:2] != _ENGINE:
        env.close()
        raise StorageError(f"{folder} was opened by LMDB {env.lib_version()}, not {_ENGINE}")
    return env


def is_cut_short(folder: Path) -> bool:
    """Whether the file of an environment ends before the last page that it speaks of.

    It may be that nobody wants that page. But to touch a page that is not there ends the
    process, so this is looked at without LMDB."""
    path = folder / DATA
    if not path.exists() or path.stat().st_size == 0:
        return False
    metas = [meta for meta in _metas(folder) if meta is not None]
    ends = [(meta.last_page + 1) * meta.page_bytes for meta in metas]
    return len(metas) < 2 or max(ends) > path.stat().st_size


class _Meta(NamedTuple):
    magic: int
    version: int
    page_bytes: int
    last_page: int


def _metas(folder: Path) -> list[_Meta | None]:
    """What the first two pages say of the file, read without LMDB."""
    found: list[_Meta | None] = []
    with (folder / DATA).open("rb") as file:
        for at in (0, resource.getpagesize()):
            file.seek(at)
            stored = file.read(_META.size)
            found.append(_Meta(*_META.unpack(stored)) if len(stored) == _META.size else None)
    return found


def is_full(error: lmdb.Error) -> bool:
    """Whether a write failed for want of room, which leaves the old state whole."""
    return isinstance(error, lmdb.MapFullError) or error.code == errno.ENOSPC


def failure(doing: str, error: lmdb.Error) -> StorageError:
    """What an error of LMDB's is to those who do not know LMDB: damage, where it says that
    the file does not hold what it should, a failed call otherwise."""
    kind = Damage if isinstance(error, _NOT_WHAT_WAS_WRITTEN) else StorageError
    return kind(f"{doing}: {error}")
