"""The workloads on lists, a bank, watches and checkpoints: what is asked, and what comes
of it at a sound member."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from jepsen_like import keyspace
from jepsen_like.checkers.checkpoints import Recipe, pieces_of
from jepsen_like.clients import Shared
from jepsen_like.following import Following, Start
from jepsen_like.keyspace import Value, guarded
from jepsen_like.protocols import PENDING, Context, Generator, Op, Record, Workload
from jepsen_like.protocols import Site as RunSite
from jepsen_like.workloads import append, bank, checkpoints, watch
from raftstate import content
from raftstate.v1.kv_service_pb2 import (
    GetResponse,
    KeyValue,
    TxnOpResult,
    TxnRequest,
    TxnResponse,
    TxnResult,
)
from tests.client.scripted import asynchronous
from tests.jepsen.driving import driven, record_of
from tests.rpc.harness import bench

MODULES = {one.NAME: one for one in (append, bank, watch, checkpoints)}


def threads(work: Workload) -> tuple[str, ...]:
    return tuple(f"{work.name}/{number}" for number in range(work.threads))


def play(work: Workload, seed: int, count: int) -> list[Op]:
    """Operations of threads that are all free, ten a second."""
    generator, done = work.generator(seed), []
    for number in range(count):
        context = Context(number / 10, threads(work), frozenset(threads(work)))
        found = generator.op(context)
        while not isinstance(found, tuple):
            assert found is not None
            assert found is not PENDING
            generator = found.generator  # type: ignore[attr-defined]
            found = generator.op(context)
        done.append(found[0])
        generator = found[1]
    return done


# --- what to do ----------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_the_same_seed_draws_the_same_operations(name: str) -> None:
    """
    And another one others; every kind of them is drawn, by every thread.
    """
    work = MODULES[name].workload()
    ops = play(work, 7, 400)

    assert ops == play(work, 7, 400)
    assert ops != play(work, 8, 400)
    assert {op.thread for op in ops} == set(threads(work))
    ids = [op.value["id"] for op in ops if "id" in op.value]
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize("name", MODULES)
def test_without_a_free_thread_there_is_nothing_to_do_now(name: str) -> None:
    """
    It goes on for ever, and says so.
    """
    work = MODULES[name].workload()
    generator: Generator = work.generator(1)

    assert generator.op(Context(0.0, threads(work), frozenset())) is PENDING


def test_elements_are_appended_once_and_lists_are_left() -> None:
    """
    No list gets long: hot ones are replaced after so many appends.
    """
    ops = play(append.workload(), 3, 1_500)
    micros = [micro for op in ops for micro in op.value["ops"]]
    elements = [element for f, _, element in micros if f == "append"]
    lengths = Counter(key for f, key, _ in micros if f == "append")

    assert len(elements) == len(set(elements))
    assert max(lengths.values()) < append.APPENDS / append.KEYS * 2
    assert len(lengths) > 3 * append.KEYS
    assert {len(op.value["ops"]) for op in ops} == {1, 2, 3, 4}


def test_every_kind_of_watch_and_write_is_drawn() -> None:
    """
    No write touches a key twice: what a revision did to a key is one thing.
    """
    ops = play(watch.workload(), 3, 3_000)
    writes = [op.value for op in ops if op.f == "write"]

    assert {op.f for op in ops} == {"write", "watch", "stall", "compact"}
    assert {op.value["start"] for op in ops if op.f == "watch"} == set(watch.STARTS)
    assert any(one["range"] for one in writes)
    for one in writes:
        touched = [*one["puts"], *one["deletes"]]
        assert len(touched) == len(set(touched))
        assert not any(one["range"] and key.startswith(one["range"]) for key in one["puts"])


# --- states and deltas -----------------------------------------------------------


def test_a_delta_leads_from_one_state_to_another() -> None:
    """
    Over several of them, whatever parts have changed; and the SDK reads it alike.
    """
    draws = random.Random(1)
    states = [
        Recipe(1, "0", tuple(draws.randrange(2) for _ in range(checkpoints.PARTS)), 40)
        for _ in range(12)
    ]
    made = b"".join(pieces_of(states[0]))
    chain = [(made, checkpoints.JSON)]
    for before, after in pairwise(states):
        delta = checkpoints.as_delta(after, before.parts)
        made = checkpoints.apply_delta(made, delta)
        chain.append((delta, checkpoints.DELTA))
        assert made == b"".join(pieces_of(after))
        assert content.restore(chain) == (made, checkpoints.JSON)


def test_large_states_change_little_from_one_to_the_next() -> None:
    """
    So most of their chunks are there already.
    """
    saves = [op.value for op in play(checkpoints.workload(), 3, 2_000) if op.f == "save"]
    large = [one["parts"] for one in saves if one["size"] == checkpoints.LARGE]

    assert large
    assert checkpoints.LARGE * checkpoints.PARTS > 1 << 20
    assert len({part for parts in large for part in parts}) < 2 * len(large)


# --- guarded transactions --------------------------------------------------------


class Contended:
    """A way to a member at which somebody else is always a little sooner."""

    asked = "n1"

    def __init__(self, wins: int) -> None:
        self.wins = wins
        self.compared: list[int] = []

    async def mutate(self, kind: str, request: TxnRequest) -> TxnResponse:
        self.compared.append(request.txn.compares[0].mod_revision)
        revision = len(self.compared) * 10
        held = KeyValue(key=b"k", value=b"v%d" % revision, mod_revision=revision)
        result = TxnOpResult(get=GetResponse(kv=held))
        succeeded = len(self.compared) > self.wins
        return TxnResponse(txn=TxnResult(succeeded=succeeded, results=[result]))


def test_a_compare_that_fails_is_tried_again_with_what_was_read() -> None:
    """
    So often and no more; what was written is known afterwards.
    """

    async def tried(wins: int) -> tuple[Any, Contended, dict[bytes, Value]]:
        way, known = Contended(wins), {b"k": Value(b"v", 3)}
        done = await guarded(
            way,  # type: ignore[arg-type]
            known,
            [b"k"],
            [b"k"],
            lambda key, data: (data or b"") + b"+",
        )
        return done, way, known

    won, way, known = asyncio.run(tried(2))
    assert (won.failed, way.compared) == (2, [3, 10, 20])
    assert won.read == {b"k": Value(b"v30", 30)}
    assert known[b"k"].data == b"v20+"
    lost, way, _ = asyncio.run(tried(99))
    assert (lost.answer, lost.failed, len(way.compared)) == (None, keyspace.TRIES, 5)


# --- following ---------------------------------------------------------------------


def test_a_token_of_a_watch_from_the_future_begins_there(tmp_path: Path) -> None:
    """
    Whatever its marks say of how far its member is: what comes before is not its own.
    """

    @asynchronous
    async def run() -> None:
        async with bench() as served:
            site = RunSite({"n1": f"127.0.0.1:{served.port}"}, "run", 3, tmp_path)
            shared = Shared(site, "watch")
            await shared.open(shared)
            try:
                loop = asyncio.get_running_loop()
                ahead = Following(shared, b"run/", "", False, Start("future", ahead=50))
                await ahead.until(loop.time() + 0.4, "n1")
                again = Following(shared, b"run/", "", False, Start("resume"))
                again.go_on_from(ahead)
                await again.until(loop.time() + 0.4, "n1")
                first, last = (one.done("n1").value["segments"][0] for one in (ahead, again))
            finally:
                await shared.close(shared)
        assert (first["start"], last["start"]) == ("future", "resume")
        assert first["messages"][-1][0] < first["revision"]
        assert last["revision"] == first["revision"] - 1

    run()


def test_a_last_watch_that_is_told_too_little_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It has failed if it stays silent behind what its member has.
    """
    take = Following._next

    async def begin(self: Following, call: Any, segment: dict[str, Any]) -> bool:
        """Take a first message, and wait for no other."""
        if segment["messages"]:
            await asyncio.Event().wait()
        return await take(self, call, segment)

    @asynchronous
    async def run() -> None:
        async with bench() as served:
            site = RunSite({"n1": f"127.0.0.1:{served.port}"}, "run", 3, tmp_path)
            client = watch.workload().client(site, 0)
            await client.open()
            try:
                await client.invoke(watch._write("w0-1", random.Random(2)))
                plan = {"start": "past", "prefix": "a/", "back": 3, "node": "n1"}
                last = Op("watch", "watch", value={**watch_plan(), **plan})
                whole = await client.invoke(last)
                monkeypatch.setattr(Following, "_next", begin)
                short = await client.invoke(last)
            finally:
                await client.close()
        assert whole.type == "ok"
        assert (short.type, short.error) == ("fail", "it was not told all that there was")

    run()


def watch_plan() -> dict[str, Any]:
    """What a short watch is asked with."""
    plan = {"seconds": 0.4, "breaks": [], "elsewhere": False}
    return {**plan, "previous": True, "ahead": 1}


# --- the whole of it -----------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """What a moment of work on a sound cluster of one leaves behind."""
    found: list[Record] = []

    @asynchronous
    async def run() -> None:
        async with bench() as served:
            site = RunSite(
                {"n1": f"127.0.0.1:{served.port}"}, "run", 3, tmp_path_factory.mktemp("sound")
            )
            works = [one.workload() for one in MODULES.values()]
            events, tally = await driven(works, site, 4.0, rate=4.0)
            assert tally.raised == tally.hung == 0, tally.errors
            names = list(MODULES)
            found.append(replace(record_of(site, names, events, []), remote=True))

    patch = pytest.MonkeyPatch()
    patch.setattr(watch, "WATCH_S", (0.2, 0.8))
    patch.setattr(watch, "CATCH_UP_S", 0.5)
    patch.setattr(watch, "SETTLE_S", 0.1)
    patch.setattr(watch, "FLOOD", 3)
    patch.setattr(watch, "STALL_S", 1.0)
    run()
    patch.undo()
    return found[0]


LEAST = {
    "append": {"ok": 20, "failed_compares": 1, "elements": 20},
    "bank": {"writes": 10, "failed_compares": 1},
    "watch": {"writes": 10, "changes": 20, "snapshots": 1, "resumed": 1},
    "checkpoints": {"saved": 2, "restored": 2, "chunked": 1},
}


@pytest.mark.parametrize("name", MODULES)
def test_a_sound_run_is_not_wrong(sound: Record, name: str) -> None:
    """
    Nothing is wrong, and there was some of everything.
    """
    verdicts = MODULES[name].workload().check(sound)

    for verdict in verdicts:
        assert verdict.validity != "invalid", verdict.complaints
    figures = verdicts[0].figures
    for figure, least in LEAST[name].items():
        assert figures[figure] >= least, figures


def test_everything_that_was_asked_was_answered(sound: Record) -> None:
    """
    Each kind of operation, at least once; and the last reads, by the member itself.
    """
    asked = {(one.workload, one.f) for one in sound.events}
    ok = {(one.workload, one.f) for one in sound.events if one.type == "ok"}

    assert asked == ok
    assert {("append", "read-node"), ("bank", "read-node"), ("checkpoints", "list")} <= ok
    assert ("watch", "read-log") in ok


def _with(record: Record, workload: str, f: str, change: Any) -> Record:
    """The run, with what the last such operation was answered changed."""
    events = list(record.events)
    place = max(
        n
        for n, one in enumerate(events)
        if (one.workload, one.f, one.type) == (workload, f, "ok")
    )
    events[place] = replace(events[place], value=change(events[place].value))
    return replace(record, events=events)


@pytest.mark.parametrize(
    ("name", "f", "change"),
    [
        (
            "append",
            "read-all",
            lambda value: {"lists": {key: seen[:-1] for key, seen in value["lists"].items()}},
        ),
        (
            "bank",
            "read-node",
            lambda value: {**value, "values": dict(list(value["values"].items())[1:])},
        ),
        ("watch", "read-log", lambda value: {**value, "log": value["log"][1:]}),
        (
            "checkpoints",
            "list",
            lambda value: {"found": [{**one, "id": "c9-9"} for one in value["found"]]},
        ),
    ],
)
def test_a_run_with_a_lie_is_wrong(sound: Record, name: str, f: str, change: Any) -> None:
    """
    One answer is changed, and the workload's verdict says so.
    """
    lied = _with(sound, name, f, change)

    assert any(one.validity == "invalid" for one in MODULES[name].workload().check(lied))


def test_an_operation_of_another_workload_is_a_defect(tmp_path: Path) -> None:
    """
    A client that does what it does not know would be found out by nobody.
    """

    @asynchronous
    async def run() -> None:
        site = RunSite({"n1": "127.0.0.1:1"}, "run", 1, tmp_path)
        for name, module in MODULES.items():
            client = module.workload().client(site, 0)
            with pytest.raises(ValueError, match="know"):
                await client.invoke(Op(name, "dance", value={"agent": "0"}))

    run()
