"""Whatever a client sends, it is told what the API's documentation says, and no more.

Every call is sent every bad request that the descriptors give rise to (`badness`,
`bad_rows`). A failure has one of the documented codes and reasons, never INTERNAL or
UNKNOWN, and has changed nothing: no row of the state, unless the log had to be asked;
then only what the session remembers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import grpc
import pytest

from raftstate.core import history
from raftstate.core.machine import StateMachine
from raftstate.core.memory import MemoryStore
from raftstate.rpc.errors import _CODES, DETAILS_KEY
from raftstate.v1.read_service_pb2 import Query, ReadRequest, ReadResponse
from raftstate.v1.step_service_pb2 import Mutation, SubmitRequest, SubmitResponse
from raftstate.v1.store_pb2 import Reason
from tests.rpc import documented
from tests.rpc.bad_rows import NEEDED, NOT_ALWAYS_NEEDED, ROWS, WRONG, seed, wrong_for
from tests.rpc.badness import Bad, bad_requests, is_repeated, places
from tests.rpc.fake import EPOCH
from tests.rpc.harness import Bench, Refused, bench, decode, services

METHODS = {
    f"{service.name}.{method.name}": method
    for service in services()
    for method in service.methods
}
_BODIES: list[Any] = list(Mutation.DESCRIPTOR.fields)
MUTATIONS = {field.message_type.full_name: field.name for field in _BODIES}
_QUERIES: list[Any] = list(Query.DESCRIPTOR.oneofs[0].fields)
QUERIES = {field.message_type.full_name: field.name for field in _QUERIES}
# The streams that carry other calls, and what they answer with.
CARRIERS: dict[str, Any] = {
    "StepService.Submit": SubmitResponse,
    "ReadService.Read": ReadResponse,
}
# Too much for a batch, which has a limit of its own.
LARGE = 1_000_000
# What the machine changes for a session whose request is refused: counters, outcomes, and
# when the session was last heard of.
BOOKKEEPING = (b"!", b"r", b"t")
WAIT_S = 5.0
# For what is meant to wait; and how long a watch may be silent that was let in.
SHORT_S = 0.03


class Said(NamedTuple):
    """How a call ended: OK, or a status with or without details of ours."""

    code: str
    reason: str = ""
    fields: frozenset[str] = frozenset()
    definite: bool = False


OK = Said("OK")


# --- asking --------------------------------------------------------------------------


async def ask(b: Bench, name: str, raw: bytes, wait_s: float = WAIT_S) -> Said:
    """Make a call with bytes, and say how it ended."""
    service, _, method = name.partition(".")
    kind = METHODS[name]
    path = f"/raftstate.v1.{service}/{method}"
    shape = "stream" if kind.client_streaming else "unary"
    answers = "stream" if kind.server_streaming else "unary"
    call = getattr(b.channel, f"{shape}_{answers}")(path)
    request = iter([raw]) if kind.client_streaming else raw
    try:
        if name == "WatchService.Watch":
            return await _watched(call(request), wait_s)
        if kind.server_streaming:
            answer = [one async for one in call(request, timeout=wait_s)]
            return _last(name, answer) if name in CARRIERS else OK
        await call(request, timeout=wait_s)
    except grpc.aio.AioRpcError as error:
        return _failed(error)
    return OK


async def ask_on_stream(b: Bench, name: str, raw: bytes) -> Said:
    """Make a call as a mutation or query of a stream, if it is one; otherwise by itself."""
    kind = METHODS[name].input_type
    if kind.full_name not in MUTATIONS | QUERIES or len(raw) > LARGE:
        return await ask(b, name, raw)
    body = kind._concrete_class.FromString(raw)
    if kind.full_name in QUERIES:
        query = ReadRequest(queries=[Query(**{QUERIES[kind.full_name]: body})])
        return await ask(b, "ReadService.Read", query.SerializeToString())
    batch = SubmitRequest(mutations=[Mutation(**{MUTATIONS[kind.full_name]: body})])
    return await ask(b, "StepService.Submit", batch.SerializeToString())


async def _watched(call: Any, wait_s: float) -> Said:
    """A watch that is let in goes on; that it says something, or nothing, will do."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await call.read()
    call.cancel()
    return OK


def _last(name: str, responses: list[bytes]) -> Said:
    """How the last mutation or query of a stream ended."""
    results = [one for raw in responses for one in CARRIERS[name].FromString(raw).results]
    if not results or results[-1].WhichOneof("result") != "error":
        return OK
    return _said(decode(results[-1].error))


def _failed(error: Any) -> Said:
    details = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if details is None:
        return Said(error.code().name)
    found = decode(details)
    assert found.code == error.code().name
    return _said(found)


def _said(found: Refused) -> Said:
    named = [one.field for detail in found.details for one in _violations(detail)]
    # `appends[0].events[3].type` is about what it ends with.
    fields = frozenset(name.rpartition(".")[2].partition("[")[0] for name in named)
    return Said(found.code, found.reason, fields, found.definite)


def _violations(detail: Any) -> Any:
    return getattr(detail, "field_violations", ())


# --- judging -------------------------------------------------------------------------


class Store:
    """What there is before a call, and what has become of it afterwards."""

    def __init__(self, b: Bench) -> None:
        self._b = b
        self._kept = b.fake.state.store.copy()

    @property
    def revision(self) -> int:
        """The revision now."""
        return self._b.fake.machine.revision

    def restore(self) -> None:
        """Put everything back."""
        put_back(self._b, self._kept)

    def changed(self) -> set[bytes]:
        """The keys whose value has changed."""
        return changed(self._kept, self._b.fake.state.store)


def changed(before: MemoryStore, after: MemoryStore) -> set[bytes]:
    """The keys that two stores differ in."""
    return {key for key, _ in set(before.items()) ^ set(after.items())}


def allowed(name: str) -> documented.Failures:
    """All that a call may fail with: what is said of it, of calls, and of its kind."""
    everywhere, mutations = documented.of_all()
    found = documented.of_call(name) | everywhere
    fields = METHODS[name].input_type.fields_by_name
    if "request_id" in fields or name == "StepService.Submit":
        found |= mutations | documented.of_mutations(name.partition(".")[0])
    if "consistency" in fields and "revision" in fields:
        found |= documented.of_consistency()
    return found


def judge(name: str, bad: Bad, said: Said, state: Store, revision: int) -> str:
    """What is wrong with how a call ended; empty if nothing is."""
    if said.code == "OK":
        return "" if not bad.reasons else "it was let in"
    if bad.waits:
        return "" if said.code == "DEADLINE_EXCEEDED" else f"it did not wait: {said}"
    may = allowed(name)
    if said.code not in may.codes or said.reason not in may.reasons:
        return f"not documented: {said}"
    if bad.reasons and said.reason not in bad.reasons:
        return f"another reason: {said}"
    if said.reason == "INVALID_REQUEST" and bad.fields and not said.fields & bad.fields:
        return f"another field: {said}"
    after = state.changed()
    if state.revision == revision:
        return f"it changed {after}" if after else ""
    odd = {key for key in after if not key.startswith(BOOKKEEPING)}
    return f"refused, it changed {odd}" if odd else ""


_SEEDED: list[tuple[MemoryStore, dict[str, Any], int]] = []


@asynccontextmanager
async def seeded() -> AsyncIterator[Bench]:
    """A bench with one of everything, which is made once."""
    async with bench() as b:
        if not _SEEDED:
            await seed(b)
            _SEEDED.append((b.fake.state.store.copy(), b.stubs, b.opened_revision))
        store, b.stubs, b.opened_revision = _SEEDED[0]
        b.sequence = 100
        put_back(b, store)
        yield b


def put_back(b: Bench, store: MemoryStore) -> None:
    """Let the member have a state again."""
    b.fake.state.store = store.copy()
    b.fake.machine = StateMachine(b.fake.state.store, EPOCH)
    b.fake.found()


def cases(b: Bench, name: str) -> Iterator[Bad]:
    """The bad requests of a call. Each is made when it is asked for."""
    mark = history.read_mark(b.fake.state.store)
    return bad_requests(lambda: ROWS[name](b), b.fake.machine.revision, mark.oldest)


def run(story: Callable[[Bench], Awaitable[None]]) -> None:
    """Tell a story at a bench with one of everything."""

    async def tell() -> None:
        async with seeded() as b:
            await story(b)

    asyncio.run(tell())


# --- every call ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_bad_input(name: str) -> None:
    """
    Documented failures only, and nothing changed. The row itself is a good request: so
    it is what was changed in it that is refused. A bad mutation or query is answered on a
    stream as by itself.
    """

    async def story(b: Bench) -> None:
        state, count, failures = Store(b), 0, []
        for way in (ask, ask_on_stream):
            assert await way(b, name, ROWS[name](b).SerializeToString()) == OK
            state.restore()
        for bad in cases(b, name):
            count += 1
            revision = state.revision
            soon = bad.waits or (name == "WatchService.Watch" and not bad.reasons)
            said = await ask(b, name, bad.raw, SHORT_S if soon else WAIT_S)
            if wrong := judge(name, bad, said, state, revision):
                failures.append(f"{bad.what}: {wrong}")
            if bad.reasons and bad.fields and await ask_on_stream(b, name, bad.raw) != said:
                failures.append(f"{bad.what}: something else on a stream")
            if state.changed():
                state.restore()
        assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures)
        assert count >= 8

    run(story)


# --- the table is whole --------------------------------------------------------------


def test_every_call_has_a_row() -> None:
    """
    A call that is added to the API and not to the table fails here.
    """
    assert set(ROWS) == set(METHODS)


def test_something_is_said_of_every_field() -> None:
    """
    Every field of every request has an entry, and every entry is of a field.
    """
    every = {place for method in METHODS.values() for place in places(method.input_type)}
    names = {place.name for place in every}
    for place in every:
        single = place.field.message_type is not None and not is_repeated(place.field)
        if not single and place.field.enum_type is None:
            reads = "consistency" in place.field.containing_type.fields_by_name
            wrong_for(place.field.containing_type.name, place.field.name, reads)
    assert set(WRONG) <= names
    assert names | {"Label.name"} >= NEEDED


def test_what_the_api_calls_required_is_required() -> None:
    """
    Each field whose comment in the API says so is refused when it is missing.
    """
    said = documented.fields_needed()

    assert said - NEEDED == NOT_ALWAYS_NEEDED
    assert len(said & NEEDED) > 50


def test_what_is_documented_is_understood() -> None:
    """
    The comments are found and read: those of calls that refer to others too.
    """
    step = documented.of_call("StepService.CommitStep")
    group = documented.of_call("CheckpointService.PutGroupCheckpoint")
    txn = documented.of_call("KvService.Txn")
    everywhere, mutations = documented.of_all()

    assert {"FENCED", "CONFLICT", "CHUNK_MISSING"} <= step.reasons <= group.reasons
    assert {"LEASE_NOT_FOUND", "TOO_MANY", "CONFLICT"} <= txn.reasons
    assert "GROUP_EXISTS" in group.reasons
    assert "ALREADY_EXISTS" not in documented.of_call("KvService.Get").codes
    assert everywhere.codes == {
        "INVALID_ARGUMENT",
        "UNAVAILABLE",
        "RESOURCE_EXHAUSTED",
        "DATA_LOSS",
    }
    assert mutations.codes == {"FAILED_PRECONDITION", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"}
    assert documented.of_consistency().reasons == {"COMPACTED", "FUTURE_REVISION"}


def test_every_reason_has_a_code() -> None:
    """
    Nothing that the machine refuses is answered as a bug.
    """
    reasons = {name.removeprefix("REASON_") for name, _ in Reason.items()} - {"UNSPECIFIED"}

    assert reasons <= set(_CODES)
    assert {_CODES[reason] for reason in reasons}.isdisjoint(
        {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
    )
