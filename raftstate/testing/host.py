"""What a kit runs on its thread: the real services over the one member, and the links."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final

from raftstate.core import queries
from raftstate.core.ports import Unavailable
from raftstate.rpc.bridge import Bridge
from raftstate.rpc.frontend import Addresses
from raftstate.rpc.server import RpcServer, Settings
from raftstate.testing.clock import PATIENCE_S, Hands
from raftstate.testing.faults import Aim, Fault, Way
from raftstate.testing.links import Link
from raftstate.testing.member import MemoryState
from raftstate.testing.solo import Name, Solo, caller, ownership_name
from raftstate.v1.agent_service_pb2 import (
    ACQUIRE_MODE_FORCE,
    AcquireOwnershipRequest,
    Agent,
    ReleaseOwnershipRequest,
)
from raftstate.v1.common_pb2 import FencingToken, RequestId
from raftstate.v1.session_service_pb2 import OpenSessionRequest
from raftstate.v1.store_pb2 import Command, ExpireOwnership, ExpireSession

# What is kept alive, but has never been renewed, is given up after so long of real time:
# nobody may be there who renews it.
_NEVER_HEARD_S: Final = 4.0
# The session under which the kit itself owns agents.
RIVAL: Final = "raftstate.testing"


class Host:
    """Everything here is called on the kit's thread."""

    def __init__(self, hands: Hands, history_keep: int) -> None:
        self.hands = hands
        bridge = Bridge(asyncio.get_running_loop())
        state = MemoryState()
        self.solo: Solo = Solo(
            bridge.deliver,
            state,
            bridge.revisions.announce,
            now=hands.now,
            wall=hands.wall,
            history_keep=history_keep,
        )
        self.solo.heard = self._heard
        settings = Settings(addresses=Addresses(client={"kit": ""}, raft={"kit": ""}))
        self._server = RpcServer(self.solo, state, bridge, settings, arrive=self._arrive)
        self._port = 0
        self._news = asyncio.Event()
        self._silent: set[Name] = set()
        self._extended: set[Name] = set()
        self._links: list[Link] = []
        self._rival: RequestId | None = None

    async def start(self) -> None:
        """Begin to serve."""
        self._port = self._server.bind("127.0.0.1:0")
        await self._server.start()
        self.hands.members.append(self)

    async def stop(self) -> None:
        """End all of it."""
        self.hands.members.remove(self)
        for fault in self.solo.faults:
            fault.end()
        # Clients first, of whom some may not be closed yet: grpc would tell of each that the
        # server is stopped under.
        for link in self._links:
            await link.close()
        await self._server.stop(0)

    async def link(self, name: str) -> Link:
        """One more way here."""
        link = Link(name)
        await link.start(self._port)
        self._links.append(link)
        return link

    def _arrive(self, context: Any) -> None:
        port = int(str(context.peer()).rpartition(":")[2])
        caller.set(next((one for one in self._links if port in one.ports), None))

    # --- time (clock.Timed) ---

    async def renew(self, ahead_s: float, ended: Collection[Name] = ()) -> None:
        """See `clock.Timed`. Whoever renews what has `ended` is awaited, too: it is told."""
        self.solo.ahead_s = ahead_s
        self.solo.renewed.clear()
        self._keep_rival()
        self._recall()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            while missing := self._missing() | (set(ended) - self.solo.renewed - self._silent):
                patience = PATIENCE_S
                if missing - self.solo.beaten:
                    patience = _NEVER_HEARD_S
                if loop.time() >= began + patience:
                    self._silent |= missing - self.solo.beaten or missing
                    continue
                await self._wait(began + patience)
        finally:
            self.solo.ahead_s = 0.0
        if ahead_s:
            self._extended = set(self.solo.renewed)

    @property
    def settled(self) -> bool:
        """See `clock.Timed`."""
        return self._up() <= self._extended | self._silent

    @property
    def next_deadline(self) -> float:
        """See `clock.Timed`."""
        return self.solo.next_deadline

    def follow_up(self) -> bool:
        """See `clock.Timed`."""
        return self.solo.follow_up()

    def tidy(self) -> None:
        """See `clock.Timed`."""
        self.solo.tidy()

    def _missing(self) -> set[Name]:
        """What should have been renewed by now, and was not."""
        self._silent -= self.solo.renewed
        return self._up() - self.solo.renewed - self._silent

    def _up(self) -> set[Name]:
        """What is kept alive by clients that are not cut off."""
        return {
            name
            for name, link in self.solo.live().items()
            if not isinstance(link, Link) or link.up
        }

    def _recall(self) -> None:
        """End the streams that keep things alive, so that clients begin new ones at once,
        and renew there all that they hold."""
        for role in ("follower", "leader"):
            self.solo.role = role
            self._server.look()

    def _heard(self) -> None:
        self._news.set()

    async def _wait(self, until: float) -> None:
        """Wait until something happens, or the loop's time is this."""
        self._news.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._news.wait()
        except TimeoutError:
            return

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait until something has happened; not for ever."""
        until = asyncio.get_running_loop().time() + PATIENCE_S
        while not done() and asyncio.get_running_loop().time() < until:
            await self._wait(until)

    # --- losing ---

    async def take_over(self, agent_id: str, holder: str, told: bool) -> FencingToken:
        """Own an agent, which exists, in the name of another process."""
        before = self._told_by(self._agent(agent_id))
        request = AcquireOwnershipRequest(
            request_id=self._request_id(),
            agent_id=agent_id,
            mode=ACQUIRE_MODE_FORCE,
            holder=holder,
            ttl_ms=3_600_000,
        )
        outcome = self.solo.carry_out(Command(acquire_ownership=request))
        self._demand(outcome)
        if told:
            await self._tell(before)
        return outcome.acquire_ownership.ownership.fence

    async def give_back(self, agent_id: str) -> None:
        """End what `take_over` began."""
        owner = self._agent(agent_id).owner
        if owner.session_id != RIVAL:
            raise ValueError(f"agent {agent_id} is not owned by `take_over`")
        request = ReleaseOwnershipRequest(
            request_id=self._request_id(), agent_id=agent_id, fence=owner.fence
        )
        self._demand(self.solo.carry_out(Command(release_ownership=request)))

    async def expire_ownership(self, agent_id: str, told: bool) -> None:
        """End an ownership as if its time had run out."""
        agent = self._agent(agent_id)
        if not agent.HasField("owner"):
            raise ValueError(f"agent {agent_id} has no owner")
        before = self._told_by(agent)
        expiry = ExpireOwnership(
            agent_id=agent_id,
            fence=agent.owner.fence,
            touched_revision=agent.owner.touched_revision,
        )
        self._demand(self.solo.carry_out(Command(expire_ownership=expiry)))
        if told:
            await self._tell(before)

    async def expire_sessions(self, link: Link, told: bool) -> None:
        """End the sessions of a client as if their time had run out."""
        found = [
            name[1]
            for name, through in self.solo.links.items()
            if name[0] == "session" and through is link
        ]
        records = [queries.get_session(self.solo.state.store, one) for one in found]
        live = [record for record in records if record is not None]
        if not live:
            raise ValueError("this client has no session: one is opened when it is needed")
        for record in live:
            expire = ExpireSession(
                session_id=record.session.session_id, touched_revision=record.touched_revision
            )
            self._demand(self.solo.carry_out(Command(expire_session=expire)))
        if told and link.up:
            await self._tell({("session", record.session.session_id) for record in live})

    async def kill(self, link: Link) -> None:
        """Break a client's connections, and see that the member has noticed."""
        was_up = link.up
        link.kill()
        if was_up:
            await self._until(lambda: not self._beating(link))
        # Nothing was heard yet of those that were opened just now.
        for (kind, name), through in self.solo.live().items():
            if kind == "session" and through is link:
                self.solo.session_broken(name)

    async def change_leader(self) -> None:
        """Have another term begin."""
        self.solo.stand_again()
        await self.renew(0.0)

    def _beating(self, link: Link) -> bool:
        """Whether a session is kept alive through a link, as far as is noticed."""
        return any(
            name[0] == "session" and through is link and name in self.solo.beaten
            for name, through in self.solo.live().items()
        )

    def _told_by(self, agent: Agent) -> set[Name]:
        """The ownership that is about to end, if its owner can be told."""
        link = self.solo.links.get(("session", agent.owner.session_id))
        return {ownership_name(agent)} if isinstance(link, Link) and link.up else set()

    async def _tell(self, ended: set[Name]) -> None:
        """Have clients hear of what has ended. When they have answered once more, after
        that, they have taken it in."""
        await self.renew(0.0, ended)
        await self.renew(0.0)

    def _agent(self, agent_id: str) -> Agent:
        agent = queries.get_agent(self.solo.state.store, agent_id)
        if agent is None:
            raise ValueError(f"there is no agent {agent_id!r}")
        return agent

    def _demand(self, outcome: Any) -> None:
        if outcome.WhichOneof("result") == "refusal":
            raise ValueError(outcome.refusal.message)

    def _request_id(self) -> RequestId:
        if self._rival is None:
            request = OpenSessionRequest(session_id=RIVAL, ttl_ms=3_600_000, client=RIVAL)
            outcome = self.solo.carry_out(Command(open_session=request))
            opened = outcome.open_session.session.opened_revision
            self._rival = RequestId(session_id=RIVAL, opened_revision=opened)
        self._rival.sequence += 1
        self._rival.lowest_unfinished = self._rival.sequence
        return self._rival

    def _keep_rival(self) -> None:
        """What the kit owns it owns until it gives it back."""
        if self._rival is not None:
            self.solo.keep_rival(RIVAL)

    # --- faults ---

    def fault(
        self,
        way: Way,
        aim: Aim,
        times: int,
        answer: Unavailable,
        applied: bool,
        run: Callable[[Callable[[], Any]], Any],
    ) -> Fault:
        """Have something happen to the next calls."""
        fault = Fault(
            way=way,
            aim=aim,
            times=times,
            answer=answer,
            applied=applied,
            run=run,
            carry_out=self.solo.carry_out,
            answers=self.solo.deliver,
        )
        self.solo.faults.append(fault)
        return fault

    def clear(self) -> None:
        """Have nothing more happen."""
        for fault in self.solo.faults:
            fault.end()
        self.solo.faults.clear()
