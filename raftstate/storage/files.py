"""Files that outlive a crash: small helpers that say when a change is durable.

A rename is the only way a name comes to mean something new here: whatever stands
under its final name is whole. A folder is synced after every rename that a later
step relies on.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from raftstate.core.ports import StorageError, WrongStore

DIGEST_BYTES = 32
DISCARDED = "discarded-"
FOLDER_MODE = 0o700
FILE_MODE = 0o600
_PIECE_BYTES = 1 << 20


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an error of the operating system into a StorageError that says what failed."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{doing}: {error}") from error


def free_bytes(path: Path) -> int:
    """How many more bytes an unprivileged process may write to the file system of `path`."""
    return shutil.disk_usage(path).free


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, that only this user may enter."""
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    path.chmod(FOLDER_MODE)


def make_folder_durably(path: Path) -> None:
    """As `make_folder`, and no power loss takes away a folder that was made."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(path)
    for folder in missing:
        sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    _fsync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make durable which names a folder holds."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, content: bytes) -> None:
    """Write a small file so that a crash leaves the old content or the new."""
    staged = path.with_name(path.name + ".tmp")
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    sync_folder(path.parent)


def rename_durably(source: Path, target: Path) -> None:
    """Give a file or folder its name, for good. Both names are in the same folder tree."""
    source.rename(target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def remove_durably(path: Path) -> None:
    """Remove a file, if it is there, for good."""
    with suppress(FileNotFoundError):
        path.unlink()
    sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def doom(path: Path) -> Path:
    """Take a folder's name away, so that nobody takes half of it for the whole while it
    is removed; answer with what it is called now."""
    doomed = path.with_name(f"{DISCARDED}{path.name}")
    remove_tree(doomed)
    rename_durably(path, doomed)
    return doomed


def discard(path: Path) -> None:
    """Remove a folder that may count for something, if it is there."""
    if path.exists():
        remove_tree(doom(path))


def digest_of(path: Path) -> bytes:
    """blake2b-32 of a file."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.digest()


def copy_durably(source: Path, target: Path) -> None:
    """Copy a file's bytes, by the file system's own means where it has any, and sync them."""
    with source.open("rb") as reading:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(handle, "wb") as writing:
            left = os.fstat(reading.fileno()).st_size
            while left > 0:
                copied = _copy_piece(reading.fileno(), writing.fileno(), left)
                if copied == 0:
                    raise OSError(f"{source} became shorter while it was copied")
                left -= copied
            os.fsync(writing.fileno())


def _copy_piece(source: int, target: int, most: int) -> int:
    """Copy some bytes at the file positions, which move; say how many."""
    try:
        return os.copy_file_range(source, target, most)
    except OSError:
        # Not every file system can. What the plain way raises is what counts.
        data = os.read(source, min(most, _PIECE_BYTES))
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
        return len(data)


class FolderLock:
    """Keeps a second process out of a data folder for as long as this one runs.

    The kernel drops the lock when the process ends, however it ends, so there is
    never a stale one. The file only says who holds it, for people.
    """

    def __init__(self, path: Path) -> None:
        self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._handle, 32).decode("ascii", "replace").strip()
            self.release()
            raise WrongStore(
                f"the data folder {path.parent} is in use by pid {holder or 'unknown'}"
            ) from None
        except OSError:
            self.release()
            raise
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let others in. Harmless when done twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
