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
from functools import partial
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

PATIENCE_S: Final = 45.0
TURN_S: Final = 0.002
AGENTS: Final = 2  # one active, one standby; and as many workers
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
        second, rollback_id = await self._trip(stopped)
        await self._kill_a_worker()
        await self._until("a validator speaks", lambda: bool(self._said("validated")))
        await self._over(rollback_id)
        await self._until(f"{second.name} was fenced and left", lambda: second.gone)
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
        for number in range(AGENTS):
            self._hire()
            self.crew.worker(f"worker-{number + 1}", self.endpoints, self.ports)
        await self._until("an agent books", lambda: self._steps() > 0)
        active = self._active()
        assert active is not None
        self.tell(f"{active.name} (pid {active.pid}) owns the agent and books")
        ready = [one for one in self.crew.members.values() if one.role in {AGENT, WORKER}]
        await self._until("everybody is there", lambda: all(one.at for one in ready))

    async def _vouch(self) -> None:
        """A validator looks at a checkpoint, while the agent goes on, and finds it good."""
        wanted = len(LEGS) * self.plan.known_good
        await self._until("the first trips are booked", lambda: self._steps() >= wanted)
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
        while True:
            await self._until("a hotel is about to be booked", self._about_to)
            agent = self._active()
            assert agent is not None
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
            self.tell(f"{agent.name} was too fast to be stopped; trying again")
            await self._until("it went on", partial(_went_on, agent, len(agent.lines)))
        held = {"held": True, "effect_id": calling["effect_id"], "effect_state": state}
        self.crew.note_stop(agent, at, status, **held)
        self.tell(f"stopped {agent.name} before its call: {calling['effect_id']} is {state}")
        return agent

    def _about_to(self) -> bool:
        """The active agent is before a call that may be the one."""
        # One that lost the ownership without being struck leaves a place behind.
        if len([one for one in self.crew.of(AGENT) if not one.gone]) < AGENTS:
            self._hire()
        if self._steps() >= len(LEGS) * (self.plan.trips - 1):
            raise NotAsPlanned("nearly all trips were booked before an agent was stopped")
        active = self._active()
        if active is None or active.at != "calling":
            return False
        line = active.lines[-1]
        return bool(line["leg"] == "hotel" and line["trip"] >= self.plan.stop_trip)

    async def _trip(self, stopped: Member) -> tuple[Member, str]:
        """The car service begins to fail; whoever takes over finds out. Who that was, and
        the rollback's id."""
        await asyncio.to_thread(set_down, self.ports[BREAKER], down=True)
        self.crew.change("down", BREAKER)
        self.tell("the car service begins to fail")
        await self._until("a standby takes over", lambda: self._active() not in {None, stopped})
        second = self._active()
        assert second is not None
        self.tell(f"{second.name} takes over; in doubt: {second.of('owned')[0]['doubts']}")
        await self._until("somebody compensates", lambda: bool(self._said("sending")))
        breaker = await self.store.get_breaker(BREAKER)
        self.tell(f"the breaker tripped: {breaker.reason}; rollback {breaker.rollback_id}")
        return second, breaker.rollback_id

    async def _kill_a_worker(self) -> None:
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
        self.crew.resume(stopped)
        self.tell(f"resumed {stopped.name}, which does not know what it missed")
        await self._until(f"{stopped.name} was refused and left", lambda: stopped.gone)

    async def _call_off(self) -> None:
        """Mend the service; a fresh agent finds what was restored, and ends the story."""
        await asyncio.to_thread(set_down, self.ports[BREAKER], down=False)
        self.crew.change("up", BREAKER)
        last = self._hire("--call-off")
        await self._until(f"{last.name} calls the rest off", lambda: last.gone)
        if not last.of("finished"):
            raise NotAsPlanned(f"{last.name} did not finish")
        self.tell(f"{last.name} owns the agent again and calls the other trips off")

    # --- pieces ---

    def _hire(self, *more: str) -> Member:
        """A fresh agent, which waits if there is another."""
        name = f"agent-{len(self.crew.of(AGENT)) + 1}"
        trips = ("--trips", str(self.plan.trips))
        return self.crew.agent(name, self.endpoints, self.ports, *trips, *more)

    def _active(self) -> Member | None:
        """Who owned the agent last, as far as was heard, and is there."""
        owners = [one for one in self.crew.of(AGENT) if one.of("owned") and not one.gone]
        return max(owners, key=lambda one: list(one.of("owned")[0]["token"]), default=None)

    def _steps(self) -> int:
        return sum(len(agent.of("step")) for agent in self.crew.of(AGENT))

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


def _went_on(member: Member, lines: int) -> bool:
    return member.gone or len(member.lines) > lines


async def ports_in(files: dict[str, Path]) -> dict[str, int]:
    """The ports that services wrote into files, once they are all there."""
    deadline = time.monotonic() + PATIENCE_S
    while not all(path.exists() for path in files.values()):
        if time.monotonic() > deadline:
            raise NotAsPlanned(f"the services do not answer: {sorted(files)}")
        await asyncio.sleep(5 * TURN_S)
    return {name: int(path.read_text()) for name, path in files.items()}
