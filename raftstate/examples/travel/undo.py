"""What the workers know: how a booking is cancelled, and what a good state is.

    raftstate worker --module raftstate.examples.travel.undo

The functions are registered under names; the ledger holds the names, so that any process
with this module can finish what another began. Who is called where, and where it is
written down, is told by the environment: `TRAVEL_CALLER`, `TRAVEL_SERVICES` (the ports, as
JSON) and `TRAVEL_JOURNAL`.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import raftstate
from raftstate.examples.census.evidence import Journal
from raftstate.examples.travel.agent import CANCEL
from raftstate.examples.travel.itinerary import Itinerary
from raftstate.examples.travel.outside import BUSY, DONE, Caller, live
from raftstate.examples.travel.record import VALIDATOR


class NotNow(Exception):
    """The service did nothing; it is tried again."""


@cache
def caller() -> Caller:
    """This process, as the services and its journal know it."""
    journal = Journal(Path(os.environ["TRAVEL_JOURNAL"]))
    journal.write("started", pid=os.getpid())
    journal.write("waiting")
    services = json.loads(os.environ["TRAVEL_SERVICES"])
    return Caller(os.environ["TRAVEL_CALLER"], services, journal)


@raftstate.compensation(CANCEL)
def cancel(call: raftstate.UndoCall) -> dict[str, str]:
    """Cancel by the effect's own key, which leaves a tombstone: also where nothing was
    booked, and once in effect however often it is asked for."""
    answer = caller().cancel(call.args["leg"], call.effect_key, call.args["trip"])
    if answer.status == BUSY:
        raise NotNow(f"the {call.args['leg']} service did nothing")
    if answer.status not in DONE:
        raise raftstate.FailedForGood(f"status {answer.status}")
    return {"what": answer.body["what"]}


@raftstate.validator(VALIDATOR)
def books_agree(restored: raftstate.Restored) -> bool:
    """The restored state is good if the services have booked exactly what it says."""
    state = Itinerary(**restored.state)
    for event in restored.events:
        state = state.after(event.type, raftstate.decode(event))
    said = {one["key"]: (one["leg"], one["trip"]) for one in state.booked}
    found = live(caller().ports)
    differ = sorted(key for key, _ in said.items() ^ found.items())
    rollback_id = restored.rollback.rollback_id
    told: dict[str, Any] = {"passed": not differ, "rollback_id": rollback_id, "differ": differ}
    caller().journal.write("validated", **told)
    assert not differ, f"the books differ: {differ}"
    return True


if "TRAVEL_JOURNAL" in os.environ:
    caller()  # a worker says at once that it is there
