"""Recorded values: the first one counts, they belong to a step, and go when that goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from raftstate.core import keys, limits, queries, recording_queries
from raftstate.core.hashing import full_hash
from raftstate.core.history import PastReader
from raftstate.v1.checkpoint_service_pb2 import NewCheckpoint
from raftstate.v1.effect_service_pb2 import EffectClass, NewEffect, PrepareEffectRequest
from raftstate.v1.event_service_pb2 import NewEvent, TruncateBeforeRequest
from raftstate.v1.recording_pb2 import NewRecording, RecordingKind
from raftstate.v1.replay_service_pb2 import GetRecordedRequest, RecordValueRequest
from raftstate.v1.rollback_service_pb2 import AgentTarget, StartRollbackRequest, Target
from raftstate.v1.store_pb2 import Command, Outcome, Reason, Sweep
from tests.core.bench import Bench


def value(key: str, data: bytes = b"1") -> NewRecording:
    return NewRecording(kind=RecordingKind.RECORDING_KIND_TOOL, key=key, data=data)


class Recorder(Bench):
    """A machine where session `s` owns agent `a`."""

    def __init__(self) -> None:
        super().__init__()
        self.open("s")
        self.fence = self.granted(self.acquire("s", "a"))

    def record(self, *new: NewRecording) -> Command:
        """By RecordValue, which takes one."""
        (one,) = new
        request = RecordValueRequest(
            request_id=self.request_id("s"), agent_id="a", fence=self.fence, recording=one
        )
        return Command(record_value=request)

    def commit(self, *new: NewRecording, events: int = 1) -> Command:
        """With a step that has so many events, and a checkpoint."""
        command = self.step(
            "s",
            "a",
            self.fence,
            *(NewEvent(type="e") for _ in range(events)),
            checkpoint=NewCheckpoint(data=b"x"),
        )
        command.commit_step.recordings.extend(new)
        return command

    def prepare(self, *new: NewRecording) -> Command:
        """With an effect."""
        effect = NewEffect(
            effect_id=f"e{len(self.log)}",
            action="look",
            effect_class=EffectClass.EFFECT_CLASS_READ_ONLY,
        )
        request = PrepareEffectRequest(
            request_id=self.request_id("s"),
            agent_id="a",
            fence=self.fence,
            effect=effect,
            recordings=new,
        )
        return Command(prepare_effect=request)

    def truncate(self, before: int, checkpoint_id: int) -> None:
        """Give up events of the agent's."""
        request = TruncateBeforeRequest(
            request_id=self.request_id("s"),
            stream_id="a",
            before_seq=before,
            checkpoint_id=checkpoint_id,
        )
        assert self.one(Command(truncate_before=request)).HasField("truncate_before")

    @property
    def there(self) -> dict[tuple[int, str], bytes]:
        """All that is recorded of the agent."""
        wanted = GetRecordedRequest(agent_id="a")
        found = recording_queries.get_recorded(self.store, wanted, b"", 1_000)
        assert found.after is None
        return {(one.step, one.key): one.data for one in found.recordings}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def refusal_of(outcome: Outcome) -> Reason:
    return outcome.refusal.reason


WAYS: dict[str, Callable[[Recorder], Callable[..., Command]]] = {
    "RecordValue": lambda r: r.record,
    "PrepareEffect": lambda r: r.prepare,
    "CommitStep": lambda r: r.commit,
}


@pytest.mark.parametrize("first", ["RecordValue", "PrepareEffect"])
@pytest.mark.parametrize("second", WAYS)
def test_the_first_value_counts(recorder: Recorder, first: str, second: str) -> None:
    """
    However it came; a later one under its key is passed over, and nothing else is.
    """
    recorder.one(WAYS[first](recorder)(value("k", b"first")))

    outcome = recorder.one(WAYS[second](recorder)(value("k", b"second")))

    assert refusal_of(outcome) == 0
    assert recorder.there == {(1, "k"): b"first"}
    if second == "RecordValue":
        assert (outcome.record_value.existed, outcome.record_value.step) == (True, 1)


def test_a_value_belongs_to_the_step_that_is_under_way(recorder: Recorder) -> None:
    """
    Before its commit, with an effect, and with the commit itself: what comes then is of
    the next.
    """
    recorder.apply(
        recorder.record(value("a")), recorder.prepare(value("b")), recorder.commit(value("c"))
    )
    outcome = recorder.one(recorder.record(value("a", b"2")))

    assert (outcome.record_value.step, outcome.record_value.existed) == (2, False)
    assert recorder.there == {(1, "a"): b"1", (1, "b"): b"1", (1, "c"): b"1", (2, "a"): b"2"}


def test_a_successor_is_given_what_was_recorded(recorder: Recorder) -> None:
    """
    A step that was begun and not committed leaves its values to whoever does it again.
    """
    recorder.apply(recorder.commit(value("old")), recorder.record(value("new", b"drawn")))
    recorder.open("other")
    recorder.granted(recorder.acquire("other", "a", "FORCE"))

    bundle = queries.takeover_bundle(recorder.store, "a")

    assert bundle is not None
    assert [(one.step, one.key, one.data) for one in bundle.recordings] == [
        (2, "new", b"drawn")
    ]
    assert not bundle.more_recordings


def test_who_may_record(recorder: Recorder) -> None:
    """
    The owner, with the newest token, of an agent at work; a refusal keeps nothing.
    """
    recorder.open("other")
    recorder.granted(recorder.acquire("other", "a", "FORCE"))
    fenced = recorder.one(recorder.record(value("k")))
    recorder.one(recorder.halt("s", "a"))
    halted = recorder.one(recorder.record(value("k")))
    absent = recorder.record(value("k"))
    absent.record_value.agent_id = "nobody"

    assert refusal_of(fenced) == Reason.REASON_FENCED
    assert refusal_of(halted) == Reason.REASON_AGENT_STATE
    assert refusal_of(recorder.one(absent)) == Reason.REASON_AGENT_NOT_FOUND
    assert recorder.there == {}


# --- how much ------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "most", "last"),
    [
        ("RECORDED_PER_STEP_MAX", 2, b""),
        ("RECORDED_BYTES_PER_STEP_MAX", 10, b"12345"),
    ],
)
def test_a_step_has_so_much_and_no_more(
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    name: str,
    most: int,
    last: bytes,
) -> None:
    """
    What is too much is refused whole, and leaves no trace; what is there already takes no
    room, and the next step has all of it again.
    """
    monkeypatch.setattr(limits, name, most)
    recorder.apply(recorder.record(value("a", b"123")), recorder.record(value("b", b"456")))
    before = recorder.there, recorder.agent("a").head, recorder.agent("a").effects

    refused = recorder.one(WAYS[way](recorder)(value("c", last)))
    again = recorder.one(WAYS[way](recorder)(value("a", last)))

    assert refusal_of(refused) == Reason.REASON_TOO_MANY
    assert refused.refusal.limit == most
    assert refusal_of(again) == 0
    assert recorder.there == before[0]
    if way == "PrepareEffect":
        assert recorder.agent("a").effects == before[2] + 1
    if way != "CommitStep":
        recorder.one(recorder.commit())
    assert refusal_of(recorder.one(recorder.record(value("c", last)))) == 0


# --- what goes -----------------------------------------------------------------------


def test_what_a_rollback_gives_up_is_drawn_anew(recorder: Recorder) -> None:
    """
    The step that was under way will be another one: its values go, those of committed
    steps stay, and it may have as much again.
    """
    recorder.apply(recorder.commit(value("kept")), recorder.record(value("gone")))
    request = StartRollbackRequest(
        request_id=recorder.request_id("s"),
        agents=[AgentTarget(agent_id="a", target=Target(checkpoint_id=1))],
    )

    assert recorder.one(Command(start_rollback=request)).HasField("start_rollback")

    assert recorder.there == {(1, "kept"): b"1"}
    assert recorder.store.get(keys.recorded("a")) is None
    assert full_hash(recorder.store) == recorder.machine.state_hash


def test_what_is_truncated_takes_its_values_along(recorder: Recorder) -> None:
    """
    Those of steps of which all events go. A step that keeps an event keeps its values, and
    so does the one that is under way.
    """
    for number in range(1, 4):
        recorder.one(recorder.commit(value(f"k{number}"), events=2))
    recorder.one(recorder.record(value("new")))

    recorder.truncate(before=4, checkpoint_id=3)
    recorder.one(Command(sweep=Sweep(rows=100)))
    some = set(recorder.there)
    recorder.truncate(before=7, checkpoint_id=3)
    recorder.one(Command(sweep=Sweep(rows=100)))

    assert some == {(2, "k2"), (3, "k3"), (4, "new")}
    assert set(recorder.there) == {(4, "new")}
    assert full_hash(recorder.store) == recorder.machine.state_hash


def test_they_go_bit_by_bit(recorder: Recorder) -> None:
    """
    A truncation of a thousand values removes a few of them with each command, and in the
    end all.
    """
    for _ in range(20):
        recorder.one(recorder.commit(*(value(f"k{at}") for at in range(50))))
    recorder.truncate(before=21, checkpoint_id=20)

    left = [len(recorder.there)]
    while left[-1]:
        recorder.one(Command(sweep=Sweep(rows=100)))
        left.append(len(recorder.there))
        assert left[-2] - left[-1] <= 100 + limits.SWEEP_ROWS_EXTRA

    assert left[0] == 1_000
    assert full_hash(recorder.store) == recorder.machine.state_hash


# --- reads ---------------------------------------------------------------------------


def pages_of(
    recorder: Recorder, limit: int = 3, scanned: int = 1_000, **fields: object
) -> Iterator[list[tuple[int, str]]]:
    """What a list shows, page by page."""
    wanted = GetRecordedRequest(agent_id="a", **fields)  # type: ignore[arg-type]
    after: bytes | None = b""
    while after is not None:
        page = recording_queries.get_recorded(recorder.store, wanted, after, limit, scanned)
        yield [(one.step, one.key) for one in page.recordings]
        after = page.after


def test_pages_are_in_order_and_bounded(recorder: Recorder) -> None:
    """
    By step and key; a page ends where enough was looked at, also if nothing was found.
    """
    for _ in range(3):
        recorder.one(recorder.commit(value("b"), value("a"), value("é")))
    every = [(step, key) for step in (1, 2, 3) for key in ("a", "b", "é")]

    assert [one for page in pages_of(recorder) for one in page] == every
    assert [len(page) for page in pages_of(recorder, scanned=2)] == [2, 2, 2, 2, 1]
    assert list(pages_of(recorder, scanned=2, key="é")) == [
        [],
        [(1, "é")],
        [(2, "é")],
        [],
        [(3, "é")],
    ]
    second = pages_of(recorder, from_step=2, to_step=2)
    assert [one for page in second for one in page] == every[3:6]
    assert list(pages_of(recorder, from_step=4)) == [[]]


def test_of_the_past_the_later_ones_are_not_shown(recorder: Recorder) -> None:
    """
    A reader of a revision sees what was recorded up to it.
    """
    recorder.one(recorder.record(value("a")))
    past = PastReader(recorder.store, recorder.machine.revision)
    recorder.one(recorder.record(value("b")))

    found = recording_queries.get_recorded(past, GetRecordedRequest(agent_id="a"), b"", 10)
    step, more = recording_queries.of_step(past, "a", 1, 1_000)

    assert [one.key for one in found.recordings] == ["a"]
    assert ([one.key for one in step], more) == (["a"], False)


def test_what_a_step_has_is_cut_where_it_is_large(recorder: Recorder) -> None:
    """
    A bundle holds what fits, and says that there is more.
    """
    recorder.apply(*(recorder.record(value(f"k{at}", bytes(100))) for at in range(5)))

    found, more = recording_queries.of_step(recorder.store, "a", 1, 250)
    none, all_left = recording_queries.of_step(recorder.store, "a", 1, 50)

    assert ([one.key for one in found], more) == (["k0", "k1"], True)
    assert (none, all_left) == ([], True)


def test_an_id_that_cannot_be_one_names_nothing(recorder: Recorder) -> None:
    """
    Reads never raise.
    """
    wanted = GetRecordedRequest(agent_id="a\0")

    assert recording_queries.get_recorded(recorder.store, wanted, b"", 10) == ([], None)


def test_the_longest_key_fits(recorder: Recorder) -> None:
    """
    The longest agent id, and a key of as many bytes as may be: the store takes it.
    """
    agent_id, key = "a" * limits.AGENT_ID_CHARS_MAX, "é" * 128
    recorder.fence = recorder.granted(recorder.acquire("s", agent_id))
    command = recorder.record(value(key))
    command.record_value.agent_id = agent_id

    assert len(key.encode()) == limits.RECORDING_KEY_BYTES_MAX
    assert refusal_of(recorder.one(command)) == 0
    assert len(keys.recording(agent_id, 1, key)) <= limits.KEY_BYTES_MAX
