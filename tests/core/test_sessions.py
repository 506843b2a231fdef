"""What a session remembers, and how little that may be."""

from __future__ import annotations

import pytest

from raftstate.core import keys, limits, queries
from raftstate.core.sessions import payload_hash
from raftstate.v1.agent_service_pb2 import HaltAgentRequest, RetireAgentRequest
from raftstate.v1.common_pb2 import Label, RequestId
from raftstate.v1.store_pb2 import Command, Outcome, OutcomeRecord
from tests.core.bench import Bench, close_session, event, expire_session, open_session, reason


def remembered(bench: Bench, session: str) -> list[int]:
    """The sequences whose outcomes a session still has."""
    return [keys.to_number(key) for key, _ in bench.store.scan(*keys.outcomes(session))]


def numbered(command: Command, sequence: int, lowest: int) -> Command:
    request_id = getattr(command, str(command.WhichOneof("body"))).request_id
    request_id.sequence, request_id.lowest_unfinished = sequence, lowest
    return command


def resume(bench: Bench, sequence: int, lowest: int) -> Outcome:
    return bench.one(numbered(bench.resume("s", "a"), sequence, lowest))


@pytest.fixture
def bench() -> Bench:
    """A bench with session "s" and agent "a"."""
    made = Bench()
    made.open("s")
    made.one(made.create("s", "a"))
    return made


def test_a_session_remembers_no_more_than_a_window(bench: Bench) -> None:
    """
    However far a client runs, at most a window of outcomes is kept.

    Method: fill a window in reverse, try one more, then move the lowest to its end.
    """
    for sequence in range(limits.WINDOW, 1, -1):
        assert reason(resume(bench, sequence, 1)) == "AGENT_STATE"
    assert len(remembered(bench, "s")) == limits.WINDOW

    assert reason(resume(bench, limits.WINDOW + 1, 1)) == "INVALID_REQUEST"
    assert len(remembered(bench, "s")) == limits.WINDOW

    resume(bench, limits.WINDOW + 1, limits.WINDOW)
    assert remembered(bench, "s") == [limits.WINDOW, limits.WINDOW + 1]

    # The end of the range of numbers is as good as any other.
    last = (1 << 64) - 1
    assert reason(resume(bench, last, last)) == "AGENT_STATE"
    assert remembered(bench, "s") == [last]
    assert reason(resume(bench, last - 1, 1 << 63)) == "INVALID_REQUEST"
    assert reason(resume(bench, last - 1, last - 1)) == "OUTCOME_FORGOTTEN"


def test_what_is_forgotten_stays_forgotten(bench: Bench) -> None:
    """
    A late request with an older idea of what is unfinished brings nothing back.
    """
    resume(bench, 5, 5)

    assert reason(resume(bench, 4, 1)) == "OUTCOME_FORGOTTEN"
    assert reason(resume(bench, 6, 1)) == "AGENT_STATE"
    assert remembered(bench, "s") == [5, 6]
    record = queries.get_session(bench.store, "s")
    assert record is not None
    assert record.forgotten_below == 5


def test_a_request_below_its_own_lowest_is_refused(bench: Bench) -> None:
    """
    Who says that an answer is no longer needed gets none.
    """
    assert reason(resume(bench, 3, 9)) == "OUTCOME_FORGOTTEN"
    assert remembered(bench, "s") == []


@pytest.mark.parametrize("label_count", [0, 1, 32])
def test_an_outcome_is_remembered_within_its_limit(label_count: int) -> None:
    """
    Of what does not fit into 4 KiB all but the labels; and a retry is told the very same.

    Method: the longest words everywhere, of four bytes a character, and labels.
    """
    bench, agent, word = Bench(), "a" * 200, "\N{GRINNING FACE}" * 255
    bench.open("s" * 64)
    labels = [Label(name=str(each), value=word) for each in range(label_count)]
    bench.granted(bench.acquire("s" * 64, agent, holder=word))
    update = bench.update("s" * 64, agent, labels)

    first, again = bench.apply(update, update)

    assert again == first
    assert len(first.update_agent.agent.labels) == (label_count if label_count < 32 else 0)
    assert len(bench.agent(agent).labels) == label_count
    for key, value in bench.store.scan(*keys.outcomes("s" * 64)):
        assert len(value) <= limits.OUTCOME_BYTES_MAX, key


def test_the_longest_refusals_fit(bench: Bench) -> None:
    """
    A refusal that names a holder with the longest name is remembered whole.
    """
    word = "\N{GRINNING FACE}" * 255
    bench.open("t")
    bench.granted(bench.acquire("t", "a" * 200, holder=word))
    refused = bench.acquire("s", "a" * 200)

    first, again = bench.apply(refused, refused)

    assert reason(first) == "OWNED"
    assert first.refusal.current_holder == word
    assert again == first


def test_a_record_is_a_hash_and_an_outcome(bench: Bench) -> None:
    """
    Of the request itself nothing is kept but 16 bytes.
    """
    fence = bench.granted(bench.acquire("s", "a"))
    outcome = bench.one(bench.step("s", "a", fence, event("e", bytes(100_000))))
    raw = bench.store.get(keys.outcome("s", 3))

    assert raw is not None
    assert len(raw) < 200
    record = OutcomeRecord.FromString(raw)
    assert len(record.payload_hash) == 16
    assert record.outcome == outcome


def test_the_payload_hash_tells_kinds_and_payloads_apart() -> None:
    """
    Same fields in another command differ; another request id does not.
    """
    here, there = RequestId(session_id="s", sequence=1), RequestId(session_id="t", sequence=2)
    halt = HaltAgentRequest(request_id=here, agent_id="a")

    assert payload_hash(8, halt) == payload_hash(
        8, HaltAgentRequest(request_id=there, agent_id="a")
    )
    assert payload_hash(8, halt) != payload_hash(8, HaltAgentRequest(agent_id="b"))
    assert payload_hash(8, halt) != payload_hash(5, RetireAgentRequest(agent_id="a"))
    assert halt.request_id == here  # the request itself is left alone


@pytest.mark.parametrize("way", ["close", "expire"])
def test_nothing_is_left_of_a_session_that_ended(bench: Bench, way: str) -> None:
    """
    Its record, its outcomes and its ownerships go, and nobody else's do.

    Method: "s" ends between two sessions whose ids it is a prefix of, or has as one.
    """
    for other in ("s-", "s0"):
        bench.open(other)
        bench.granted(bench.acquire(other, f"{other}/agent"))
    bench.granted(bench.acquire("s", "b"))

    bench.one(close_session("s") if way == "close" else expire_session("s", bench.touched("s")))

    assert queries.get_session(bench.store, "s") is None
    assert remembered(bench, "s") == []
    assert queries.agents_owned_by(bench.store, "s") == []
    assert not bench.agent("b").HasField("owner")
    for other in ("s-", "s0"):
        assert remembered(bench, other) == [1]
        assert queries.agents_owned_by(bench.store, other) == [f"{other}/agent"]
        assert bench.agent(f"{other}/agent").owner.session_id == other


def test_each_mutation_of_a_session_touches_it(bench: Bench) -> None:
    """
    Replays and refusals as well: whoever sends them is alive. Other sessions' do not.
    """
    bench.open("t")
    again = bench.resume("s", "a")
    touches = [bench.touched("s")]
    for command in (again, again, open_session("s"), numbered(bench.resume("s", "a"), 1, 0)):
        bench.one(command)
        touches.append(bench.touched("s"))
    assert touches == sorted(set(touches))
    assert touches[-1] == bench.machine.revision

    bench.one(bench.resume("t", "a"))
    bench.one(expire_session("s", 1))
    assert bench.touched("s") == touches[-1]
