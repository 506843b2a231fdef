"""The simulator can fail: each planted bug is found, by the check that is meant for it.

Every bug is planted here, by replacing a part; the product has no switch for it. A
search is bounded: so many seeds, of fewer simulated seconds than usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from raftstate.consensus import replica, rules
from raftstate.consensus.adapter import Engine
from raftstate.consensus.feeding import Feeding
from raftstate.consensus.read_index import ReadRounds
from raftstate.core import ownership, sessions, tenure
from raftstate.core.memory import MemoryStore
from raftstate.core.ports import HardState
from raftstate.v1.store_pb2 import Reason
from tests.sim import disk, invariants, options, world
from tests.sim.runs import Run, run_seed

SECONDS = 30.0

Plant = pytest.MonkeyPatch


def find(seeds_max: int, seconds: float = SECONDS) -> Run:
    """The first seed that finds something."""
    for seed in range(1, seeds_max + 1):
        run = run_seed(seed, seconds=seconds)
        if run.wrong:
            return run
    raise AssertionError(f"none of {seeds_max} seeds found the bug")


def found_by(run: Run, *words: str) -> bool:
    """Whether the report names one of these."""
    return any(word in run.report for word in words)


def plant_lazy_log(monkeypatch: Plant) -> None:
    """A log that answers commits before its sync: a power loss takes back the last ones.
    Only a new base is synced in time, so that a snapshot never stands on nothing."""
    sync = disk.SimDisk.sync_log

    def late(self: disk.SimDisk, log: disk.SimLog) -> None:
        if self.rng.random() < 0.1 or log.base != self.durable.base:
            sync(self, log)

    monkeypatch.setattr(disk.SimDisk, "sync_log", late)


def plant_lonely_rounds(monkeypatch: Plant) -> None:
    """A leader that believes itself: its rounds are over when they begin."""
    begin = ReadRounds.begin

    def alone(self: ReadRounds[Any]) -> int | None:
        number = begin(self)
        self._confirmed.extend(self._under_way)
        self._under_way = []
        return number

    monkeypatch.setattr(ReadRounds, "begin", alone)


def test_an_early_answer_is_found_when_the_message_leaves(monkeypatch: Plant) -> None:
    """
    Messages before the sync: found at the first message that reflects what is not
    durable, long before anything is lost.
    """
    plant_lazy_log(monkeypatch)

    run = find(1)

    assert found_by(run, "durable is", "it has")


def test_an_early_answer_is_found_by_what_it_loses(monkeypatch: Plant) -> None:
    """
    The same bug with the checks that look at the disk turned off: the loss itself is
    noticed, by members that differ or clients that were told otherwise.
    """
    plant_lazy_log(monkeypatch)
    monkeypatch.setattr(invariants, "justified", lambda *_: None)
    monkeypatch.setattr(invariants, "durable_on_a_quorum", lambda *_: None)
    monkeypatch.setattr(invariants, "votes_once", lambda *_: None)

    run = find(20)

    assert run.wrong == "violation"
    assert not found_by(run, "durable")


def test_a_forgotten_vote_is_found(monkeypatch: Plant) -> None:
    """A vote that is not stored: found at the vote that leaves."""

    def forgetful(self: disk.SimLog, hard_state: HardState) -> None:
        self._change(lambda image: image.vote(HardState(hard_state.term, None)))

    monkeypatch.setattr(disk.SimLog, "set_hard_state", forgetful)

    run = find(1)

    assert found_by(run, "votes for")


def test_a_read_without_its_round_is_found(monkeypatch: Plant) -> None:
    """A leader that asks nobody before it answers: a stale read is found, with the
    check of keep-alives turned off, which would find it sooner."""
    plant_lonely_rounds(monkeypatch)
    monkeypatch.setattr(invariants, "expiry_is_not_early", lambda *_: None)

    run = find(60)

    assert found_by(run, "read_is_fresh")


def test_a_keep_alive_without_its_round_is_found(monkeypatch: Plant) -> None:
    """The same for keep-alives: a session that a newer leader ended is told it lives."""
    monkeypatch.setattr(invariants, "read_is_fresh", lambda *_: None)
    plant_lonely_rounds(monkeypatch)

    run = find(60)

    assert found_by(run, "expiry_is_not_early")


def test_a_commit_without_a_majority_is_found(monkeypatch: Plant) -> None:
    """A leader that counts itself only: found when it calls an entry committed."""

    def hasty(
        mine: Any, current: Any, durable: Any, voters: Any, term_at: Any, **_: Any
    ) -> Any:
        held = max(durable.values())
        return held if held > mine and term_at(held) == current else mine

    monkeypatch.setattr(rules, "leader_commit", hasty)

    run = find(1)

    assert found_by(run, "durable_on_a_quorum")


def test_a_vote_for_everybody_is_found(monkeypatch: Plant) -> None:
    """Members that vote for whoever asks: two leaders, or one without what was committed."""
    monkeypatch.setattr(rules, "grants_vote", lambda *_: True)
    monkeypatch.setattr(rules, "grants_pre_vote", lambda *_, **__: True)
    monkeypatch.setattr(invariants, "justified", lambda *_: None)
    monkeypatch.setattr(invariants, "votes_once", lambda *_: None)

    run = find(20)

    assert found_by(run, "one_leader_a_term", "leader_completeness")


def test_a_vote_from_a_disk_that_forgot_is_found(monkeypatch: Plant) -> None:
    """A member that lost its disk and votes at once: a leader without what was committed."""
    monkeypatch.setattr(rules, "may_elect", lambda **_: True)

    run = find(40)

    assert found_by(run, "one_leader_a_term", "leader_completeness", "log_matching")


def test_a_deposed_leader_helped_by_a_disk_that_forgot_is_found(monkeypatch: Plant) -> None:
    """A member that lost its disk counts at once, for whoever asks: a leader of the past
    commits with it. Rare, so the runs have lost disks and little else."""
    draw = options.draw

    def narrow(rng: Any, nodes: Any, seconds: Any) -> options.Options:
        drawn = draw(rng, nodes, seconds)
        return replace(
            drawn,
            faults=("wipe", "orderly"),
            fault_gap_s=3.0,
            fault_len_s=2.0,
            election_max_s=4 * drawn.election_min_s,
        )

    monkeypatch.setattr(world, "draw", narrow)
    monkeypatch.setattr(
        Feeding,
        "matches",
        lambda self: {peer: progress.match for peer, progress in self.progress.items()},
    )

    run = find(60, seconds=60.0)

    assert found_by(run, "committed_is_the_same", "leader_completeness", "log_matching")


def test_a_snapshot_without_sessions_is_found(monkeypatch: Plant) -> None:
    """A snapshot that leaves the remembered outcomes out: members differ."""
    decode = disk.decode_map

    def forgetful(data: bytes) -> MemoryStore:
        pairs = decode(data).items()
        return MemoryStore((key, value) for key, value in pairs if key[:1] != b"r")

    monkeypatch.setattr(disk, "decode_map", forgetful)

    run = find(10)

    assert found_by(run, "state_machine_safety", "the state hash", "_note")


def plant_forgetful_sessions(monkeypatch: Plant) -> None:
    """A machine that remembers no outcome: every retry is carried out again."""

    def every_time(
        context: Any, name: str, number: int, request: Any, run: Callable[[], Any]
    ) -> Any:
        if sessions.load(context.store, request.request_id.session_id) is None:
            return sessions._refused(context, Reason.REASON_SESSION_EXPIRED, "ended")
        return sessions.outcome_of(context, name, run())

    monkeypatch.setattr(sessions, "once", every_time)


def test_a_request_that_happens_twice_is_found_by_its_answers(monkeypatch: Plant) -> None:
    """Nothing is remembered: two answers to one request differ."""
    plant_forgetful_sessions(monkeypatch)

    run = find(20)

    assert found_by(run, "same_answer")


def test_a_request_that_happens_twice_is_found_by_what_is_stored(monkeypatch: Plant) -> None:
    """The same, with nobody comparing answers: an event is stored twice."""
    plant_forgetful_sessions(monkeypatch)
    monkeypatch.setattr(invariants, "same_answer", lambda *_: None)

    run = find(40)

    assert found_by(run, "duplicate: ", "resurrected: ", "moved: ")


def test_a_writer_of_the_past_is_found(monkeypatch: Plant) -> None:
    """Steps that are not held to their token: a write after the successor's is found."""
    monkeypatch.setattr(ownership, "check_fence", lambda *_: None)

    run = find(20)

    assert found_by(run, "fence:")


def test_an_early_expiry_is_found(monkeypatch: Plant) -> None:
    """A leader that gives half of the ttl: a session that ends early is found."""

    def halve(self: tenure._Term, start: float) -> None:
        self.deadline = start + self.ttl_ms / 2000

    monkeypatch.setattr(tenure._Term, "extend", halve)

    run = find(10)

    assert found_by(run, "expiry_is_not_early")


def test_a_cluster_that_never_elects_is_found(monkeypatch: Plant) -> None:
    """Nobody campaigns: nothing unsafe happens, and the bound on liveness finds it."""
    monkeypatch.setattr(Engine, "_canvass", lambda self, *, pre, transfer: None)

    run = find(1)

    assert run.wrong == "not_converged"


def test_an_answer_that_is_lost_is_found(monkeypatch: Plant) -> None:
    """A member that drops whom it owes an answer when it leaves office: the request
    that nobody answers is found."""

    def silent(self: replica.Replica, tickets: list[object]) -> None:
        return None

    monkeypatch.setattr(replica.Replica, "_refuse", silent)

    run = find(10)

    assert run.wrong == "not_converged"


@pytest.fixture(autouse=True)
def unplanted(monkeypatch: Plant) -> Iterator[None]:
    """Take every planted bug out again, also after a failure."""
    yield
    monkeypatch.undo()
