"""What happens, in order.

The story reads top to bottom: everything it does is written down, and everything it
waits for has a bound. What the processes do is learnt from their journals; the store is
asked through the SDK.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import raftstate
from raftstate.examples.census.evidence import Line
from raftstate.examples.census.strikes import NotAsPlanned
from raftstate.examples.travel.crew import Crew, Member
from raftstate.examples.travel.export import effect_state
from raftstate.examples.travel.itinerary import Itinerary
from raftstate.examples.travel.outside import live, set_down
from raftstate.examples.travel.plan import LEGS, Plan
from raftstate.examples.travel.record import AGENT, AGENT_ID, BREAKER, VALIDATOR, WORKER

PATIENCE_S: Final = 30.0
TURN_S: Final = 0.002
# Six calls count: the failures that a service has every now and then do not trip it, but
# five in a row do.
WINDOW: Final = 6
FAILURE_RATE: Final = 0.8


@dataclass(slots=True)
class Story:
    """One run, told to `tell`."""

    plan: Plan
    store: raftstate.Store
    endpoints: str
    crew: Crew
    tell: Callable[[str], None]
    ports: dict[str, int]

    async def run(self) -> None:
        """Everything, until the last agent has left."""
        await self._open()
        await self._vouch()
        stopped = await self._stop_before_the_call()
        rollback_id = await self._trip()
        await self._kill_a_worker(rollback_id)
        await self._until("the rollback is over", lambda: bool(self._said("validated")))
        await self._over(rollback_id)
        await self._resume(stopped)
        await self._call_off()

    # --- before anything goes wrong ---

    async def _open(self) -> None:
        """Breaker and validator, two agents and two workers."""
        await self.store.create_agent(AGENT_ID)
        await self.store.put_validator(
            VALIDATOR, agent_prefix=AGENT_ID, description="compares with the services' books"
        )
        await self.store.put_breaker(
            BREAKER,
            count_window=WINDOW,
            minimum_calls=WINDOW,
            failure_rate=FAILURE_RATE,
            open_ms=60_000,
            ignored_errors=["RaftStateError"],
            on_trip="rollback",
            agents=[AGENT_ID],
            validators=[VALIDATOR],
        )
        workers = [self.crew.worker(f"worker-{n}", self.endpoints, self.ports) for n in (1, 2)]
        await self._until(
            "the workers are there", lambda: all(one.at == "waiting" for one in workers)
        )
        first = self._agent("agent-1")
        await self._until("the first agent books", lambda: bool(first.of("step")))
        self.tell(f"agent-1 (pid {first.pid}) owns the agent and books")
        self._agent("agent-2")

    async def _vouch(self) -> None:
        """A validator looks at a checkpoint, while the agent goes on, and finds it good."""
        first = self.crew.members["agent-1"]
        wanted = len(LEGS) * self.plan.known_good
        await self._until("the first trips are booked", lambda: len(first.of("step")) >= wanted)
        async for found in self.store.list_checkpoints(AGENT_ID):
            checkpoint = await self.store.get_checkpoint(AGENT_ID, found.checkpoint_id)
            state = Itinerary(**raftstate.decode(checkpoint))
            if state.trips == self.plan.known_good:
                break
        else:
            raise NotAsPlanned(f"no checkpoint has {self.plan.known_good} trips")
        booked = await asyncio.to_thread(live, self.ports)
        said = {one["key"]: (one["leg"], one["trip"]) for one in state.booked}
        good = said.items() <= booked.items()
        if not await self.store.mark_valid(checkpoint, VALIDATOR, valid=good):
            raise NotAsPlanned(f"checkpoint {checkpoint.checkpoint_id} is not known good")
        self.tell(f"checkpoint {checkpoint.checkpoint_id}, {state.trips} trips, is known good")

    # --- what goes wrong ---

    async def _stop_before_the_call(self) -> Member:
        """Stop the active agent between the ledger's entry and the call. A stop that came
        too late is undone at once, well within the time to live, and tried again."""
        agent = self.crew.members["agent-1"]
        while True:
            await self._until("a hotel is about to be booked", lambda: self._about_to(agent))
            at, status = self.crew.stop(agent)
            self.crew.poll()
            calling = agent.lines[-1]
            state = ""
            if calling["kind"] == "calling" and calling["leg"] == "hotel":
                state = await effect_state(self.store, calling["effect_id"])
            if state == "DISPATCHED":
                break
            self.crew.note_stop(agent, at, status, held=False)
            self.crew.resume(agent)
            self.tell("agent-1 was too fast to be stopped; trying again")
            seen = len(agent.lines)
            await self._until("agent-1 went on", lambda: len(agent.lines) > seen)  # noqa: B023
        held = {"held": True, "effect_id": calling["effect_id"], "effect_state": state}
        self.crew.note_stop(agent, at, status, **held)
        self.tell(f"stopped agent-1 before its call: {calling['effect_id']} is DISPATCHED")
        return agent

    def _about_to(self, agent: Member) -> bool:
        if agent.gone:
            raise NotAsPlanned("agent-1 has left before it could be stopped")
        line: Line = agent.lines[-1]
        return bool(
            line["kind"] == "calling"
            and line["leg"] == "hotel"
            and line["trip"] >= self.plan.stop_trip
        )

    async def _trip(self) -> str:
        """The car service begins to fail; whoever books cars finds out. The rollback's
        id."""
        await asyncio.to_thread(set_down, self.ports[BREAKER], down=True)
        self.crew.change("down", BREAKER)
        self.tell("the car service begins to fail")
        second = self.crew.members["agent-2"]
        await self._until("agent-2 takes over", lambda: bool(second.of("owned")))
        self.tell(f"agent-2 takes over; in doubt: {second.of('owned')[0]['doubts']}")
        await self._until("somebody compensates", lambda: bool(self._said("sending")))
        breaker = await self.store.get_breaker(BREAKER)
        self.tell(f"the breaker tripped: {breaker.reason}; rollback {breaker.rollback_id}")
        return breaker.rollback_id

    async def _kill_a_worker(self, rollback_id: str) -> None:
        """Kill whoever compensates, in the middle of one."""

        def at_it() -> Member | None:
            for worker in self.crew.of(WORKER):
                keys = {line["key"] for line in worker.of("sending")}
                if len(keys) >= self.plan.kill_at and worker.at == "sending":
                    return worker
            return None

        await self._until("a worker is in the middle of it", lambda: at_it() is not None)
        worker = at_it()
        assert worker is not None
        self.crew.kill(worker)
        done = len({line["key"] for line in worker.of("sending")}) - 1
        self.tell(f"killed {worker.name} (pid {worker.pid}) after {done} compensations")

    async def _over(self, rollback_id: str) -> None:
        """Wait until the rollback is finished."""
        deadline = time.monotonic() + PATIENCE_S
        while (agent := await self.store.get_agent(AGENT_ID)).rollback_id:
            if time.monotonic() > deadline:
                raise NotAsPlanned(f"rollback {rollback_id} is not finished")
            self.crew.poll()
            await asyncio.sleep(10 * TURN_S)
        self.tell(
            f"rollback {rollback_id} is finished, at checkpoint {agent.head.checkpoint_id}"
        )

    async def _resume(self, stopped: Member) -> None:
        """Let the stopped agent go on: it makes its call, and is refused twice."""
        second = self.crew.members["agent-2"]
        await self._until("agent-2 was refused and left", lambda: second.gone)
        self.crew.resume(stopped)
        self.tell(f"resumed {stopped.name}, which does not know what it missed")
        await self._until(f"{stopped.name} was refused and left", lambda: stopped.gone)

    async def _call_off(self) -> None:
        """Mend the service; a fresh agent finds what was restored, and ends the story."""
        await asyncio.to_thread(set_down, self.ports[BREAKER], down=False)
        self.crew.change("up", BREAKER)
        third = self._agent("agent-3", "--call-off")
        await self._until("agent-3 calls the rest off", lambda: third.gone)
        if not third.of("finished"):
            raise NotAsPlanned("agent-3 did not finish")
        self.tell("agent-3 owns the agent again and calls the other trips off")

    # --- pieces ---

    def _agent(self, name: str, *more: str) -> Member:
        trips = ("--trips", str(self.plan.trips))
        return self.crew.agent(name, self.endpoints, self.ports, *trips, *more)

    def _said(self, kind: str) -> list[Line]:
        return [line for worker in self.crew.of(WORKER) for line in worker.of(kind)]

    async def _until(self, what: str, condition: Callable[[], bool]) -> None:
        """Follow everybody until a condition is true. Raises NotAsPlanned if it is not in
        time."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for member, line in self.crew.poll():
                self._show(member, line)
            if condition():
                return
            if time.monotonic() > deadline:
                raise NotAsPlanned(f"not within {PATIENCE_S:g} s: {what}")
            await asyncio.sleep(TURN_S)

    def _show(self, member: Member, line: Line) -> None:
        """The news that people want to hear of."""
        if line["kind"] == "refused":
            judge = "the store" if line["judge"] == "server" else "its own clock"
            self.tell(f"{member.name} was refused by {judge}: {line['reason']}")
        elif (member.role, line.get("what")) == (AGENT, "refused"):
            self.tell(f"{member.name} came late: the service refused its booking")
        elif line["kind"] == "validated":
            verdict = "good" if line["passed"] else "not good"
            self.tell(f"{member.name} finds the restored state {verdict}")


async def ports_in(files: dict[str, Path]) -> dict[str, int]:
    """The ports that services wrote into files, once they are all there."""
    deadline = time.monotonic() + PATIENCE_S
    while not all(path.exists() for path in files.values()):
        if time.monotonic() > deadline:
            raise NotAsPlanned(f"the services do not answer: {sorted(files)}")
        await asyncio.sleep(5 * TURN_S)
    return {name: int(path.read_text()) for name, path in files.items()}
