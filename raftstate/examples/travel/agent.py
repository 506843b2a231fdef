"""The booking agent: one process, one booking a step, whatever happens to it.

    python -m raftstate.examples.travel.agent --endpoints A,B,C --name agent-1 --out FILE \
        --services JSON

It waits until the agent is free, takes over with the state that the last step left, and
books what is missing. Each booking is an effect: how it is cancelled is in the ledger
before the service is called. With `--call-off` it books nothing more, and says so.

The exit status is 0 when there is nothing left to do, and 3 when it lost the ownership.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import raftstate
from raftstate.errors import BreakerOpen, RaftStateError
from raftstate.examples.census.evidence import Journal
from raftstate.examples.travel.itinerary import BOOKED, CALLED_OFF, Itinerary
from raftstate.examples.travel.outside import (
    BUSY,
    DONE,
    REFUSED,
    Caller,
    Unanswered,
    carried_out,
)
from raftstate.examples.travel.record import AGENT_ID, BREAKER, CLIENT, SERVER, STALE
from raftstate.v1.event_service_pb2 import Event

GOOD, LOST = 0, 3
# Long enough to outlive an election between two renewals, on a busy machine as well.
TTL_S: Final = 3.0
# Longer than anybody stands still here: it is the ownership that ends, not the session.
SESSION_S: Final = 60.0
# From the last look at the clock to the first byte: the way to a service is long.
WIRE_S: Final = 0.06
PAUSE_S: Final = 0.05
CANCEL: Final = "cancel-booking"


class Busy(raftstate.NotDone):
    """The service did nothing; it may do it later."""


class Refused(raftstate.NotDone):
    """The service has a tombstone for the key: it does nothing, and never will."""


class Booker:
    """Owns the agent, and books."""

    def __init__(self, agent: raftstate.AgentHandle, breaker: Any, caller: Caller) -> None:
        self._agent = agent
        self._breaker = breaker
        self._caller = caller
        self._journal = caller.journal
        self._state = Itinerary(**agent.restore(default=Itinerary().to_dict(), fold=fold))
        self._token = [agent.token.epoch, agent.token.revision]
        doubts = agent.open_effects
        # What may have been booked by somebody of the past comes last.
        self._doubtful = {json.loads(effect.arguments)["leg"] for effect in doubts}
        self._journal.write(
            "owned",
            token=self._token,
            booked=len(self._state.booked),
            doubts=[effect.effect_id for effect in doubts],
        )

    async def work(self, trips: int, *, call_off: bool) -> int:
        """Do what is left, and say how it ended."""
        try:
            if call_off:
                await self._call_off()
            while not self._state.called_off and self._state.trips < trips:
                await self._next()
        except RaftStateError as error:
            judge = SERVER if error.reason in STALE else CLIENT
            self._journal.write("refused", token=self._token, judge=judge, **as_fields(error))
            raise
        self._journal.write("finished", booked=len(self._state.booked))
        return GOOD

    async def _next(self) -> None:
        """Book one leg, if the service lets us."""
        leg = min(self._state.missing, key=lambda leg: leg in self._doubtful)
        try:
            await self._book(leg)
        except (raftstate.NotDone, Unanswered, BreakerOpen) as error:
            said: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
            self._journal.write("failed", trip=self._state.trips, leg=leg, **said)
            await asyncio.sleep(PAUSE_S)

    async def _book(self, leg: str) -> None:
        """One step: an effect, the event that tells of it, and a checkpoint where a trip
        is complete."""
        trip = self._state.trips
        async with self._agent.step() as step:
            try:
                done = await self._effect(step, trip, leg)
            except Refused as refused:
                # Somebody has undone it for good, which belongs into the log.
                step.event("refused", {"trip": trip, "leg": leg, "why": str(refused)})
                return
            data = {"trip": trip, "leg": leg, "key": done["key"]}
            step.event(BOOKED, data)
            after = self._state.after(BOOKED, data)
            if after.trips > trip:
                step.checkpoint(after.to_dict())
        # Only now: what was not acknowledged never happened.
        self._state = after
        self._wrote("step", step, **data)

    async def _effect(self, step: raftstate.Step, trip: int, leg: str) -> dict[str, Any]:
        """Book under the ledger; a car also through the breaker that all share."""
        args = {"trip": trip, "leg": leg}

        async def act() -> dict[str, Any]:
            done: dict[str, Any] = await step.effect(
                f"book-{leg}", args, do=self._do, undo=raftstate.Undo(CANCEL)
            )
            return done

        if leg != BREAKER:
            return await act()
        async with self._breaker.guard():
            return await act()

    async def _do(self, call: raftstate.EffectCall) -> dict[str, Any]:
        """Call the service. By now the ledger has the effect, and the clock was looked at."""
        told: dict[str, Any] = {"key": call.key, "effect_id": call.effect_id}
        self._journal.write("calling", **call.args, **told)

        def send() -> dict[str, Any]:
            time.sleep(WIRE_S)
            answer = self._caller.book(call.args["leg"], call.key, call.args["trip"])
            what = answer.body["what"]
            if answer.status == REFUSED:
                raise Refused(f"{call.key} was cancelled")
            if answer.status == BUSY:
                raise Busy(f"the {call.args['leg']} service did nothing")
            if answer.status not in DONE:
                raise Unanswered(f"status {answer.status}")
            return {"key": call.key, "what": what}

        return await carried_out(send)

    async def _call_off(self) -> None:
        """Nothing more will be booked: the last step."""
        data = {"trip": self._state.trips, "why": "a service is down, and all was undone"}
        async with self._agent.step() as step:
            step.event(CALLED_OFF, data)
            after = self._state.after(CALLED_OFF, data)
            step.checkpoint(after.to_dict())
        self._state = after
        self._wrote("closed", step)

    def _wrote(self, kind: str, step: raftstate.Step, **more: Any) -> None:
        assert step.head is not None, "a step that is left without an error is committed"
        head = {"step": step.head.step, "seq": step.head.event_seq, "revision": step.revision}
        self._journal.write(kind, **more, **head, token=self._token)


def fold(state: dict[str, Any], event: Event) -> dict[str, Any]:
    """The state after an event that was committed since the checkpoint."""
    return Itinerary(**state).after(event.type, raftstate.decode(event)).to_dict()


def as_fields(error: RaftStateError) -> dict[str, Any]:
    """An error for a journal."""
    return {
        "error": type(error).__name__,
        "reason": error.reason,
        "definite": error.definite,
        "message": str(error),
    }


async def run(endpoints: str, caller: Caller, trips: int, *, call_off: bool) -> int:
    """Wait for the agent, do its work, and say how it ended."""
    async with raftstate.connect(
        endpoints, client_name=caller.name, session_ttl=SESSION_S
    ) as store:
        caller.journal.write("waiting")
        try:
            async with store.own(AGENT_ID, wait=True, ttl=TTL_S, holder=caller.name) as agent:
                booker = Booker(agent, store.breaker(BREAKER), caller)
                return await booker.work(trips, call_off=call_off)
        except RaftStateError as error:
            caller.journal.write("lost", **as_fields(error))
            return LOST


def main(arguments: list[str] | None = None) -> int:
    """Run one agent process."""
    parser = argparse.ArgumentParser(prog="agent", description=str(__doc__).splitlines()[0])
    parser.add_argument("--endpoints", required=True, help="host:port,host:port,...")
    parser.add_argument("--name", required=True, help="of this process")
    parser.add_argument("--out", required=True, type=Path, help="the journal, made anew")
    parser.add_argument("--services", required=True, type=json.loads, help="their ports")
    parser.add_argument("--trips", type=int, default=1, help="how many to book")
    parser.add_argument("--call-off", action="store_true", help="book nothing more")
    args = parser.parse_args(arguments)
    with Journal(args.out) as journal:
        journal.write("started", pid=os.getpid())
        caller = Caller(args.name, args.services, journal)
        return asyncio.run(run(args.endpoints, caller, args.trips, call_off=args.call_off))


if __name__ == "__main__":
    sys.exit(main())
