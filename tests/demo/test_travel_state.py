"""What the booking agent keeps in mind, and how a run is begun and written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftstate.examples.census import demo as census
from raftstate.examples.travel import demo
from raftstate.examples.travel.export import effect_fields, event_fields, rollback_fields
from raftstate.examples.travel.itinerary import BOOKED, CALLED_OFF, Itinerary
from raftstate.examples.travel.lives import LIVES
from raftstate.examples.travel.plan import LEGS
from raftstate.v1.effect_service_pb2 import (
    EFFECT_CLASS_IDEMPOTENT,
    EFFECT_STATE_COMPENSATED,
    Effect,
)
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.rollback_service_pb2 import (
    ROLLBACK_STATE_FINISHED,
    Rollback,
    RolledBack,
    ValidatorReport,
)


def test_a_trip_is_complete_when_all_its_legs_are_booked() -> None:
    """
    In whatever order: what is in doubt comes last.
    """
    state = Itinerary()
    for trip in range(2):
        for leg in ("car", "flight", "hotel"):
            assert leg in state.missing
            assert state.trips == trip
            state = state.after(BOOKED, {"trip": trip, "leg": leg, "key": f"{trip}{leg}"})
    assert (state.trips, state.missing) == (2, list(LEGS))
    assert Itinerary(**state.to_dict()) == state


def test_what_is_called_off_keeps_what_is_booked() -> None:
    """
    The last event of a run changes no booking.
    """
    state = Itinerary().after(BOOKED, {"trip": 0, "leg": "flight", "key": "k", "more": 1})
    ended = state.after(CALLED_OFF, {"trip": 0, "why": "it is over"})
    assert ended.called_off
    assert ended.booked == state.booked == [{"trip": 0, "leg": "flight", "key": "k"}]
    assert not state.called_off


def test_every_word_of_a_life_may_be_followed_by_one_that_is_known() -> None:
    """
    The tables of what may follow what have no dead ends but the end.
    """
    for name, follows in LIVES.items():
        for word, nexts in follows.items():
            assert nexts <= {*follows, "end"}, f"{name}: {word}"


def test_messages_are_written_down_as_numbers_and_words() -> None:
    """
    Enums without their prefix, tokens as pairs, bytes as text.
    """
    effect = Effect(
        effect_id="1/book-car/1",
        state=EFFECT_STATE_COMPENSATED,
        effect_class=EFFECT_CLASS_IDEMPOTENT,
        arguments=b'{"leg": "car", "trip": 3}',
    )
    effect.fence.epoch, effect.fence.revision = 1, 9
    line = effect_fields(effect)
    assert (line["state"], line["effect_class"]) == ("COMPENSATED", "IDEMPOTENT")
    assert (line["leg"], line["trip"], line["fence"]) == ("car", 3, [1, 9])

    event = event_fields(Event(seq=1, data=b"{}", hash=b"\x01", undone_by="r"))
    assert (event["data"], event["hash"], event["undone_by"]) == ("{}", "01", "r")

    rollback = Rollback(
        state=ROLLBACK_STATE_FINISHED,
        agents=[RolledBack(agent_id="a", checkpoint_id=2)],
        validators=[ValidatorReport(validator="v", passed=True)],
    )
    line = rollback_fields(rollback)
    assert (line["state"], line["agent_id"], line["checkpoint_id"]) == ("FINISHED", "a", 2)
    assert line["validators"] == {"v": True}


def test_a_folder_that_holds_something_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And so is a file: exit status 2, and nothing is begun.
    """
    mine = tmp_path / "mine"
    mine.write_text("mine\n")
    for out in (tmp_path, mine):
        for one in (demo, census):
            assert one.main(["--out", str(out)]) == 2
            assert "is not empty" in capsys.readouterr().err
    assert ([*tmp_path.iterdir()], mine.read_text()) == ([mine], "mine\n")
