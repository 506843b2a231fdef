"""Starting from an image: what must be so, whatever the power cut left.

* It opens, and nothing in it is set aside as damaged.
* Every record of the log is what was logged there, checksum and bytes, up to the newest
  that was acknowledged at least; term and vote are not behind what was told.
* The state, brought up to the end of the log, is what the log says: pair for pair what the
  snapshot (or nothing) and the entries make in memory, and by its hash what all entries
  from the first on make.
* A member made of it leads, comes to the same state, and takes a write.
* After all that the folder is closed, and sound from the first record to the last.
"""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any

from raftstate.consensus.replica import Replica, ReplicaConfig
from raftstate.core import keys
from raftstate.core.machine import StateMachine
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import Entry, HardState
from raftstate.core.types import Index, MemberId
from raftstate.storage import checks
from raftstate.storage.environment import MAP_BYTES, open_environment
from raftstate.storage.lmdb_state import EnvironmentReader
from raftstate.storage.logs import as_log_kind
from raftstate.storage.open import Storage, open_storage
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, Outcome
from tests.crash_images.history import EPOCH, History, Promise, apply_entry
from tests.crash_images.serve import SEGMENT_BYTES

CLUSTER, MEMBER = "crash", MemberId("n1")
DATA = "data"
# Not the one of the kernel that wrote: the machine went down in between.
NEXT_BOOT = "the-boot-after-the-power-cut"
_EVERYTHING = 1 << 40
_STEPS_MAX = 2_000
_UNBOUNDED = float(1 << 50)  # bytes a second


class Bad(Exception):
    """The image does not hold what it must; the message says what."""


def must(condition: object, why: str) -> None:
    """Say that an image is bad, unless a condition holds."""
    if not condition:
        raise Bad(why)


def open_image(root: Path, log: str) -> Storage:
    """Open the data folder of an image, as a node does after a power cut."""
    return open_storage(
        root / DATA,
        cluster_id=CLUSTER,
        member_id=MEMBER,
        boot_id=NEXT_BOOT,
        wake=lambda: None,
        log_kind=as_log_kind(log),
        segment_bytes=SEGMENT_BYTES,
    )


def entries_of(storage: Storage) -> list[Entry]:
    """Every entry of the log, each compared with its checksum."""
    log = storage.log
    first = Index(log.base.position.index + 1)
    return log.read(first, _EVERYTHING) if first <= log.last.index else []


def check(root: Path, log: str, history: History, promise: Promise) -> None:
    """Start from an image; raises Bad, or whatever the product raises."""
    with closing(open_image(root, log)) as storage:
        must(not storage.quarantined, f"it was set aside as damaged: {storage.quarantined}")
        must(not storage.damage, f"it was found damaged: {storage.damage}")
        must(not storage.times_damaged, "it was set aside as damaged")
        check_log(storage, history, promise)
        check_state(storage, root, history)
        check_goes_on(storage, history)
    check_records(root / DATA)


def check_log(storage: Storage, history: History, promise: Promise) -> None:
    """The log is what was logged, and has all that was promised."""
    log = storage.log
    base, last = log.base.position, log.last
    must(
        last.index >= promise.index,
        f"entry {promise.index} was acknowledged, and the log ends at {last.index}",
    )
    for entry in entries_of(storage):
        must(entry == history.entry(entry.index), f"entry {entry.index} is another one")
    at_base = history.entry(base.index) if base.index else None
    must(
        base.index == 0 or (at_base is not None and at_base.term == base.term),
        f"the base {base} is not where anything was logged",
    )
    check_hard_state(log.hard_state, promise)


def check_hard_state(hard_state: HardState, promise: Promise) -> None:
    """Term and vote are not behind what was told. The leader of a term, alone as it is,
    has voted for itself in it."""
    must(
        hard_state.term >= promise.term,
        f"term {promise.term} was told, and the disk says {hard_state.term}",
    )
    must(
        promise.term == 0 or hard_state.term > promise.term or hard_state.vote == MEMBER,
        f"the vote of term {promise.term} is forgotten: {hard_state}",
    )


def check_state(storage: Storage, root: Path, history: History) -> None:
    """The state is what the log says, whichever way it is computed."""
    last = storage.log.last
    machine = StateMachine(storage.state.store, EPOCH)
    must(
        machine.applied.index <= last.index,
        f"the state is at {machine.applied.index}, beyond the log's {last.index}",
    )
    twin = from_snapshot(storage, root)
    entries = entries_of(storage)
    for each in (machine, StateMachine(twin, EPOCH)):
        for entry in entries:
            apply_entry(each, entry)
    storage.state.commit()
    with storage.state.view() as reader:
        pairs = list(reader.scan(*keys.EVERYTHING))
    must(machine.applied == last, f"the state is at {machine.applied}, the log at {last}")
    must(pairs == list(twin.items()), "the state is not what snapshot and log make")
    must(
        machine.state_hash == history.hash_after(last.index),
        f"the state at {last.index} is not what all entries from the first on make",
    )


def from_snapshot(storage: Storage, root: Path) -> MemoryStore:
    """What the snapshot that the log's base names holds, or nothing."""
    name = storage.log.base.snapshot
    if not name:
        must(storage.log.base.position.index == 0, "the log was cut, and names no snapshot")
        return MemoryStore()
    folder = root / DATA / "snapshots" / name
    with (
        closing(open_environment(folder, map_bytes=MAP_BYTES, readonly=True)) as environment,
        environment.begin() as transaction,
    ):
        reader = EnvironmentReader(transaction)
        return MemoryStore(reader.scan(*keys.EVERYTHING))


def check_goes_on(storage: Storage, history: History) -> None:
    """A member on this folder leads, has lost nothing, and takes a write."""
    before = storage.log.last.index
    answers: list[tuple[object, Any]] = []
    replica = Replica(
        ReplicaConfig(MEMBER, (MEMBER,)),
        log=storage.log,
        state=storage.state,
        snapshots=storage.snapshots,
        rng=random.Random(1),
        now=0.0,
        send=lambda _peer, _envelope: None,
        deliver=answers.extend,
    )
    now = 0.0
    for _ in range(_STEPS_MAX):
        if replica.status().role == "leader" and replica.status().ready:
            break
        now = max(now, replica.wake_at)
        replica.step(now)
    status = replica.status()
    must(status.ready, f"no leader came of it: {status}")
    must(status.state_hash == history.hash_after(before), "another state came of it")
    opening = OpenSessionRequest(session_id="after-the-power-cut", ttl_ms=60_000)
    replica.propose(Command(open_session=opening), "write")
    for _ in range(_STEPS_MAX):
        if answers:
            break
        replica.step(now)
    must(
        answers and isinstance(answers[0][1], Outcome) and answers[0][1].raft_index > before,
        f"a write was not taken: {answers}",
    )


def check_records(data_dir: Path) -> None:
    """Everything that the folder holds is read again, record by record and page by page;
    nobody has it open."""
    pace = checks.Pace(_UNBOUNDED, lambda _size: None)
    checks.check_log(data_dir / "log", pace)
    must(checks.check_state(data_dir, pace), "the state hash could not be compared")
    checks.check_snapshots(data_dir / "snapshots", pace)
    for file in [*data_dir.glob("log/data.mdb"), *data_dir.glob("state-*/data.mdb")]:
        checks.check_structure(file)
