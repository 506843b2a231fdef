"""Damage, set aside: how a member that cannot trust its disk begins again.

What is damaged is never mended by forgetting a part of it. The member notes, durably,
that it is quarantined and why (the *mark*), and ends. When its folder is opened next,
everything that it knew is set aside as `damaged-N`, and it begins anew: an empty log,
under its own name, on what counts as another disk (`<disk id>.1`, then `.2`). It
neither votes nor counts nor serves until a leader has brought it all that was ever
committed (`HardState.settled`); then the mark goes.

    mark "due"        damage was found; what is in the folder must not be used
      1. make log.rejoin: identity, and term and vote if their record is sound; durable
      2. move state-*, snapshots, log to damaged-N
      3. log.rejoin becomes log
    mark "begun"      the new log stands; the member is rejoining
      4. all but the two newest damaged-* are removed
    no mark           released: the member is settled

Each step is repeated until the next mark stands, and does nothing where it was done, so
a crash between any two is harmless. Nothing is deleted before the new log is durable.

Term and vote are kept where their record is sound, which is a courtesy: without them the
term is zero, and that is safe, for such a member grants no vote and asks for none until
it is settled, and then it is in the term of the leader that settled it, or a later one.
Without an identity nothing can go on: nobody knows whose folder it is.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from raftstate.core.ports import HardState, Identity, StorageError
from raftstate.core.types import MemberId, Term
from raftstate.storage import generations
from raftstate.storage.files import (
    discard,
    make_folder_durably,
    remove_durably,
    remove_tree,
    rename_durably,
    storage_errors,
    write_durably,
)
from raftstate.storage.identities import check_identity, identity_record
from raftstate.storage.records import seal, unseal
from raftstate.storage.salvage import salvage, seal_identity, unseal_identity
from raftstate.v1 import disk_pb2

LOG = "log"
SNAPSHOTS = "snapshots"
IDENTITY = "identity"
MARK = "quarantine"
REJOIN = "log.rejoin"
KEPT = 2
_DAMAGED = "damaged-"
_MAKING = "log.making"
_KEY = MARK.encode("ascii")
_SUFFIX = re.compile(r"(.*?)(?:\.([0-9]+))?", re.DOTALL)

MakeLog = Callable[[Path, Identity, HardState], None]


@dataclass(frozen=True, slots=True)
class Mark:
    """Why a folder is quarantined. `begun`: the new log stands."""

    reason: str
    found_by: str
    at: str
    number: int
    begun: bool = False


def write_mark(data_dir: Path, reason: str, found_by: str) -> Mark:
    """Note, durably, that nothing in the folder may be used any more.

    `found_by` is open, read, scrub or comparison. Raises StorageError if the note
    cannot be written.
    """
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    mark = Mark(reason, found_by, at, count(data_dir) + 1)
    _write(data_dir, mark)
    return mark


def read_mark(data_dir: Path) -> Mark | None:
    """The mark of a folder, if it has one. One that is damaged counts as one that is due."""
    path = data_dir / MARK
    with storage_errors(f"cannot read {path}"):
        if not path.exists():
            return None
        stored = path.read_bytes()
    try:
        return Mark(**json.loads(unseal(_KEY, stored)))
    except (StorageError, ValueError, TypeError):
        return Mark("the quarantine mark itself is damaged", "open", "", count(data_dir) + 1)


def release(data_dir: Path) -> None:
    """The member is settled: it holds all that was ever committed."""
    with storage_errors(f"cannot remove {data_dir / MARK}"):
        remove_durably(data_dir / MARK)


def count(data_dir: Path) -> int:
    """How often damage was set aside in this folder."""
    return max((number for number, _ in _damaged(data_dir)), default=0)


def keep_identity(data_dir: Path, identity: Identity) -> None:
    """Keep a copy of the identity beside the log, for the day on which that is damaged."""
    record = seal_identity(identity_record(identity))
    path = data_dir / IDENTITY
    with storage_errors(f"cannot write {path}"):
        if not path.exists() or path.read_bytes() != record:
            write_durably(path, record)


def set_aside(
    data_dir: Path, mark: Mark, *, cluster_id: str, member_id: MemberId, make_log: MakeLog
) -> Mark:
    """Bring a folder whose mark is due to where its member can begin anew.

    `make_log` makes an empty log in a folder. Raises StorageError if nobody can tell
    whose folder it is, and WrongStore if it is another's; then nothing was moved.
    """
    with storage_errors(f"cannot set aside what is damaged in {data_dir}"):
        damaged = data_dir / f"{_DAMAGED}{mark.number}"
        if not (damaged / LOG).exists():
            _make_rejoining(data_dir, cluster_id, member_id, make_log)
            make_folder_durably(damaged)
            for path in _everything(data_dir):
                rename_durably(path, damaged / path.name)
        if (data_dir / REJOIN).exists():
            rename_durably(data_dir / REJOIN, data_dir / LOG)
        begun = replace(mark, begun=True)
        _write(data_dir, begun)
        _prune(data_dir)
        return begun


# --- the steps -----------------------------------------------------------------------


def _write(data_dir: Path, mark: Mark) -> None:
    content = json.dumps(asdict(mark)).encode()
    with storage_errors(f"cannot write {data_dir / MARK}"):
        write_durably(data_dir / MARK, seal(_KEY, content))


def _make_rejoining(
    data_dir: Path, cluster_id: str, member_id: MemberId, make_log: MakeLog
) -> None:
    """Step 1. Under its name the new log is whole and durable."""
    if (data_dir / REJOIN).exists():
        return
    found = salvage(data_dir / LOG)
    record = found.identity or _kept_identity(data_dir)
    if record is None:
        raise StorageError(
            f"the log in {data_dir} is damaged, and neither it nor {data_dir / IDENTITY} says"
            " whose it is: this member cannot go on under its name"
        )
    identity = check_identity(record, data_dir / LOG, cluster_id, member_id)
    term, vote = Term(0), None
    if found.hard_state is not None:
        term = Term(found.hard_state.term)
        vote = MemberId(found.hard_state.vote) if found.hard_state.vote else None
    making = data_dir / _MAKING
    remove_tree(making)
    anew = replace(identity, disk_id=next_disk(identity.disk_id))
    make_log(making, anew, HardState(term, vote, settled=False))
    rename_durably(making, data_dir / REJOIN)


def next_disk(disk_id: str) -> str:
    """The name of the disk that begins where this one ended."""
    parts = _SUFFIX.fullmatch(disk_id)
    assert parts is not None
    return f"{parts[1]}.{int(parts[2] or 0) + 1}"


def _kept_identity(data_dir: Path) -> disk_pb2.DiskIdentity | None:
    path = data_dir / IDENTITY
    return unseal_identity(path.read_bytes()) if path.exists() else None


def _everything(data_dir: Path) -> list[Path]:
    """What is set aside, in order: the log last, since it tells how far this got."""
    states = [generations.folder_of(data_dir, one) for one in generations.numbers(data_dir)]
    paths = [*states, data_dir / SNAPSHOTS, data_dir / LOG]
    return [path for path in paths if path.exists()]


def _prune(data_dir: Path) -> None:
    """Step 4: keep the newest for whoever wants to know what happened."""
    for _, path in _damaged(data_dir)[:-KEPT]:
        discard(path)


def _damaged(data_dir: Path) -> list[tuple[int, Path]]:
    found = ((path.name.removeprefix(_DAMAGED), path) for path in data_dir.glob(f"{_DAMAGED}*"))
    return sorted((int(number), path) for number, path in found if number.isdecimal())
