"""Each kind of fault: drawn from draws alone, undone, and proven only if it was there.

What proves a fault is tried on stories: what members say of themselves over 20 seconds,
with a fault from the 6th to the 10th, and what of it the fault changed.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any, cast

import pytest

from jepsen_like.nemesis import laggard, partitions, processes, targets
from jepsen_like.nemesis.catalogue import packages
from jepsen_like.protocols import Control, Fault, Package, Sample, Window

NODES = ("n1", "n2", "n3")
BEGAN, ENDED, END = 6.0, 10.0, 20.0

Change = Callable[[Sample], Sample]


class FakeLinks:
    """Links that note what is done to them."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        async def note(pairs: Any = None, *_: Any) -> dict[str, int]:
            self.done.append((name, pairs))
            return {}

        return note


class FakeControl:
    """A cluster that notes what is done to it."""

    def __init__(self, nodes: Sequence[str] = NODES, leader: str | None = "n2") -> None:
        self.nodes = tuple(nodes)
        self.addresses: dict[str, str] = {}
        self.links = FakeLinks()
        self.done: list[tuple[str, Any]] = []
        self._leader = leader

    async def leader(self) -> str | None:
        """Who leads."""
        return self._leader

    async def wait_serving(self, timeout: float) -> bool:
        """It does."""
        return True

    def __getattr__(self, name: str) -> Any:
        async def note(nodes: Any) -> None:
            self.done.append((name, nodes))

        return note


def mine(control: Any, pids: Sequence[int] = ()) -> list[Package]:
    """The packages of this test, in one order."""
    return [
        processes.Kill(control),
        processes.Pause(control),
        processes.PauseClients(lambda: pids),
        processes.Restart(control),
        partitions.Partition(control),
        laggard.Laggard(control),
    ]


KINDS = {kind: package for package in mine(cast(Control, None)) for kind in package.kinds}


# --- drawing -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_draws_make_the_same_fault(kind: str) -> None:
    """
    A fault depends on the draws alone, is for JSON, and lasts 1 to 8 seconds; another
    seed draws another one. It is drawn without a cluster.
    """
    drawn = [KINDS[kind].draw(kind, random.Random(seed)) for seed in (1, 1, 2)]

    assert drawn[0] == drawn[1] != drawn[2]
    assert json.loads(json.dumps(dict(drawn[0].args))) == dict(drawn[0].args)
    assert all(1.0 <= fault.seconds <= 8.0 for fault in drawn)


def test_clients_sleep_longer_than_they_may() -> None:
    """
    A paused client is silent for longer than what it owns outlives it.
    """
    pause = KINDS["pause-clients"]
    drawn = [pause.draw("pause-clients", random.Random(seed)) for seed in range(50)]

    assert min(fault.seconds for fault in drawn) > processes.TTL_S


def test_every_package_is_in_the_catalogue() -> None:
    """
    The packages here are those that a run finds by name.
    """
    found = packages(cast(Control, None), tuple)

    for package in mine(cast(Control, None)):
        assert type(found[package.name]) is type(package)


# --- beginning, ending, healing ------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("kill-one", 1),
        ("kill-leader", 1),
        ("kill-minority", 2),
        ("kill-majority", 3),
        ("kill-all", 5),
    ],
)
def test_as_many_are_killed_as_the_kind_says(kind: str, count: int) -> None:
    """
    Of five members one, two, three or all are killed at once, and the same are started.
    """

    async def body() -> None:
        control = FakeControl(("n1", "n2", "n3", "n4", "n5"), "n4")
        kill = processes.Kill(cast(Control, control))
        fault = kill.draw(kind, random.Random(3))
        begun = await kill.begin(fault)
        await kill.end(fault)
        await kill.heal()

        assert len(begun["nodes"]) == count
        assert kind != "kill-leader" or begun["nodes"] == ["n4"]
        assert control.done == [("kill", begun["nodes"]), ("start_nodes", begun["nodes"])]

    asyncio.run(body())


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"snapshot-install", "pause-clients"}))
def test_healing_undoes_what_was_begun_and_is_harmless(kind: str) -> None:
    """
    After a heal without an end nothing is left to undo, and a second one does nothing.
    """

    async def body() -> None:
        control = FakeControl()
        package = next(one for one in mine(control) if kind in one.kinds)
        await package.heal()
        assert control.done == control.links.done == []
        begun = await package.begin(package.draw(kind, random.Random(9)))
        assert json.loads(json.dumps(begun)) == begun
        await package.heal()
        did = [*control.done, *control.links.done]
        await package.heal()
        assert [*control.done, *control.links.done] == did
        undone = {name for name, _ in did} & {"start_nodes", "resume", "mend"}
        assert len(undone) == 1

    asyncio.run(body())


def test_without_a_leader_another_one_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where nobody leads, a member is drawn in the leader's place, and the answer says so.
    """
    monkeypatch.setattr(targets, "_LEADER_S", 0.0)

    async def body() -> None:
        control = FakeControl(leader=None)
        for kind in ("kill-leader", "pause-leader", "partition-leader"):
            package = next(one for one in mine(control) if kind in one.kinds)
            begun = await package.begin(package.draw(kind, random.Random(4)))
            assert begun["leader"] in NODES
            assert "nobody led" in begun["note"]
            await package.heal()

    asyncio.run(body())


def test_too_few_members_are_said() -> None:
    """
    One member has no links, and two cannot go on without one: nothing is done then.
    """

    async def body() -> None:
        control = FakeControl(("n1",), "n1")
        partition = partitions.Partition(cast(Control, control))
        for kind in partition.kinds:
            fault = partition.draw(kind, random.Random(1))
            begun = await partition.begin(fault)
            assert (begun["links"], begun["note"]) == ([], "one member has no links")
            await partition.end(fault)
        two = FakeControl(("n1", "n2"), "n1")
        late = laggard.Laggard(cast(Control, two))
        begun = await late.begin(late.draw("snapshot-install", random.Random(1)))
        await late.heal()
        assert begun["nodes"] == []
        assert "fewer than three" in begun["note"]
        assert two.links.done == []
        assert {name for name, _ in control.links.done} == {"counts"}

    asyncio.run(body())


# --- which links ---------------------------------------------------------------------------


def groups(nodes: Sequence[str], links: Sequence[tuple[str, str]]) -> set[frozenset[str]]:
    """Who can reach whom, both ways, by links that are left."""
    left = set(permutations(nodes, 2)) - set(links)
    found = set()
    for node in nodes:
        reached, todo = {node}, [node]
        while todo:
            here = todo.pop()
            near = {one for one in nodes if {(here, one), (one, here)} <= left} - reached
            reached |= near
            todo += near
        found.add(frozenset(reached))
    return found


def harm(kind: str, count: int, seed: int) -> tuple[tuple[str, ...], set[tuple[str, str]]]:
    """The members, the leader first, and the links that are harmed."""
    nodes = tuple(f"n{number}" for number in range(1, count + 1))
    found = partitions.harm_of(kind, targets.Aim(nodes, "n1"), random.Random(seed))
    assert len(set(found.links)) == len(found.links)
    assert set(found.links) <= set(permutations(nodes, 2))
    return nodes, set(found.links)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("kind", partitions.Partition.kinds)
def test_every_partition_harms_something(kind: str, count: int) -> None:
    """
    Whatever the number of members, some link is harmed, and of three or more never all,
    unless the links are only flaky.
    """
    for seed in range(8):
        nodes, links = harm(kind, count, seed)
        assert links
        assert count == 2 or kind == "flaky-links" or len(links) < count * (count - 1)
        assert len(nodes) == count


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7])
def test_partitions_are_what_they_are_called(count: int) -> None:
    """
    The leader alone is alone. A half is a majority and the rest, with the leader on either
    side. Halves of a bridge meet in one member. In a ring of four or more everybody sees a
    majority, and not all. One way is one way.
    """
    nodes, links = harm("partition-leader", count, 0)
    assert groups(nodes, sorted(links)) == {frozenset(nodes[:1]), frozenset(nodes[1:])}

    sides = set()
    for seed in range(20):
        nodes, links = harm("partition-half", count, seed)
        few, many = sorted(groups(nodes, sorted(links)), key=len)
        assert len(many) >= targets.majority(count)
        sides.add("n1" in few)
    assert sides == {False, True}

    nodes, links = harm("partition-bridge", count, 0)
    (meeting,) = [node for node in nodes if not any(node in pair for pair in links)]
    rest = [node for node in nodes if node != meeting]
    assert len(groups(rest, sorted(links))) == 2
    assert groups(nodes, sorted(links)) == {frozenset(nodes)}

    nodes, links = harm("partition-ring", count, 0)
    for node in nodes:
        lost = sum(pair[0] == node for pair in links)
        assert lost == sum(pair[1] == node for pair in links)
        if count == 3:
            assert lost == 1
        else:
            assert targets.majority(count) <= count - lost
            assert lost or count == 3

    for seed in range(8):
        nodes, links = harm("partition-one-way", count, seed)
        assert not any((second, first) in links for first, second in links)
        assert all("n1" in pair for pair in links)
        assert len(links) == count - 1

    nodes, links = harm("partition-both", count, 0)
    assert links == {("n1", "n2"), ("n2", "n1")}


# --- what shows a fault ----------------------------------------------------------------------


def story(changes: Mapping[str, Change] | None = None) -> list[Sample]:
    """What three members say every quarter of a second: n2 leads in term 3, 20 entries a
    second are committed, and all are connected; but for what the changes make of it."""
    samples = []
    for step in range(int(END * 4)):
        for node in NODES:
            time = step / 4 + int(node[1:]) / 100
            usual = Sample(
                time=time,
                node=node,
                answered=True,
                role="leader" if node == "n2" else "follower",
                leader="n2",
                ready=True,
                term=3,
                commit_index=100 + int(20 * time),
                applied_index=100 + int(20 * time),
                last_index=100 + int(20 * time),
                connected=tuple(one for one in NODES if one != node),
                snapshots_installed=1,
                uptime_ms=int(1000 * (time + 50)),
            )
            change = (changes or {}).get(node)
            samples.append(usual if change is None else change(usual))
    return samples


def silent(one: Sample) -> Sample:
    """No answer at all."""
    return Sample(one.time, one.node, answered=False)


def within(change: Change, began: float = BEGAN, ended: float = ENDED) -> Change:
    """A change that is there for as long as the fault."""
    return lambda one: change(one) if began <= one.time <= ended else one


def restarted(at: float, gone: float = BEGAN, back: float = ENDED + 1) -> Change:
    """The process is gone for a while, and another one was started at `at`."""

    def change(one: Sample) -> Sample:
        if one.time < gone:
            return one
        if one.time < back:
            return silent(one)
        return replace(one, uptime_ms=int(1000 * (one.time - at)))

    return change


def cannot_send(*peers: str) -> Change:
    """It says that it is not connected to these."""
    return within(
        lambda one: replace(
            one, connected=tuple(peer for peer in one.connected if peer not in peers)
        )
    )


def flickering(one: Sample) -> Sample:
    """Connected to nobody, every other time."""
    return replace(one, connected=()) if int(one.time * 4) % 2 else one


STANDS = within(lambda one: replace(one, commit_index=220))
WAITING = within(lambda one: replace(one, last_index=one.commit_index + 6))
STEPS_DOWN = within(lambda one: replace(one, role="follower", leader="n1", term=4), 7.0, END)
LOST = within(lambda one: replace(one, leader="", ready=False), 7.0)
INSTALLS = within(lambda one: replace(one, snapshots_installed=2), ENDED, END)
INSTALLED = within(lambda one: replace(one, snapshots_installed=2), 0.0, END)
YOUNG = restarted(BEGAN + 0.5, BEGAN - 3, BEGAN + 1)  # it was down when the fault began
PAUSED = within(silent)
KILLED = restarted(ENDED + 0.5)
# What is seen of a member that is killed, or stopped, by those who are connected to it.
N3_IS_AWAY: dict[str, Change] = {"n1": cannot_send("n3"), "n2": cannot_send("n3")}

TO_ALL = {"links": [["n2", "n1"], ["n2", "n3"]], "leader": "n2"}
FROM_ALL = {"links": [["n1", "n2"], ["n3", "n2"]], "leader": "n2"}
ONE = {"nodes": ["n1"]}
STOOD = {"stopped": [7, 8], "of": 4}
EVERY_LINK = {"links": [list(pair) for pair in permutations(NODES, 2)], "leader": "n2"}
BOTH = {"links": [["n2", "n3"], ["n3", "n2"]], "leader": "n2"}
NOTE = "nobody led: n2 was drawn in its place"
NOT_LED = TO_ALL | {"note": NOTE}

# A fault that was there: its kind, what its begin and end answered, and the story.
SHOWN: list[tuple[str, Any, Any, dict[str, Change]]] = [
    ("kill-one", ONE, {}, {"n1": restarted(ENDED + 0.5)}),
    (
        "kill-all",
        {"nodes": list(NODES)},
        {},
        {node: restarted(ENDED + 0.5) for node in NODES},
    ),
    ("kill-leader", {"nodes": ["n2"]}, {}, {"n2": restarted(ENDED + 0.5)}),
    ("pause-leader", {"nodes": ["n2"]}, {}, {"n2": PAUSED}),
    ("pause-clients", STOOD, {"still_stopped": [8], "stopped_s": 3.0}, {}),
    (
        "rolling-restart",
        {"nodes": list(NODES)},
        None,
        {
            node: restarted(6.8 + 0.78 * at, gone=6.3 + 0.78 * at, back=7.0 + 0.78 * at)
            for at, node in enumerate(NODES)
        },
    ),
    ("partition-leader", TO_ALL, {}, {"n2": cannot_send("n1", "n3")}),
    ("partition-one-way", {"links": [["n1", "n2"]]}, {}, {"n1": cannot_send("n2")}),
    ("flaky-links", TO_ALL, {}, {"n2": within(flickering)}),
    ("half-open", TO_ALL, {}, {"n2": STEPS_DOWN}),
    ("half-open", {"links": [["n2", "n1"]]}, {}, {"n1": LOST}),
    ("half-open", {"links": [["n1", "n2"]]}, {}, {"n1": STANDS}),
    ("slow-links", TO_ALL, {}, {"n2": WAITING}),
    # Beside another fault: n3 was away as well.
    ("partition-leader", TO_ALL, {}, {"n2": cannot_send("n1", "n3"), "n3": KILLED}),
    ("partition-half", NOT_LED, {}, {"n2": cannot_send("n1", "n3")}),
    ("flaky-links", EVERY_LINK, {}, {"n1": within(flickering), "n3": KILLED}),
    ("flaky-links", EVERY_LINK, {}, {"n1": within(flickering), "n3": restarted(5, 3, 5.5)}),
    ("half-open", TO_ALL, {}, {"n1": STANDS, "n3": KILLED}),
    ("slow-links", TO_ALL, {}, {"n2": WAITING, "n3": KILLED}),
    ("snapshot-install", ONE, {"installed": True}, {"n1": INSTALLS}),
    ("snapshot-install", ONE, {}, {"n1": lambda one: INSTALLS(YOUNG(one))}),
]

# And one that was not, whatever its begin says: kind, begin, end, story, and why not.
PLANTED: list[tuple[str, Any, Any, dict[str, Change], str]] = [
    ("kill-one", ONE, {}, {"n1": PAUSED}, "silent, and the same process"),
    ("kill-one", ONE, {}, {"n2": restarted(ENDED + 0.5)}, "another one was restarted"),
    ("kill-one", ONE, {}, {"n1": restarted(13.5, 12.5, 14.0)}, "by a later fault"),
    ("kill-one", ONE, {}, {"n1": restarted(4.0, 3.0, 4.5)}, "by an earlier fault"),
    (
        "kill-majority",
        {"nodes": ["n1", "n3"]},
        {},
        {"n1": restarted(ENDED + 0.5)},
        "only one of two",
    ),
    (
        "pause-leader",
        {"nodes": ["n2"]},
        {},
        {"n2": restarted(ENDED + 0.5)},
        "it was another process afterwards",
    ),
    (
        "pause-leader",
        {"nodes": ["n2"]},
        {},
        {"n2": within(silent, 6.0, 6.6)},
        "silent for a moment",
    ),
    ("pause-leader", {"nodes": ["n2"]}, {}, {"n1": PAUSED}, "another one was silent"),
    ("pause-clients", STOOD, {"still_stopped": [], "stopped_s": 3.0}, {}, "they went on"),
    (
        "pause-clients",
        STOOD,
        {"still_stopped": [7, 8], "stopped_s": 1.9},
        {},
        "not for long enough",
    ),
    ("pause-clients", {"stopped": [], "of": 0}, {"still_stopped": []}, {}, "there are none"),
    (
        "rolling-restart",
        {"nodes": list(NODES)},
        None,
        {node: restarted(7.5, 6.0, 8.0) for node in ("n1", "n2")},
        "the last one was not",
    ),
    (
        "rolling-restart",
        {"nodes": list(NODES)},
        None,
        {
            node: restarted(8.5 - at, gone=8.0 - at, back=9.0 - at)
            for at, node in enumerate(NODES)
        },
        "in another order",
    ),
    (
        "rolling-restart",
        {"nodes": list(NODES)},
        None,
        {node: restarted(8.5 + at / 10, gone=8.0, back=9.0) for at, node in enumerate(NODES)},
        "all at once",
    ),
    ("partition-leader", TO_ALL, {}, {"n2": cannot_send("n1")}, "one link still stood"),
    ("partition-leader", TO_ALL, {}, {"n1": cannot_send("n2")}, "the other way"),
    (
        "partition-leader",
        TO_ALL,
        {},
        {"n2": lambda one: replace(one, connected=())},
        "it never could",
    ),
    ("partition-leader", {"links": []}, {}, {"n2": cannot_send("n1", "n3")}, "no links"),
    ("flaky-links", TO_ALL, {}, {"n2": lambda one: replace(one, connected=())}, "never up"),
    (
        "half-open",
        TO_ALL,
        {},
        {"n2": lambda one: cannot_send("n1", "n3")(STEPS_DOWN(one))},
        "the links were cut",
    ),
    ("half-open", TO_ALL, {}, dict.fromkeys(NODES, STANDS), "all stood still"),
    (
        "slow-links",
        TO_ALL,
        {},
        {"n2": lambda one: replace(one, last_index=one.commit_index + 6)},
        "as before and after",
    ),
    ("slow-links", TO_ALL, {}, {"n1": WAITING}, "not at the leader"),
    ("flaky-links", EVERY_LINK, {}, N3_IS_AWAY | {"n3": KILLED}, "a killed one"),
    ("flaky-links", EVERY_LINK, {}, N3_IS_AWAY | {"n3": PAUSED}, "a stopped one"),
    (
        "flaky-links",
        EVERY_LINK,
        {},
        {
            "n1": within(cannot_send("n3"), 7.6, 8.5),
            "n2": within(cannot_send("n3"), 7.6, 8.5),
            "n3": restarted(8.0, 7.7, 8.0),
        },
        "one that was restarted at once",
    ),
    ("partition-both", BOTH, {}, N3_IS_AWAY | {"n3": KILLED}, "one end was killed"),
    (
        "half-open",
        TO_ALL,
        {},
        {"n1": LOST, "n2": restarted(10.5, 7.0)},
        "the leader was killed",
    ),
    ("half-open", TO_ALL, {}, {"n2": STEPS_DOWN, "n1": PAUSED, "n3": PAUSED}, "no majority"),
    ("slow-links", TO_ALL, {}, {"n2": WAITING, "n1": KILLED, "n3": KILLED}, "no majority"),
    ("kill-leader", {"nodes": ["n2"], "note": NOTE}, {}, {"n2": KILLED}, "it did not lead"),
    ("pause-leader", {"nodes": ["n2"], "note": NOTE}, {}, {"n2": PAUSED}, "it did not lead"),
    ("partition-leader", NOT_LED, {}, {"n2": cannot_send("n1", "n3")}, "it did not lead"),
    ("snapshot-install", ONE, {}, {"n3": INSTALLS}, "another one did"),
    ("snapshot-install", ONE, {}, {"n1": INSTALLED}, "long before"),
    ("snapshot-install", {"nodes": []}, {}, {"n1": INSTALLS}, "nobody was shut out"),
    ("snapshot-install", ONE, {}, {"n1": YOUNG}, "it was started, and installed none"),
]


def evidence(kind: str, begun: Any, undone: Any, changes: Mapping[str, Change]) -> str | None:
    """What a package finds in a story."""
    fault = Fault(kind, ENDED - BEGAN)
    window = Window(fault, BEGAN, ENDED, begun, undone, story(changes), NODES)
    return KINDS[kind].evidence(window)


@pytest.mark.parametrize(
    ("kind", "begun", "undone", "changes"),
    SHOWN,
    ids=[f"{number}-{one[0]}" for number, one in enumerate(SHOWN)],
)
def test_a_fault_that_was_there_is_shown(
    kind: str, begun: Any, undone: Any, changes: dict[str, Change]
) -> None:
    """
    The story of a fault gives a sentence with figures.
    """
    said = evidence(kind, begun, undone, changes)

    assert said is not None
    assert any(letter.isdigit() for letter in said)


@pytest.mark.parametrize(
    ("kind", "begun", "undone", "changes"),
    [one[:4] for one in PLANTED],
    ids=[f"{one[0]}: {one[4]}" for one in PLANTED],
)
def test_a_planted_effect_is_not_taken_for_the_fault(
    kind: str, begun: Any, undone: Any, changes: dict[str, Change]
) -> None:
    """
    Something else that happened, to another member or at another time, shows nothing.
    """
    assert evidence(kind, begun, undone, changes) is None


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_shows_a_fault_that_did_nothing(kind: str) -> None:
    """
    Every kind says None of a cluster to which nothing happened, whatever its begin
    answered, and of a window without samples.
    """
    every = [list(pair) for pair in permutations(NODES, 2)]
    begun: dict[str, Any] = {"nodes": list(NODES), "links": every, "leader": "n2"}

    assert evidence(kind, begun, {}, {}) is None
    assert evidence(kind, None, None, {}) is None
    empty = Window(Fault(kind, 4.0), BEGAN, ENDED, begun, {}, [], NODES)
    assert KINDS[kind].evidence(empty) is None


# --- clients ---------------------------------------------------------------------------------


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three processes of ours that do nothing."""
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    started = [subprocess.Popen(sleeping) for _ in range(3)]
    yield started
    for one in started:
        one.kill()
        one.wait()


def test_clients_are_stopped_and_let_go(
    children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Some of the clients stand from the beginning to the end, and all run afterwards; that
    is evidence if it was for long enough.
    """

    async def body() -> None:
        pids = [one.pid for one in children]
        pause = processes.PauseClients(lambda: pids)
        drawn = pause.draw("pause-clients", random.Random(2))
        assert drawn.seconds > processes.TTL_S
        fault = replace(drawn, seconds=0.1)
        begun = await pause.begin(fault)
        assert begun["of"] == 3
        assert 0 < len(begun["stopped"]) < 3
        assert {processes._state_of_child(pid) for pid in begun["stopped"]} == {"T"}
        undone = await pause.end(fault)
        assert sorted(undone["still_stopped"]) == sorted(begun["stopped"])
        await until(lambda: all(processes._state_of_child(pid) != "T" for pid in pids))

        window = Window(fault, BEGAN, ENDED, begun, undone, [], NODES)
        assert pause.evidence(window) is None
        monkeypatch.setattr(processes, "TTL_S", 0.0)
        assert pause.evidence(window) is not None

    asyncio.run(body())


@pytest.fixture
def grandchild() -> Iterator[int]:
    """A process that is not a child of ours; it ends with its parent's input."""
    inner = "import sys; sys.stdin.read()"
    outer = (
        "import subprocess, sys; one = subprocess.Popen([sys.executable, '-c', sys.argv[1]]);"
        "print(one.pid, flush=True); one.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", outer, inner], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        yield int(parent.stdout.readline())


def test_only_children_are_ever_signalled(
    children: list[subprocess.Popen[bytes]], grandchild: int
) -> None:
    """
    A process that is not ours, or has ended, is left alone, and the answer says that
    nobody could be stopped. Healing lets those go on that were stopped.
    """

    async def body() -> None:
        ended = children[0]
        ended.kill()
        ended.wait()
        pids = [grandchild, ended.pid]
        other = processes.PauseClients(lambda: pids)
        begun = await other.begin(Fault("pause-clients", 3.0, {"draw": 1, "share": 1.0}))
        assert begun["stopped"] == []
        assert begun["note"] == "none of 2 clients could be stopped"
        await other.heal()

        pid = children[1].pid
        ours = processes.PauseClients(lambda: [pid])
        await ours.begin(Fault("pause-clients", 3.0, {"draw": 1, "share": 1.0}))
        assert processes._state_of_child(pid) == "T"
        await ours.heal()
        await until(lambda: processes._state_of_child(pid) != "T")

    asyncio.run(body())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(5.0):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)
