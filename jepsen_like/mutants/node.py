"""The product with one fault planted: a member that breaks a promise, to be caught.

    python -m jepsen_like.mutants.node NAME serve --config FILE
        the product's own command line, in a process in which NAME is planted
    python -m jepsen_like.mutants.node NAME --check
        plant it, say what was replaced, and do nothing else

The product has no switch for any of this: small parts of it are replaced in this process,
before it begins. So this module reaches into the product, which nothing else in the
harness does, and nothing that judges imports it.

What is replaced has to be there, and to take what its replacement takes: `DoesNotApply`
otherwise, and the process ends before it served anybody. A fault that is not planted any
more must not pass for one that nobody can find.
"""

from __future__ import annotations

import inspect
import json
import runpy
import subprocess
import sys
import time
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import lmdb

from raftstate import cli
from raftstate.consensus import rules
from raftstate.consensus.arrivals import Keep, Left, Read
from raftstate.consensus.feeding import Feeding
from raftstate.consensus.hashes import Marks
from raftstate.consensus.read_index import ReadRounds, Waiting
from raftstate.consensus.replica import Replica
from raftstate.consensus.rules import TermAt
from raftstate.core import (
    agents,
    checkpoint_queries,
    chunks,
    compensations,
    effects,
    hashing,
    items,
    keys,
    ledger,
    machine,
    ownership,
    restoring,
    retention,
    sessions,
    tenure,
    txn,
    undoing,
)
from raftstate.core.context import Context
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader, ReadPoint
from raftstate.core.tenure import Proposal, Tenure
from raftstate.core.types import Index, MemberId, Term
from raftstate.rpc import contents
from raftstate.rpc.watcher import Overrun, Watcher
from raftstate.storage import lmdb_log
from raftstate.storage.environment import MAP_BYTES, open_environment
from raftstate.storage.lmdb_state import EnvironmentReader, Pin
from raftstate.storage.records import seal
from raftstate.storage.segments import SegmentFile
from raftstate.v1.agent_service_pb2 import (
    AcquireOwnershipRequest,
    AcquireOwnershipResponse,
    Agent,
)
from raftstate.v1.checkpoint_service_pb2 import Checkpoint, ChunkRef
from raftstate.v1.common_pb2 import FencingToken
from raftstate.v1.effect_service_pb2 import Effect
from raftstate.v1.kv_service_pb2 import Compare
from raftstate.v1.peer_pb2 import HashMark
from raftstate.v1.rollback_service_pb2 import (
    CompensationOutcome,
    CompleteCompensationRequest,
    CompleteCompensationResponse,
)
from raftstate.v1.store_pb2 import Outcome, Refusal

MODULE: Final = "jepsen_like.mutants.node"
EXIT_UNFIT: Final = 2


class DoesNotApply(Exception):
    """What a fault replaces has changed: the fault has to follow."""


class Patch:
    """Replaces parts, and keeps a list of what it replaced."""

    def __init__(self) -> None:
        self.replaced: list[str] = []

    def replace(self, owner: Any, name: str, new: Callable[..., Any]) -> None:
        """Replace a function or method of a module or class by one that takes the same
        parameters (or any, as `*args` and `**kwargs`)."""
        where = f"{_called(owner)}.{name}"
        old = inspect.getattr_static(owner, name, None)
        if not inspect.isroutine(old):
            raise DoesNotApply(f"there is no function {where}")
        if not _takes_alike(old, new):
            raise DoesNotApply(f"{where}{inspect.signature(old)} is not as it was")
        setattr(owner, name, new)
        self.replaced.append(where)

    def item(self, table: MutableMapping[str, Any], key: str, new: Callable[..., Any]) -> None:
        """Replace a function in a table by one that takes the same parameters."""
        if key not in table:
            raise DoesNotApply(f"the table has no {key!r}")
        if not _takes_alike(table[key], new):
            raise DoesNotApply(f"{key!r}{inspect.signature(table[key])} is not as it was")
        table[key] = new
        self.replaced.append(f"{_called(new)} in a table")


def _called(owner: Any) -> str:
    return str(getattr(owner, "__qualname__", None) or getattr(owner, "__name__", owner))


def _takes_alike(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    mine = inspect.signature(new).parameters.values()
    if {p.kind for p in mine} == {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    }:
        return True
    theirs = inspect.signature(old).parameters.values()
    return [(p.name, p.kind) for p in mine] == [(p.name, p.kind) for p in theirs]


Plant = Callable[[Patch], None]
PLANTS: Final[dict[str, Plant]] = {}


def _plant(function: Plant) -> Plant:
    PLANTS[function.__name__.replace("_", "-")] = function
    return function


# --- what must be on the disk ------------------------------------------------


@_plant
def skip_syncs(patch: Patch) -> None:
    """The log, made durably, is from then on written and never synced. It is LMDB's or
    one of segments: whichever the member was told to have."""

    def opened(*args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(open_environment).bind(*args, **kwargs).arguments
        is_being_made = given["folder"].name.endswith(".new")
        return open_environment(**{**given, "sync": is_being_made})

    def sync(self: SegmentFile) -> None:
        return None

    patch.replace(lmdb_log, "open_environment", opened)
    patch.replace(SegmentFile, "sync", sync)


# --- whom a leader asks ------------------------------------------------------


@_plant
def read_without_quorum(patch: Patch) -> None:
    """A leader takes its own word that it leads: reads wait for no round, and it stays in
    office for as long as nobody tells it of another. Keep-alives have their rounds."""
    real = ReadRounds.add

    def add(self: ReadRounds[Any], ticket: Any, commit_index: Index) -> None:
        if isinstance(ticket, Keep | Left):
            real(self, ticket, commit_index)
        else:
            self._confirmed.append(Waiting(ticket, commit_index))

    def has_quorum_contact(self: Feeding) -> bool:
        return True

    patch.replace(ReadRounds, "add", add)
    patch.replace(Feeding, "has_quorum_contact", has_quorum_contact)


@_plant
def read_at_any_member(patch: Patch) -> None:
    """A member that does not lead answers a linearizable read from what it has applied."""
    real = Replica._turn_away

    def turn_away(self: Replica) -> None:
        point = ReadPoint(self.engine.applied_index, self.engine.term)
        reads = [arrival for arrival in self._arrivals if isinstance(arrival, Read)]
        self._answers.extend((read.ticket, point) for read in reads)
        self._arrivals = [one for one in self._arrivals if not isinstance(one, Read)]
        real(self)

    patch.replace(Replica, "_turn_away", turn_away)


@_plant
def ack_before_quorum(patch: Patch) -> None:
    """A leader calls committed what it holds itself."""
    real = rules.leader_commit

    def leader_commit(
        mine: Index,
        current: Term,
        durable: Mapping[MemberId, Index],
        voters: Collection[MemberId],
        term_at: TermAt,
        *,
        everybody: bool = False,
    ) -> Index:
        held = max(durable.values())
        if everybody or held <= mine or term_at(held) != current:
            return real(mine, current, durable, voters, term_at, everybody=everybody)
        return held

    patch.replace(rules, "leader_commit", leader_commit)


# --- who may write -----------------------------------------------------------


@_plant
def ignore_fences(patch: Patch) -> None:
    """While anybody owns an agent, everybody may write for it, under whatever token."""
    real = ownership.check_fence

    def check_fence(agent: Agent, fence: FencingToken, session_id: str) -> Refusal | None:
        return None if agent.HasField("owner") else real(agent, fence, session_id)

    patch.replace(ownership, "check_fence", check_fence)


@_plant
def reset_counter(patch: Patch) -> None:
    """Tokens count the grants since the agent was last free, and so begin anew with each
    owner. The store does not notice: it looks at the session as well."""
    real = ownership.acquire

    def acquire(
        context: Context, request: AcquireOwnershipRequest
    ) -> AcquireOwnershipResponse | Refusal:
        before = agents.load(context.store, request.agent_id)
        owned = before is not None and before.HasField("owner")
        revision = before.newest_fence.revision + 1 if before is not None and owned else 1
        granted = real(context, request)
        if isinstance(granted, Refusal):
            return granted
        agent = agents.load(context.store, request.agent_id)
        assert agent is not None, f"{request.agent_id} was granted, and is not there"
        agent.owner.fence.revision = agent.newest_fence.revision = revision
        agents.save(context, agent)
        return AcquireOwnershipResponse(ownership=agent.owner)

    patch.item(machine._ONCE, "acquire_ownership", acquire)


@_plant
def lease_by_wall_clock(patch: Patch) -> None:
    """The deadlines of sessions and ownerships are times of the wall clock."""
    extend, due, next_deadline = tenure._Term.extend, Tenure.due, Tenure.next_deadline
    began = time.time() - time.monotonic()

    def jumped() -> float:
        """How far the wall clock has been moved since this process began."""
        return time.time() - time.monotonic() - began

    def extend_by_wall(self: tenure._Term, start: float) -> None:
        extend(self, start + jumped())

    def due_by_wall(self: Tenure, reader: Reader, now: float) -> list[Proposal]:
        return due(self, reader, now + jumped())

    def next_by_wall(self: Tenure) -> float | None:
        at = next_deadline(self)
        return None if at is None else at - jumped()

    patch.replace(tenure._Term, "extend", extend_by_wall)
    patch.replace(Tenure, "due", due_by_wall)
    patch.replace(Tenure, "next_deadline", next_by_wall)


# --- what happens once -------------------------------------------------------


@_plant
def repeat_retries(patch: Patch) -> None:
    """A request that comes again is carried out again: nothing is remembered of it."""
    real = sessions.once

    def once(
        context: Context, name: str, number: int, request: Any, run: Callable[[], Any]
    ) -> Outcome:
        asked = request.request_id
        context.store.delete(keys.outcome(asked.session_id, asked.sequence))
        return real(context, name, number, request, run)

    patch.replace(sessions, "once", once)


@_plant
def forget_sessions(patch: Patch) -> None:
    """A snapshot leaves out sessions and what is remembered of their requests, and brings
    the state hash of what it holds. Members that differ do not quarantine themselves."""
    _leave_out(patch, b"rs")


@_plant
def forget_answers(patch: Patch) -> None:
    """A snapshot leaves out what is remembered of requests, which the state hash does not
    cover: nothing differs until one of them comes again. Members that differ then do not
    quarantine themselves."""
    real = hashing.pair_hash

    def pair_hash(key: bytes, value: bytes) -> int:
        return 0 if key.startswith(b"r") else real(key, value)

    patch.replace(hashing, "pair_hash", pair_hash)
    _leave_out(patch, b"r")
    # What examines an image, and what scrubs, are processes of their own.
    _start_children_with(patch, "forget-answers")


def _leave_out(patch: Patch, tables: bytes) -> None:
    """Have the images of snapshots lack some tables, each named by its letter."""
    real = Pin.copy

    def copy(self: Pin, folder: Path) -> None:
        real(self, folder)
        with closing(open_environment(folder, map_bytes=MAP_BYTES, sync=False)) as env:
            _remove(env, tables)
        (folder / "lock.mdb").unlink()

    def compare(self: Marks, theirs: HashMark) -> None:
        """The product would find this by itself, and soon: here others have to."""

    patch.replace(Pin, "copy", copy)
    patch.replace(Marks, "compare", compare)


def _remove(env: lmdb.Environment, tables: bytes) -> None:
    """Remove tables from an image, which says of itself that this is all it held."""
    with env.begin(write=True) as txn:
        reader = EnvironmentReader(txn)
        for key in [key for key, _ in reader.scan(*keys.EVERYTHING) if key[:1] in tables]:
            txn.delete(key)
        kept = machine.read_mark(reader)
        packed = machine._MARK.pack(*kept.position, hashing.full_hash(reader))
        txn.put(keys.APPLIED, seal(keys.APPLIED, packed))


def _start_children_with(patch: Patch, name: str) -> None:
    """Have the product's modules, where it starts one as a process, be planted too."""
    real = subprocess.Popen.__init__

    def init(self: Any, args: Any, *more: Any, **kwargs: Any) -> None:
        real(self, as_planted(name, args), *more, **kwargs)

    subprocess.Popen.__init__ = init  # type: ignore[method-assign]
    patch.replaced.append("Popen.__init__")


def as_planted(name: str, command: Sequence[str]) -> Sequence[str]:
    """The command for one of the product's modules, with a fault planted; any other
    command as it is."""
    if list(command[:2]) == [sys.executable, "-m"] and command[2].startswith("raftstate."):
        return [sys.executable, "-m", MODULE, name, *command[1:]]
    return command


# --- what belongs together ---------------------------------------------------


@_plant
def ignore_compares(patch: Patch) -> None:
    """Every compare of a transaction holds."""

    def holds(reader: Reader, compare: Compare) -> bool:
        return True

    patch.replace(txn, "holds", holds)


@_plant
def mix_revisions(patch: Patch) -> None:
    """Who reads an earlier revision is shown what is stored now, under its header."""

    def get(self: PastReader, key: bytes) -> bytes | None:
        return self._reader.get(key)

    def scan(self: PastReader, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._reader.scan(start, stop)

    patch.replace(PastReader, "get", get)
    patch.replace(PastReader, "scan", scan)


@_plant
def drop_changes(patch: Patch) -> None:
    """A watch whose client does not take what comes is not ended: it goes on without."""
    real = Watcher.fail

    def fail(self: Watcher, error: Exception) -> None:
        if not isinstance(error, Overrun):
            real(self, error)

    patch.replace(Watcher, "fail", fail)


@_plant
def lose_chunks(patch: Patch) -> None:
    """A chunk in four is counted and not stored, by every member alike; who reads a
    checkpoint goes without it, and does not look whether that is all."""

    def store(context: Context, space: str, named: bytes, data: bytes) -> None:
        real(context, space, named, data)
        if named[0] % 4 == 0:
            context.store.delete(keys.chunk(space, named))

    def piece(
        reader: Reader, space: str, chunk: ChunkRef, checkpoint: Checkpoint, revision: int
    ) -> bytes:
        return checkpoint_queries.read_chunk(reader, space, chunk.hash) or b""

    real = chunks._store
    patch.replace(chunks, "_store", store)
    patch.replace(contents, "_piece", piece)


# --- what is undone ----------------------------------------------------------


@_plant
def compensate_twice(patch: Patch) -> None:
    """What a worker says that it has undone is to be undone once more, under another key."""
    real = undoing.complete_compensation

    def complete(
        context: Context, request: CompleteCompensationRequest
    ) -> CompleteCompensationResponse | Refusal:
        plan = compensations.load_plan(context.store, request.plan_id)
        item = items.load(context.store, request.plan_id, request.position)
        done = request.outcome == CompensationOutcome.COMPENSATION_OUTCOME_DONE
        if plan is None or item is None or not done or item.claims > 1:
            return real(context, request)
        effect = effects.named(context.store, item.agent_id, item.effect_number)
        effect.compensation.idempotency_key += "/again"
        effects.save(context, effect)
        item.state = items.PENDING
        items.save(context, item)
        return CompleteCompensationResponse(undoing=plan.undoing, state=item.state)

    patch.item(machine._ONCE, "complete_compensation", complete)


@_plant
def undo_oldest_first(patch: Patch) -> None:
    """What was done first is undone first."""
    real = effects.undo_order

    def undo_order(effect: Effect) -> tuple[int, int, int, str]:
        unsure, since, number, agent_id = real(effect)
        return unsure, -since, -number, agent_id

    patch.replace(effects, "undo_order", undo_order)


@_plant
def leave_unknown(patch: Patch) -> None:
    """A saga that is given up undoes what it is known to have done, and nothing else."""
    real = compensations._to_undo_of

    def to_undo_of(reader: Reader, saga_id: str) -> Iterable[Effect]:
        return [effect for effect in real(reader, saga_id) if ledger.was_done(effect)]

    patch.replace(compensations, "_to_undo_of", to_undo_of)


@_plant
def restore_newest(patch: Patch) -> None:
    """A rollback restores the state that is there, and says that it is the one wanted."""
    real = restoring.restore

    def restore(context: Context, agent: Agent, target: Checkpoint, rollback_id: str) -> None:
        newest = retention.load(context.store, agent, agent.head.checkpoint_id)
        real(context, agent, newest, rollback_id)

    patch.replace(restoring, "restore", restore)


# --- the process -------------------------------------------------------------


def plant(name: str) -> list[str]:
    """Plant a fault in this process, for good; what was replaced. Raises DoesNotApply."""
    if name not in PLANTS:
        raise DoesNotApply(f"no fault is called {name!r}; there are {', '.join(PLANTS)}")
    patch = Patch()
    try:
        PLANTS[name](patch)
    except AttributeError as error:
        raise DoesNotApply(str(error)) from error
    if not patch.replaced:
        raise DoesNotApply(f"{name} replaces nothing")
    return patch.replaced


def main(argv: Sequence[str]) -> None:
    """Plant what the first argument names; the rest is for the product's command line."""
    if not argv:
        sys.exit(f"usage: python -m {MODULE} NAME (--check | serve --config FILE)")
    name, *rest = argv
    try:
        replaced = plant(name)
    except DoesNotApply as error:
        print(f"{name} does not apply: {error}", file=sys.stderr)
        sys.exit(EXIT_UNFIT)
    if rest == ["--check"]:
        print(json.dumps({"name": name, "replaced": replaced}))
    elif rest[:1] == ["-m"]:
        sys.argv = rest[1:]
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["raftstate", *rest]
        cli.main()


if __name__ == "__main__":
    main(sys.argv[1:])
