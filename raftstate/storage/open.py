"""Opening a data folder: what is there, whether it may be trusted, and how to go on.

    lock                 held by the process that has the folder open
    log/                 durable: entries, term and vote, base, identity; LMDB, or segments
    state-N/             LMDB, not durable: a cache of snapshot plus log
    snapshots/snap-*/    an image of the state, and its manifest
    identity             a copy of whose log it is, for the day on which that is damaged
    repairs              what an operator decided (see `repairs`)
    quarantine           the mark of a member that begins anew (see `quarantine`)
    damaged-N/           what was set aside
    opening              a process is about to find out whether it survives this folder

The log is the truth: nothing else says who this is, what was voted for, or which
snapshot the state begins with. The open rule, in order:

1. Take the lock. A folder in use is refused. If a mark says that damage was found, set
   everything aside first, and begin anew (see `quarantine`).
2. Open the log. A folder of another cluster, member or format, or with another kind
   of log than is wanted, is refused before anything in it is changed, and so is one
   that has a state or snapshots but no log: a member that forgot its votes must not
   vote.
3. Throw away what is half made: `building-*`, `discarded-*`, staged snapshots, and
   all generations but the newest.
4. Keep the newest generation if it has its clean mark or the running kernel's boot
   id, and if its applied position is one of the log's, between base and end.
5. Otherwise build a new one from the snapshot that the base names, or from nothing
   if the base is the origin.
6. Remove the clean mark, durably, and then record the boot id: last, so that a
   generation has it only once all this was settled.
7. Throw away snapshots that the base does not name: the log still holds what they
   stand for.

Consensus then applies the log from where the state is.

Damage. A state that is damaged, and nothing else, is rebuilt: it is a cache, so nothing
is forgotten by that. Anything else leads to quarantine, which forgets everything: a log
that is not what was written; the snapshot that the base names, missing or damaged; a
state that is past the end of the log, or of another history, for then the log has lost
something. Damage that is found while the member runs leads there too, whatever it is in:
the member may have acted on it.

A page that makes no sense may kill the process that has LMDB read it. So a folder that is
opened is marked with the boot id for as long as that takes, and a while longer by the
node: if two processes have died under the mark, one after the other, or a file ends before
its last page, log and state are first read by a process of its own.

A crash between any two steps of what goes on later is harmless:

*Snapshot*: copy, check, write manifest, sync, rename; then cut the log to a base
that names it; then remove the snapshot before. Before the rename there is a staged
folder (3). Before the cut there is a snapshot that nothing names (7), and the base
still names the old one, which is still there.

*Install*: stage, verify, rename; build a generation from it; reset the log to a base
that names it; rename the generation. Before the reset, as above. After it the state
is behind the base, and is rebuilt from the very same snapshot (4, 5). After the
rename there are two generations, and the newer counts (3).

*A clean stop*: sync, close, mark. Without the mark the boot id decides (4).
"""

from __future__ import annotations

import logging
import secrets
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from raftstate.core import queries
from raftstate.core.ports import Damage, HardState, Identity, Log, StorageError
from raftstate.core.types import MemberId, Position
from raftstate.storage import generations, quarantine
from raftstate.storage.environment import (
    DATA,
    MAP_BYTES,
    is_cut_short,
    open_environment,
)
from raftstate.storage.files import (
    FolderLock,
    discard,
    make_folder_durably,
    remove_tree,
    storage_errors,
)
from raftstate.storage.lmdb_state import SYNC_INTERVAL_S, EnvironmentReader, LmdbState
from raftstate.storage.logs import DurableLog, LogKind, create_log, open_log
from raftstate.storage.manifests import difference, position_of, read_manifest
from raftstate.storage.quarantine import LOG, SNAPSHOTS
from raftstate.storage.scrub import STATE, inspect
from raftstate.storage.segments import SEGMENT_BYTES
from raftstate.storage.snapshots import LmdbSnapshots
from raftstate.storage.space import RESERVE_BYTES, Space

logger = logging.getLogger("raftstate.open")

FIRST_EPOCH = 1
_LOCK = "lock"
_OPENING = "opening"
# After so many processes that died of a folder, perhaps, it is looked at first.
LIVES = 2


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What `open_storage` was asked for."""

    data_dir: Path
    cluster_id: str
    member_id: MemberId
    boot_id: str
    wake: Callable[[], None]
    on_damage: Callable[[Damage], None]
    log_kind: LogKind
    map_bytes: int
    segment_bytes: int
    sync_interval_s: float
    reserve_bytes: int
    quota_bytes: int

    def make_log(self, folder: Path, identity: Identity) -> None:
        """Make an empty log."""
        with storage_errors(f"cannot make a log in {self.data_dir}"):
            create_log(
                *(folder, identity, self.log_kind),
                map_bytes=self.map_bytes,
                segment_bytes=self.segment_bytes,
            )

    def open_log(self, folder: Path) -> DurableLog:
        """Open a log that was made."""
        return open_log(
            *(folder, self.log_kind),
            cluster_id=self.cluster_id,
            member_id=self.member_id,
            map_bytes=self.map_bytes,
            segment_bytes=self.segment_bytes,
        )


@dataclass(eq=False, slots=True)
class Storage:
    """An open data folder.

    For whoever reads along: `recovered` says what the open rule decided, `repaired` what
    was cut off the end of the log, and `damage` what was found damaged and could be made
    again from what is sound. `quarantined` is why the member began anew, until it is
    settled; empty otherwise. `lives_lost` counts the processes that died one after
    another, each soon after it had opened the folder.
    """

    data_dir: Path
    log: DurableLog
    state: LmdbState
    snapshots: LmdbSnapshots
    space: Space
    recovered: str
    repaired: str
    damage: str
    quarantined: str
    lives_lost: int
    _boot_id: str
    _closing: ExitStack = field(repr=False)

    @property
    def times_damaged(self) -> int:
        """How often damage was set aside in this folder."""
        return quarantine.count(self.data_dir)

    def forget_dead_readers(self) -> None:
        """Give up what processes that have died still looked at. Any thread."""
        self.log.forget_dead_readers()
        self.state.forget_dead_readers()

    def release_quarantine(self) -> None:
        """The member that began anew is settled. Raises StorageError."""
        if self.quarantined:
            quarantine.release(self.data_dir)
            self.quarantined = ""

    def on_trial(self) -> Callable[[], None]:
        """From now until the answer is called: if the process dies, that counts as one of
        the lives after which a successor looks at every page before it relies on any."""
        _begin_trial(self.data_dir, self._boot_id, self.lives_lost + 1)
        return lambda: _end_trial(self.data_dir)

    def close(self) -> None:
        """A clean stop. Harmless when done twice."""
        self._closing.close()


def open_storage(
    data_dir: Path,
    *,
    cluster_id: str,
    member_id: MemberId,
    boot_id: str,
    wake: Callable[[], None],
    on_damage: Callable[[Damage], None] = lambda _damage: None,
    log_kind: LogKind = "lmdb",
    map_bytes: int = MAP_BYTES,
    segment_bytes: int = SEGMENT_BYTES,
    sync_interval_s: float = SYNC_INTERVAL_S,
    reserve_bytes: int = RESERVE_BYTES,
    quota_bytes: int = 0,
) -> Storage:
    """Open a member's data folder, or make it, by the rule above.

    `wake` is called, on any thread, when a snapshot is ready to be polled or the state
    has failed; `on_damage`, on any thread, when a view of the state meets damage. Raises
    WrongStore or StorageError, and then leaves nothing open.
    """
    wanted = _Wanted(
        data_dir.absolute(),
        cluster_id,
        member_id,
        boot_id,
        wake,
        on_damage,
        log_kind,
        map_bytes,
        segment_bytes,
        sync_interval_s,
        reserve_bytes,
        quota_bytes,
    )
    held = ExitStack()
    try:
        with storage_errors(f"cannot use the data folder {data_dir}"):
            make_folder_durably(wanted.data_dir)
            lock = FolderLock(wanted.data_dir / _LOCK)
        held.callback(lock.release)
        return _open_or_begin_anew(wanted, held)
    except BaseException:
        held.close()
        raise


def _open_or_begin_anew(wanted: _Wanted, held: ExitStack) -> Storage:
    """Open what is there; what is damaged beyond rebuilding is set aside first."""
    data_dir = wanted.data_dir
    mark = quarantine.read_mark(data_dir)
    if mark is not None and not mark.begun:
        mark = _set_aside(wanted, mark)
    with _trial(wanted) as lost:
        doubtful = lost >= LIVES or is_cut_short(data_dir / LOG)
        try:
            storage = _open(wanted, held, doubtful)
        except Damage as damage:
            mark = _set_aside(wanted, quarantine.write_mark(data_dir, str(damage), "open"))
            storage = _open(wanted, held, doubtful=False)
        storage.lives_lost = lost
    if mark is not None:
        storage.quarantined = mark.reason
        if storage.log.hard_state.settled:
            storage.release_quarantine()
    return storage


def _set_aside(wanted: _Wanted, mark: quarantine.Mark) -> quarantine.Mark:
    def make_log(folder: Path, identity: Identity, hard_state: HardState) -> None:
        wanted.make_log(folder, identity)
        with closing(wanted.open_log(folder)) as log:
            log.set_hard_state(hard_state)
            log.commit()

    return quarantine.set_aside(
        wanted.data_dir,
        mark,
        cluster_id=wanted.cluster_id,
        member_id=wanted.member_id,
        make_log=make_log,
    )


def _open(wanted: _Wanted, held: ExitStack, doubtful: bool) -> Storage:
    """Open everything, in order; `held` is given what must be closed again."""
    data_dir = wanted.data_dir
    with ExitStack() as opened:
        is_new = not (data_dir / LOG).exists()
        if is_new:
            wanted.make_log(data_dir / LOG, _new_identity(wanted))
        elif doubtful and (fault := _inspect_first(data_dir, LOG)):
            raise Damage(fault)
        log = wanted.open_log(data_dir / LOG)
        opened.callback(log.close)
        quarantine.keep_identity(data_dir, log.identity)
        _check_named(data_dir, log)
        with storage_errors(f"cannot settle the state in {data_dir}"):
            recovered, damage = _settle(wanted, log, doubtful)
        state = LmdbState(
            data_dir,
            boot_id=wanted.boot_id,
            wake=wanted.wake,
            on_damage=wanted.on_damage,
            map_bytes=wanted.map_bytes,
            sync_interval_s=wanted.sync_interval_s,
        )
        opened.callback(state.close)
        space = Space(
            data_dir,
            reserve_bytes=wanted.reserve_bytes,
            quota_bytes=wanted.quota_bytes,
            uses=[state.use, log.use],
        )
        snapshots = _open_snapshots(wanted, log, state, space)
        opened.callback(snapshots.close)
        held.callback(opened.pop_all().close)
    return Storage(
        data_dir=data_dir,
        log=log,
        state=state,
        snapshots=snapshots,
        space=space,
        recovered="made anew" if is_new else recovered,
        repaired=log.repaired,
        damage=damage,
        quarantined="",
        lives_lost=0,
        _boot_id=wanted.boot_id,
        _closing=held,
    )


def _inspect_first(data_dir: Path, part: str) -> str:
    """What is damaged there, said by a process of its own. That takes a while, so it is told
    before."""
    logger.warning("looking at every page first", extra={"part": part})
    return inspect(data_dir, (part,))


def _open_snapshots(wanted: _Wanted, log: Log, state: LmdbState, space: Space) -> LmdbSnapshots:
    with storage_errors(f"cannot settle the snapshots in {wanted.data_dir}"):
        return LmdbSnapshots(
            wanted.data_dir / SNAPSHOTS,
            state=state,
            identity=log.identity,
            named=log.base.snapshot,
            wake=wanted.wake,
            room=space.room,
        )


def _new_identity(wanted: _Wanted) -> Identity:
    """Whose a new folder is, if it is a new one."""
    data_dir = wanted.data_dir
    if generations.numbers(data_dir) or any((data_dir / SNAPSHOTS).glob("snap-*")):
        raise StorageError(
            f"{data_dir} has a state but no log: what this member voted for and"
            " acknowledged is lost, so it must not go on under its name"
        )
    return Identity(wanted.cluster_id, FIRST_EPOCH, wanted.member_id, secrets.token_hex(16))


# --- a process that died of what it read ---------------------------------------------


@contextmanager
def _trial(wanted: _Wanted) -> Iterator[int]:
    """While the folder is opened, a file says so, and how many have died over it so far,
    with the machine still up. One may have been killed by anybody. Who comes after two
    should look before it follows: it may be a damaged page that kills."""
    path, lost = wanted.data_dir / _OPENING, 0
    with storage_errors(f"cannot use the data folder {wanted.data_dir}"):
        if path.exists():
            boot_id, _, count = path.read_text("utf-8", "replace").rpartition(" ")
            lost = int(count) if boot_id == wanted.boot_id and count.isdecimal() else 0
        _begin_trial(wanted.data_dir, wanted.boot_id, lost + 1)
    try:
        yield lost
    finally:
        _end_trial(wanted.data_dir)


def _begin_trial(data_dir: Path, boot_id: str, lives: int) -> None:
    # Not synced: it tells of processes that died, and those leave what they wrote.
    (data_dir / _OPENING).write_text(f"{boot_id} {lives}", "utf-8")


def _end_trial(data_dir: Path) -> None:
    (data_dir / _OPENING).unlink(missing_ok=True)


# --- the state ------------------------------------------------------------------------


def _settle(wanted: _Wanted, log: Log, doubtful: bool) -> tuple[str, str]:
    """Steps 4 to 7: afterwards the newest generation can be trusted, and says so. Answers
    with what was decided, and what was damaged."""
    data_dir = wanted.data_dir
    for path in generations.leftovers(data_dir):
        remove_tree(path)
    found = generations.numbers(data_dir)
    for number in found[:-1]:
        discard(generations.folder_of(data_dir, number))
    if not found:
        return "no state was found: " + _rebuild(wanted, log, 1), ""
    folder = generations.folder_of(data_dir, found[-1])
    damage = ""
    try:
        fault = _fault(folder, log, wanted, doubtful)
    except _StateDamaged as error:
        fault = damage = f"the state is damaged ({error})"
    if fault is not None:
        rebuilt = _rebuild(wanted, log, found[-1] + 1)
        discard(folder)
        return f"{fault}: {rebuilt}", damage
    how = "after a clean stop" if generations.is_clean(folder) else "after the process ended"
    generations.unmark_clean(folder)
    generations.record_boot(folder, wanted.boot_id)
    return f"kept {folder.name} {how}", ""


class _StateDamaged(Exception):
    """The state cannot be read. It is a cache: the log is not in doubt for that."""


def _fault(folder: Path, log: Log, wanted: _Wanted, doubtful: bool) -> str | None:
    """Why a generation must not be used, or None.

    Raises Damage if it shows that the log has lost something: the log's commit comes
    first, always, and what is applied is committed and never changes."""
    if not generations.is_clean(folder) and not generations.is_of_boot(folder, wanted.boot_id):
        return "the machine went down, or the disk failed, while the state was open"
    applied = _applied(folder, wanted, doubtful or is_cut_short(folder))
    base, last = log.base.position, log.last
    if applied.index < base.index:
        return (
            f"the state is at {applied.index}, the log goes from {base.index} to {last.index}"
        )
    if applied.index > last.index:
        raise Damage(f"the state is at {applied.index}, and the log ends at {last.index}")
    if log.term_at(applied.index) != applied.term:
        raise Damage(
            f"the state is at {applied.index} of term {applied.term},"
            f" where the log has term {log.term_at(applied.index)}"
        )
    return None


def _applied(folder: Path, wanted: _Wanted, doubtful: bool) -> Position:
    if not (folder / DATA).exists():
        raise _StateDamaged(f"{folder / DATA} is missing")
    if doubtful and (fault := _inspect_first(wanted.data_dir, STATE)):
        raise _StateDamaged(fault)
    try:
        env = open_environment(folder, map_bytes=wanted.map_bytes, readonly=True)
        try:
            with env.begin() as txn:
                return queries.applied(EnvironmentReader(txn))
        finally:
            env.close()
    except (StorageError, struct.error) as error:
        raise _StateDamaged(str(error)) from error


def _rebuild(wanted: _Wanted, log: Log, number: int) -> str:
    """A new generation from what the base names. Its boot id is in it when it appears."""
    base = log.base
    image: Path | None = None
    if base.snapshot:
        image = _trusted_image(wanted.data_dir / SNAPSHOTS / base.snapshot)
    building = generations.build(wanted.data_dir, "rebuilt", wanted.boot_id, image)
    folder = generations.publish(wanted.data_dir, building, number)
    return f"{folder.name} begins with {base.snapshot or 'the empty state'}"


def _check_named(data_dir: Path, log: Log) -> None:
    """The snapshot that the base names must be there, and of a position of the log: both
    who rebuilds the state and who feeds a follower begin with it. Its bytes are compared
    with the digest when they are used, and by the scrub. Raises Damage."""
    if not log.base.snapshot:
        return
    folder = data_dir / SNAPSHOTS / log.base.snapshot
    manifest = read_manifest(folder)
    if manifest is None:
        raise Damage(
            f"the log begins at {log.base.position.index}, and the snapshot that holds the"
            f" state there is missing: {folder}"
        )
    index, term = position_of(manifest)
    if index < log.base.position.index or log.term_at(index) != term:
        raise Damage(f"{folder} is of entry {index}, term {term}: not one of the log")


def _trusted_image(folder: Path) -> Path:
    """The image of the snapshot that the base names, byte for byte what it was when it
    was checked. Without it there is no way to go on."""
    manifest = read_manifest(folder)
    fault = "it is missing" if manifest is None else difference(folder, manifest)
    if fault:
        raise Damage(f"the snapshot {folder} is damaged: {fault}")
    return folder / DATA
