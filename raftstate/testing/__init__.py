"""A store in this process, for tests of agents: no cluster, no files, no waiting.

The services, the state machine and the rules by which sessions, ownerships and leases end
are those of a cluster; what is missing is Raft and the disk. Everything that a client does
works, through its usual API:

    >>> import raftstate
    >>> from raftstate import testing
    >>> async def agent(store):
    ...     async with store.own("billing/nightly", wait=True) as owned:
    ...         state = owned.restore(default={"done": 0})
    ...         async with owned.step() as step:
    ...             step.event("charged", {"number": state["done"] + 1})
    ...             step.checkpoint({"done": state["done"] + 1})
    >>> async def test_takeover():
    ...     async with testing.served() as kit, kit.connect() as one, kit.connect() as two:
    ...         kit.lose_answer(applied=True, kind="commit_step")
    ...         try:
    ...             await agent(one)
    ...         except raftstate.errors.OutcomeUnknown:
    ...             kit.cut_off(one)
    ...         await kit.advance(20.0)
    ...         await agent(two)
    ...         return [raftstate.decode(e) async for e in two.read_events("billing/nightly")]
    >>> import asyncio
    >>> asyncio.run(test_takeover())
    [{'number': 1}, {'number': 2}]

**The clock** stands still, for the store and for all clients of this process, until
`kit.advance(seconds)` moves it: log time, ttls, retention, the windows of breakers,
checkpoints by time, `step.time()`. Whoever is alive keeps what it holds, however far that
is; whoever is cut off or killed loses it, as in life. All kits of a process share one clock.
Deadlines of calls and pauses between attempts are in real time. A store that talks to a real
cluster believes in this clock as well while a kit is open, and so would believe for too long
that it owns: do not have both in one process at one time.

**Faults** (`kit.fail`, `kit.lose_answer`, `kit.hold`) wait for the next call that they are
aimed at. **Losses** (`kit.take_over`, `kit.expire_ownership`, `kit.expire_session`,
`kit.cut_off`, `kit.kill`, `kit.change_leader`) happen at once. **`kit.log()`** is what was
committed.

A fixture for pytest, where tests are coroutines:

    @pytest.fixture
    async def kit():
        async with raftstate.testing.served() as kit:
            yield kit

Without an event loop it is `with testing.sync_served() as kit:`, and the same names.
"""

from raftstate.testing.faults import Committed, Fault
from raftstate.testing.kit import Kit, SyncKit, served, sync_served
from raftstate.testing.links import Link

__all__ = ["Committed", "Fault", "Kit", "Link", "SyncKit", "served", "sync_served"]
