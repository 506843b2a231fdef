"""What `RaftSaver` promises beyond LangGraph's clauses: that only what changed is stored, that
nothing is torn where many work at a time, and that nothing stored is ever called. On a live
cluster, with both faces where they might differ.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from raftstate.adapters.langgraph import RaftSaver
from raftstate.adapters.langgraph.coding import APART_MAX
from raftstate.adapters.langgraph.layout import Layout
from raftstate.adapters.langgraph.serde import ListedSerializer
from raftstate.adapters.records import Damaged
from raftstate.client.portal import Portal
from raftstate.errors import Closed, InvalidRequest
from tests.outside.langgraph_saver import Case, Face, at, id_of, made, put, stored


@pytest.fixture(scope="module")
def portal(endpoints: str) -> Iterator[Portal]:
    """One portal for all."""
    with Portal(endpoints, timeout=30.0) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def case(request: pytest.FixtureRequest, portal: Portal, name: str) -> Case:
    """A saver and a face."""
    name = f"saver-{name}"
    return Case(Face(request.param), portal, name, RaftSaver(portal, name=name))


# --- what is stored ----------------------------------------------------------


def test_only_what_changed_is_stored(case: Case) -> None:
    """A hundred checkpoints, of a value that is large and one that changes: the large one
    is stored once."""
    large = ["x" * 100_000]
    where = case.put(at("t"), {"large": large, "small": [0]})
    for number in range(1, 20):
        values = {"large": large, "small": [number]}
        versions = {"large": 1, "small": number + 1}
        where = case("put", where, made(values, versions), {}, {"small": number + 1})
    assert case.kinds() == {"c": 20, "b": 21, "n": 1}
    assert sum(map(len, stored(case.portal, case.name).values())) < 150_000
    blobs = [one for one in stored(case.portal, case.name) if b"\x01b\x01" in one]
    for blob in blobs:
        kept = case.portal.run(lambda store, blob=blob: store.keys.get(blob))  # type: ignore[misc]
        assert kept.version == 1
    found = case("list", at("t"))
    assert [one.checkpoint["channel_values"]["small"] for one in found] == [
        [number] for number in reversed(range(20))
    ]
    assert all(one.checkpoint["channel_values"]["large"] == large for one in found)


def test_a_value_that_is_not_there_is_stored_again(case: Case) -> None:
    """A checkpoint of an old version's value, which was pruned meanwhile, as of a run that
    goes on from a checkpoint that it still has in its memory."""
    first = case.put(at("t"), {"notes": ["old"]})
    case("put", first, made({"notes": ["new"]}, {"notes": 2}), {}, {"notes": 2})
    case("prune", ["t"])
    assert case.kinds()["b"] == 1
    again = case("put", first, made({"notes": ["old"]}, {"notes": 1}), {}, {})
    assert case.values(again) == {"notes": ["old"]}


@pytest.mark.parametrize("count", [20, 21, 200])
def test_a_wide_state(case: Case, count: int) -> None:
    """As many channels as there are, some of them large, some plain, some without a value."""
    values: dict[str, Any] = {f"channel-{at:03}": [at] * (at + 1) for at in range(count)}
    values.update({f"plain-{at}": at for at in range(50)})
    versions = dict.fromkeys([*values, "empty"], 1)
    first = case("put", at("t"), made(values, versions), {}, versions)
    changed = {**values, "channel-003": ["new"]}
    second = case(
        "put", first, made(changed, {**versions, "channel-003": 2}), {}, {"channel-003": 2}
    )
    assert list(case.values(first)) == list(values)
    assert case.values(first) == values
    assert case.values(second) == changed
    case("delete_thread", "t")
    assert stored(case.portal, case.name) == {}


def test_a_wide_state_of_large_values(case: Case) -> None:
    """As many as lie apart, each of them in parts: a transaction has room for them all."""
    values = {f"channel-{at:02}": ["x" * (1 << 20)] for at in range(APART_MAX)}
    first = case.put(at("t"), values)
    changed = {**values, "channel-03": ["new"]}
    versions = {**dict.fromkeys(values, 1), "channel-03": 2}
    second = case("put", first, made(changed, versions), {}, {"channel-03": 2})
    assert case.values(second) == changed
    case("copy_thread", "t", "u")
    assert case.values(at("u")) == changed
    case("prune", ["t", "u"], strategy="delete")
    assert stored(case.portal, case.name) == {}


def test_a_large_value(case: Case) -> None:
    """Values beyond what a request carries come in parts, and go with all of them."""
    large = {"a": ["x" * (3 << 20)], "b": ["y" * (1 << 20)]}
    first = case.put(at("t"), large)
    case("put_writes", first, [("a", "z" * (2 << 20)), ("b", 1)], "task")
    found = case("get_tuple", at("t"))
    assert found.checkpoint["channel_values"] == large
    assert found.pending_writes == [("task", "a", "z" * (2 << 20)), ("task", "b", 1)]
    case("copy_thread", "t", "u")
    assert case.values(at("u")) == large
    case("delete_thread", "t")
    assert case("get_tuple", at("t")) is None
    assert case.values(at("u")) == large
    case("delete_thread", "u")
    assert stored(case.portal, case.name) == {}


@pytest.mark.parametrize(
    "text", ["a\x00b", "\x00", "\x01\x02", "grün 🌲", "x" * 1_000, "a/b%c:|;", " "]
)
def test_any_texts_are_ids(case: Case, text: str) -> None:
    """Threads, namespaces, checkpoints, channels, tasks, versions and runs of any name."""
    where = {"configurable": {"thread_id": text, "checkpoint_ns": text}}
    checkpoint = made({text: ["v"]}, {text: text}, text)
    first = case("put", where, checkpoint, {"run_id": text.replace("\x00", "")}, {text: text})
    case("put_writes", first, [(text, text)], text, text)
    case.put(at(text + "2", text), {text: ["other"]})
    found = case("get_tuple", where)
    assert found.config["configurable"] == {
        "thread_id": text,
        "checkpoint_ns": text,
        "checkpoint_id": text,
    }
    assert found.checkpoint["channel_values"] == {text: ["v"]}
    assert found.pending_writes == [(text, text, text)]
    assert [id_of(one.config) for one in case("list", where)] == [text]
    case("copy_thread", text, text + "3")
    case("delete_thread", text)
    assert case("get_tuple", where) is None
    assert case.values(at(text + "2", text)) == {text: ["other"]}
    assert case.values(at(text + "3", text)) == {text: ["v"]}
    case("prune", [text + "2", text + "3"], strategy="delete")
    assert stored(case.portal, case.name) == {}


def test_a_thread_is_named_by_a_number_too(case: Case) -> None:
    """As others take it: 7 is "7"."""
    case.put({"configurable": {"thread_id": 7, "checkpoint_ns": ""}}, {"a": 1})
    assert case.values(at("7")) == {"a": 1}


def test_keys_are_never_too_long() -> None:
    """The longest of names fit, with room for the parts of a large record."""
    layout, long = Layout("n" * 48), "ü" * 1_000
    keys = [
        layout.head(long, long, long),
        layout.blob(long, long, long, long),
        layout.task(long, long, long, long),
        layout.guard(long, long),
        layout.of_run(long, b"x" * 480),
    ]
    assert max(map(len, keys)) <= 480 - 2 - 12


# --- several at a time -------------------------------------------------------


def test_a_thread_of_large_values_is_pruned_and_deleted(case: Case) -> None:
    """Also if they are more than one transaction removes: 16 MiB."""
    where: Any = at("t")
    tasks = [("a", "x" * 500_000)]
    for number in range(36):
        checkpoint = made({"a": f"{number}" * 250_000}, {"a": number})
        where = case("put", where, checkpoint, {"step": number}, checkpoint["channel_versions"])
        case("put_writes", where, tasks, f"task-{number}")
    case("prune", ["t"], strategy="keep_latest")
    assert case.values(at("t")) == {"a": "35" * 250_000}
    assert case.kinds()["b"] == 1
    case("delete_thread", "t")
    assert case.kinds() == {}


def test_tasks_are_written_to_by_many_at_a_time(case: Case) -> None:
    """Eight threads write to one task: of each index one value stays, of one's own index
    the last; nothing is torn or lost."""
    first = case.put(at("t"))
    threads = [
        threading.Thread(
            target=case.__call__,
            args=(
                "put_writes",
                first,
                [("a", number), ("b", number), *([("c", number)] if number == 7 else [])],
                "task",
            ),
        )
        for number in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    pending = case("get_tuple", first).pending_writes
    assert [channel for _, channel, _ in pending] == ["a", "b", "c"]
    assert pending[0][2] == pending[1][2]
    assert pending[2][2] == 7


def test_what_a_task_writes_again(case: Case) -> None:
    """Of each index the first value stays, and what is new comes beside it; an error or an
    answer, which have an index of their own, is replaced."""
    first = case.put(at("t"))
    case("put_writes", first, [("a", 1), ("__error__", "one")], "task")
    case("put_writes", first, [("a", 2), ("b", 2), ("__error__", "two")], "task")
    case("put_writes", first, [("__resume__", "yes")], "task")
    pending = [one[1:] for one in case("get_tuple", first).pending_writes]
    assert pending == [("__resume__", "yes"), ("__error__", "two"), ("a", 1), ("b", 2)]


def test_pruning_a_thread_that_is_written_to(case: Case) -> None:
    """One puts, another prunes all the while: every checkpoint that is seen is whole."""
    done, errors = threading.Event(), []

    def prune() -> None:
        try:
            while not done.is_set():
                case("prune", ["t"])
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)

    pruning = threading.Thread(target=prune)
    pruning.start()
    try:
        where, kept = at("t"), {"kept": ["k"]}
        for number in range(40):
            values = {**kept, "n": [number]}
            versions = {"kept": 1, "n": number + 1}
            new = versions if number == 0 else {"n": number + 1}
            where = case("put", where, made(values, versions), {}, new)
            assert case.values(where if number % 2 else at("t")) == values
    finally:
        done.set()
        pruning.join()
    assert not errors
    case("prune", ["t"])
    assert case.kinds() == {"c": 1, "b": 2, "n": 1}


def test_others_see_it(case: Case, endpoints: str) -> None:
    """Another client, with connections of its own, reads what this one has written."""
    first = case.put(at("t"), {"n": [1]})
    with RaftSaver(endpoints, name=case.name) as other:
        assert case.face(other, "get_tuple", at("t")).config == first
        second = put(case.face, other, first, {"n": [2]})
    assert case("get_tuple", at("t")).config == second
    with RaftSaver(endpoints, name=f"{case.name}-other") as other:
        assert case.face(other, "get_tuple", at("t")) is None


def test_branches_do_not_share_versions(case: Case) -> None:
    """Two that go on from one checkpoint make other versions of the same value, so neither
    overwrites the other's; and versions only grow."""
    made_of = [case.saver.get_next_version("7", None) for _ in range(100)]
    assert len(set(made_of)) == 100
    version: str | None = None
    for _ in range(20):
        following = case.saver.get_next_version(version, None)
        assert version is None or following > version
        version = following


# --- lists -------------------------------------------------------------------


def test_a_list_has_the_newest_first_whatever_the_namespace(case: Case) -> None:
    """Of a thread, and of all of them; with all that is asked of them."""
    ids = []
    for number in range(25):
        where = at("t" if number % 3 else "u", "" if number % 2 else "child")
        ids.append(id_of(case.put(where, {"n": [number]}, number=number % 5)))
    newest = ids[::-1]

    def listed(config: Any, **options: Any) -> list[str]:
        return [id_of(one.config) for one in case("list", config, **options)]

    assert listed(None) == newest
    assert listed(None, limit=3) == newest[:3]
    assert listed(None, limit=0) == []
    assert listed(None, before=at("t", "", ids[10])) == ids[9::-1]
    assert listed(None, filter={"number": 3}) == ids[23::-5]
    assert listed(None, filter={"number": 3}, limit=2) == [ids[23], ids[18]]
    of_t = [one for at, one in enumerate(ids) if at % 3][::-1]
    assert listed({"configurable": {"thread_id": "t"}}) == of_t
    assert listed({"configurable": {"thread_id": "t", "checkpoint_id": ids[4]}}) == [ids[4]]
    root = [one for at, one in enumerate(ids) if at % 3 and at % 2][::-1]
    assert listed(at("t")) == root
    assert listed(at("t"), before=at("t", "", root[2]), limit=2) == root[3:5]
    assert listed(at("t", "", root[1])) == [root[1]]
    assert listed(at("t", "", root[1]), filter={"number": 99}) == []
    assert listed(at("t", "nowhere")) == []


def test_a_list_is_read_as_it_is_asked_for(case: Case) -> None:
    """More than a page; and who has seen enough may stop."""
    where = at("t")
    for number in range(45):
        where = case.put(where, {"n": number})
    found = [one.checkpoint["channel_values"]["n"] for one in case("list", at("t"))]
    assert found == list(range(45))[::-1]
    if case.face.name == "sync":
        assert next(case.saver.list(at("t"))).config == where
        return

    async def first() -> Any:
        async for one in case.saver.alist(at("t")):
            return one.config
        return None

    assert asyncio.run(first()) == where


# --- what is asked of it -----------------------------------------------------


def test_what_makes_no_sense_is_refused(case: Case) -> None:
    """Clearly, and nothing is changed."""
    first = case.put(at("t"), {"n": [1]})
    before = stored(case.portal, case.name)
    nowhere: Any = {"configurable": {}}
    surrogate = "\ud800"
    wrong: dict[str, Callable[[], Any]] = {
        "configurable.thread_id": lambda: case("get_tuple", nowhere),
        "configurable.checkpoint_id": lambda: case("put_writes", at("t"), [("a", 1)], "task"),
        "strategy": lambda: case("prune", ["t"], strategy="keep_none"),
        "thread_ids": lambda: case("prune", "t", strategy="delete"),
        "run_ids": lambda: case("delete_for_runs", "run"),
        "thread_id": lambda: case("delete_thread", surrogate),
        "name": lambda: RaftSaver(case.portal, name="n" * 49),
        "serde": lambda: RaftSaver(case.portal, serde=JsonPlusSerializer(pickle_fallback=True)),
    }
    for field, call in wrong.items():
        with pytest.raises(InvalidRequest) as told:
            call()
        assert told.value.definite
        assert told.value.details["field"] == field
    with pytest.raises(InvalidRequest):
        case("put", nowhere, made(), {}, {})
    with pytest.raises(InvalidRequest):
        case("list", nowhere)
    with pytest.raises(TypeError):
        case("put", first, made({"n": object()}), {}, {"n": 1})
    assert stored(case.portal, case.name) == before


def test_nothing_is_unpickled(case: Case) -> None:
    """Also if somebody has stored what asks for it."""
    serde = EncryptedSerializer.from_pycryptodome_aes(
        serde=JsonPlusSerializer(pickle_fallback=True), key=b"1234567890123456"
    )
    with pytest.raises(InvalidRequest):
        RaftSaver(case.portal, serde=serde)
    first = case.put(at("t"), {"n": ["value"]})
    [blob] = [one for one in stored(case.portal, case.name) if b"\x01b\x01" in one]
    pickled = b"\x00\x00\x06picklecposix\nsystem\n(S'false'\ntR."
    case.portal.run(lambda store: store.keys.put(blob, pickled))
    with pytest.raises(NotImplementedError, match="pickle"):
        case("get_tuple", first)


@dataclasses.dataclass
class Note:
    """A type that a program has of its own."""

    text: str
    inner: Any = None


def test_nothing_is_called_that_is_no_type_of_data(case: Case, tmp_path: Path) -> None:
    """A value that names a function, or a class that does something, at any depth, comes back
    as what it was to be called with. A program's own types come back as they are."""
    noted = Note("a", [Note("b", {1, 2}), AIMessage("c")])
    first = case.put(at("t"), {"n": noted})
    assert case.values(first) == {"n": noted}
    touched = tmp_path / "touched"
    evil: dict[str, Any] = {
        "function": ormsgpack.Ext(0, ormsgpack.packb(["os", "system", f"touch {touched}"])),
        "class": ormsgpack.Ext(
            1, ormsgpack.packb(["subprocess", "Popen", [["touch", str(touched)]]])
        ),
        "module": ormsgpack.Ext(0, ormsgpack.packb(["antigravity", "geohash", 1])),
        "kept": 1,
    }
    inner = ormsgpack.packb([Note.__module__, "Note", {"text": evil}])
    for data in (ormsgpack.packb(evil), ormsgpack.packb(ormsgpack.Ext(2, inner))):
        [blob] = [one for one in stored(case.portal, case.name) if b"\x01b\x01" in one]
        value = b"\x00\x00\x07msgpack" + data
        case.portal.run(lambda store, value=value, blob=blob: store.keys.put(blob, value))  # type: ignore[misc]
        found = case.values(first)["n"]
        made = found.text if isinstance(found, Note) else found
        assert made == {
            "function": f"touch {touched}",
            "class": [["touch", str(touched)]],
            "module": 1,
            "kept": 1,
        }
    assert not touched.exists()
    assert "antigravity" not in sys.modules


def test_the_environment_may_be_stricter(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """With LangGraph's own switch, it is LangGraph's own serializer and list."""
    assert isinstance(case.saver.serde, ListedSerializer)
    monkeypatch.setenv("LANGGRAPH_STRICT_MSGPACK", "true")
    assert type(RaftSaver(case.portal, name=case.name).serde) is JsonPlusSerializer


def test_what_is_damaged_is_said_to_be(case: Case) -> None:
    """A value that is missing, a checkpoint of tomorrow: an error that says so, not less."""
    first = case.put(at("t"), {"n": ["value"]})
    keys = {
        chr(one[len(Layout(case.name).heads()) - 2]): one
        for one in stored(case.portal, case.name)
    }
    case.portal.run(lambda store: store.keys.delete(keys["b"]))
    with pytest.raises(Damaged, match="missing"):
        case("get_tuple", first)
    case.portal.run(lambda store: store.keys.put(keys["c"], b"\x00\x92\x02\x01"))
    with pytest.raises(Damaged, match="newer"):
        case("get_tuple", first)
    case.portal.run(lambda store: store.keys.put(keys["c"], b"\x00nonsense"))
    with pytest.raises(Damaged):
        case("list", at("t"))


def test_a_serializer_is_exchanged_as_langgraph_does(case: Case) -> None:
    """A copy with an allow-list shares the connection; encrypted values are not to be read
    without the key."""
    strict = RaftSaver(
        case.portal, name=case.name, serde=JsonPlusSerializer(allowed_msgpack_modules=None)
    )
    clone = strict.with_allowlist([("tests.outside", "Nothing")])
    assert clone is not strict
    put(case.face, strict, at("t"), {"n": ["value"]})
    assert case.face(clone, "get_tuple", at("t")).checkpoint["channel_values"] == {
        "n": ["value"]
    }
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"1234567890123456")
    secret = RaftSaver(case.portal, name=f"{case.name}-aes", serde=serde)
    put(case.face, secret, at("t"), {"n": ["plain words"]}, said="plain words")
    assert case.face(secret, "get_tuple", at("t")).checkpoint["channel_values"] == {
        "n": ["plain words"]
    }
    everything = b"".join(stored(case.portal, f"{case.name}-aes").values())
    assert b"plain words" not in everything


def test_a_saver_closes_what_it_has_opened(case: Case, endpoints: str) -> None:
    """Its own connections, and not a portal that it was given."""
    own = RaftSaver(endpoints, name=case.name)
    put(case.face, own, at("t"))
    case.face(own, "close") if case.face.name == "sync" else asyncio.run(own.aclose())
    own.close()  # twice is harmless
    with pytest.raises(Closed):
        case.face(own, "get_tuple", at("t"))
    with RaftSaver(case.portal, name=case.name) as borrowed:
        put(case.face, borrowed, at("t"))
    assert case("get_tuple", at("t")) is not None


def test_both_faces_inside_an_event_loop(case: Case) -> None:
    """The sync face in a thread with a running loop, the async one in several loops."""

    async def both() -> Any:
        case.saver.put(at("t"), made({"n": [1]}, checkpoint_id="a"), {}, {"n": 1})
        return await case.saver.aget_tuple(at("t"))

    for _ in range(2):
        assert asyncio.run(both()).checkpoint["channel_values"] == {"n": [1]}
