"""An audit in a file: what is verified without a server, and what is found out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from hashlib import blake2b
from io import BytesIO

import pytest

import raftstate
from raftstate import content
from raftstate.client import auditfile
from raftstate.client.store import Store
from tests.client.test_end_to_end import stores


async def _filled(store: Store) -> None:
    """Three streams: an agent's, a free one, and one of which the beginning is truncated."""
    async with store.own("agent") as agent:
        for number in range(3):
            async with agent.step() as step:
                step.event("worked", {"n": number, "text": "grün"})
    await store.append("free", [raftstate.event("e", b"\0\xff", event_id=f"{n}") for n in "ab"])
    await store.append("old", [raftstate.event("e", n) for n in range(4)])
    await store.save_projection("p", 7)
    await store.truncate_before("old", 3, projection="p")


async def _exported(prefix: str) -> bytes:
    async with stores(1) as (_, (store,)):
        await _filled(store)
        file = BytesIO()
        report = await auditfile.write(store.export_audit(prefix), prefix, file)
        assert report.intact
        return file.getvalue()


@pytest.fixture(scope="module")
def whole() -> bytes:
    """A file that is as it was written."""
    return asyncio.run(_exported(""))


def verify(data: bytes) -> auditfile.Report:
    return auditfile.verify(BytesIO(data))


def test_a_file_that_is_whole_is_intact(whole: bytes) -> None:
    """
    Everything it holds is counted, and what was truncated is named; the head is a short
    word for all of it.
    """
    report = verify(whole)
    end = json.loads(whole.splitlines()[-1])["end"]

    assert report.faults == []
    assert (report.streams, report.events, report.truncated) == (3, 7, 1)
    assert report.head == end["head"]
    assert [next(iter(json.loads(line))) for line in whole.splitlines()] == [
        "raftstate_audit",
        *["stream"] * 3,
        *["event"] * 7,
        "end",
    ]


def test_a_part_and_nothing_are_audits_too() -> None:
    """
    A prefix exports those streams alone; one that none has, none.
    """
    part, none = (verify(asyncio.run(_exported(prefix))) for prefix in ("fr", "zz"))

    assert (part.intact, part.streams, part.events, part.prefix) == (True, 1, 2, "fr")
    assert (none.intact, none.streams, none.events) == (True, 0, 0)


def test_every_flipped_bit_is_found(whole: bytes) -> None:
    """
    Whatever byte of the file is another, and be it a blank for a blank, it is said where.
    """
    missed = []
    for place in range(len(whole)):
        for bit in (1, 32):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            report = verify(bytes(damaged))
            if report.intact:
                missed.append((place, bit))

    assert missed == []


async def _hashed() -> bytes:
    """An agent's stream of which one event says what the state is after it."""
    async with stores(1) as (_, (store,)):
        async with store.own("agent") as agent, agent.step() as step:
            step.event("did", 1)
            step.event("did", 2, state={"n": 2})
        file = BytesIO()
        await auditfile.write(store.export_audit(""), "", file)
        return file.getvalue()


def test_what_is_said_of_a_state_is_proved_too() -> None:
    """
    An event's state hash is written where there is one, and is part of what is proved: an
    event that has none is written as if there were no such thing. Which events a rollback
    has undone is never written.
    """
    data = asyncio.run(_hashed())
    bare, hashed = (json.loads(line)["event"] for line in data.splitlines()[2:4])
    said = content.state_hash({"n": 2}).hex()

    assert verify(data).faults == []
    assert hashed["state_hash"] == said
    assert set(hashed) - set(bare) == {"state_hash"}
    assert "undone_by" not in hashed
    for damage in (
        data.replace(said.encode(), b"00" * 32, 1),
        data.replace(f',"state_hash":"{said}"'.encode(), b"", 1),
        data.replace(b'"event_id":""', b'"event_id":"","state_hash":""', 1),
    ):
        assert damage != data
        assert not verify(damage).intact


def line_with(data: bytes, text: str) -> int:
    """The place of the first line, from 0, that holds a text."""
    [place, *_] = [n for n, line in enumerate(data.decode().splitlines()) if text in line]
    return place


Damage = Callable[[list[bytes]], list[bytes]]


def drop(place: int) -> Damage:
    return lambda lines: lines[:place] + lines[place + 1 :]


def swap(place: int) -> Damage:
    return lambda lines: [
        *lines[:place],
        lines[place + 1],
        lines[place],
        *lines[place + 2 :],
    ]


def double(place: int) -> Damage:
    return lambda lines: lines[: place + 1] + lines[place:]


def change(place: int, old: bytes, new: bytes) -> Damage:
    def done(lines: list[bytes]) -> list[bytes]:
        assert old in lines[place]
        return [*lines[:place], lines[place].replace(old, new, 1), *lines[place + 1 :]]

    return done


# Lines, from 0: the header, streams agent, free and old, events 4 to 6 of agent, 7 and 8 of
# free, 9 and 10 of old (3 and 4), the end.
CASES: dict[str, tuple[Damage, str]] = {
    "an event is changed": (
        change(5, b'"worked"', b'"slept!"'),
        "event 2 of agent is not what was written",
    ),
    "an event is missing": (drop(5), "event 2 of agent missing"),
    "two events are missing": (
        lambda lines: lines[:5] + lines[7:],
        "events 2 to 3 of agent missing",
    ),
    "a stream's last event is missing": (drop(6), "event 3 of agent missing"),
    "all events of a stream are missing": (
        lambda lines: lines[:7] + lines[9:],
        "events 1 to 2 of free missing",
    ),
    "the last events are missing": (drop(10), "event 4 of old missing"),
    "an event comes twice": (double(5), "event 2 of agent comes twice, or out of order"),
    "events are out of order": (swap(4), "event 1 of agent comes twice, or out of order"),
    "streams' events are out of order": (
        lambda lines: [*lines[:4], *lines[7:9], *lines[4:7], *lines[9:]],
        "event 1 of agent comes out of order",
    ),
    "a stream is missing": (drop(2), "of stream free, which was not announced"),
    "a stream comes twice": (double(2), "stream free comes twice"),
    "streams are out of order": (swap(1), "stream agent comes out of order, behind free"),
    "a stream comes late": (
        lambda lines: [lines[0], *lines[2:5], lines[1], *lines[5:]],
        "stream agent comes behind events",
    ),
    "the header is missing": (drop(0), "the header is missing"),
    "the header comes again": (double(0), "the header comes again"),
    "the header is changed": (
        change(0, b'"revision":', b'"revision":1'),
        "a line before the end is not what was written",
    ),
    "the format is another": (change(0, b":1,", b":2,"), "format 2 is not known here"),
    "the end is missing": (lambda lines: lines[:-1], "the file is cut"),
    "the end comes twice": (double(11), "something behind the end"),
    "the last line is cut": (
        lambda lines: [*lines[:-1], lines[-1][:20]],
        "line 12: is cut off",
    ),
    "a line break is missing": (lambda lines: [*lines[:-1], lines[-1][:-1]], "is cut off"),
    "the base is another": (
        change(3, b'"base_hash":"', b'"base_hash":"00'),
        "event 3 of old is not what was written, or the base of its stream",
    ),
    "the base is missing": (
        lambda lines: [
            *lines[:3],
            _without_base(lines[3]),
            *lines[4:],
        ],
        "stream old has no base",
    ),
    "the beginning is said to be truncated": (
        change(1, b'"base_hash":""', b'"base_hash":"00"'),
        "stream agent has a base, though nothing was truncated",
    ),
    "the last hash is another": (
        change(2, b'"last_hash":"', b'"last_hash":"00'),
        "stream free does not end as it says",
    ),
    "the stream is said to be longer": (
        change(2, b'"last_seq":2', b'"last_seq":3'),
        "event 3 of free missing",
    ),
    "the stream is said to be shorter": (
        change(2, b'"last_seq":2', b'"last_seq":1'),
        "event 2 of free is behind the end of its stream",
    ),
    "the counts are others": (
        change(11, b'"events":7', b'"events":8'),
        "the file holds 7 events; its end says 8",
    ),
    "the head is another": (
        change(11, b'"head":"', b'"head":"00'),
        "the chain's head is not the one of these streams",
    ),
    "a line is no JSON": (change(4, b"{", b"["), "line 5: is not as it was written"),
    "a line is another line": (
        lambda lines: [*lines[:4], b'{"else":{}}\n', *lines[4:]],
        "it is no line of an audit",
    ),
    "a number is written otherwise": (
        change(4, b'"seq":1,', b'"seq":1.0,'),
        "line 5: is not as it was written",
    ),
    "a word is written as a number": (
        change(1, b'"agent":true', b'"agent":1'),
        "line 2: is not as it was written: agent",
    ),
    "a number is beyond all words": (
        change(1, b'"agent":true', b'"agent":' + b"9" * 30),
        "line 2: is not as it was written: agent",
    ),
    "nothing": (lambda _: [], "the file is empty"),
    "something else": (lambda _: [b"hello\n"], "line 1: is not as it was written"),
}


def _without_base(line: bytes) -> bytes:
    value = json.loads(line)
    value["stream"]["base_hash"] = ""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("name", CASES)
def test_each_damage_is_told_in_its_own_words(whole: bytes, name: str) -> None:
    """
    What is missing, double, out of order, changed or cut is told apart, with its line.
    """
    damage, words = CASES[name]
    faults = verify(b"".join(damage(whole.splitlines(keepends=True)))).faults

    assert any(words in fault for fault in faults), faults


def test_a_rewritten_past_does_not_fit_the_chain(whole: bytes) -> None:
    """
    Who changes an event, and every count and the file's own hash with it, is found out by
    the chain; and who computes the whole chain anew, by the head that was kept elsewhere.
    """
    lines = whole.splitlines(keepends=True)
    lines[5] = lines[5].replace(b'"worked"', b'"slept!"')
    end = json.loads(lines[-1])
    total = blake2b(b"".join(lines[:-1]), digest_size=32).hexdigest()
    end["end"]["file_hash"] = total
    lines[-1] = json.dumps(end, separators=(",", ":")).encode() + b"\n"

    faults = verify(b"".join(lines)).faults

    assert faults == ["line 6: event 2 of agent is not what was written"]


def test_a_file_full_of_faults_is_left() -> None:
    """
    After so many faults the rest is not looked at.
    """
    report = verify(b"x\n" * 1_000)

    assert len(report.faults) == auditfile.FAULTS_MAX + 1
    assert report.faults[-1].startswith("and more")
