# ruff: noqa: SIM117  # so it is read in the order of what happens
"""A program that uses a store, forks, and tells what came of it: see test_forking.py.

`python -m tests.client.forking HOW ENDPOINT` prints JSON.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import raftstate
from raftstate.client.ownership import AgentHandle
from raftstate.client.portal import Portal
from raftstate.errors import Closed
from raftstate.v1.checkpoint_service_pb2 import Checkpoint
from raftstate.v1.common_pb2 import FencingToken


async def restored(agent: Any) -> None:
    """A job, to be replayed."""
    agent.restore()


# What a call is given for its parameters without a default, by name, else by type.
NAMED: dict[str, Any] = {
    "agents": "a",
    "decision": "retry",
    "draw": int,
    "do": len,
    "job": restored,
    "reducer": "count",
    "checkpoint": Checkpoint(agent_id="a"),
    "fence": FencingToken(),
    "token": FencingToken(),
    "key": "a",
    "prefix": "a",
    "value": "a",
}
# What else a call has to be given.
BESIDES: dict[str, dict[str, Any]] = {
    "record": {"function": int},
    "replay": {"function": restored},
    "effect": {"kind": "read_only"},
    "plan_rollback": {"agents": "a", "to": raftstate.known_good()},
}
TYPED: dict[str, Any] = {
    "str": "a",
    "int": 1,
    "float": 1.0,
    "bytes": b"a",
    "bool": False,
    "Any": None,
}
# What asks nobody, and so works anywhere.
LOCAL = {
    *("restore", "state_from", "sessions_opened", "end", "closed"),
    *("check", "lost", "wait_lost", "give_up", "release", "notice", "lose", "hold"),
    *("acknowledged", "request", "settled_in", "confirmed", "leave_step", "settling"),
    *("entry", "runner", "loss", "fetch_recordings", "commit", "note_closings"),
}


def given(call: Any, besides: dict[str, Any]) -> list[Any]:
    """Arguments for a call: what its signature wants, but for what it is given besides."""
    found = []
    for one in inspect.signature(call).parameters.values():
        if one.name in besides:
            continue
        if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD:
            kind = str(one.annotation).split(" |")[0].split("[")[0]
            found.append(NAMED.get(one.name, TYPED.get(kind, [])))
    return found


def named(call: Any) -> dict[str, Any]:
    """The same for what has to be named."""
    return {
        one.name: NAMED.get(one.name, TYPED.get(str(one.annotation), []))
        for one in inspect.signature(call).parameters.values()
        if one.default is one.empty and one.kind is one.KEYWORD_ONLY
    }


def public(one: object) -> Iterator[str]:
    """The names of what there is to call."""
    for name in dir(type(one)):
        known = name.startswith("_") or name in LOCAL
        if not (known or isinstance(getattr(type(one), name), property)):
            yield name


async def used(one: object, name: str) -> None:
    """Call it, and use what comes of it."""
    call = getattr(one, name)
    besides = BESIDES.get(name, {})
    made = call(*given(call, besides), **named(call), **besides)
    if inspect.isawaitable(made):
        made = await made
    if hasattr(made, "__aenter__"):
        await made.__aenter__()
    elif isinstance(made, AsyncIterator):
        await anext(made)


async def what_came_of_it(one: object, name: str) -> str:
    """How using it failed: in a word."""
    try:
        async with asyncio.timeout(2.0):
            await used(one, name)
    except Closed as error:
        return "closed" if error.definite else "not definite"
    except Exception as error:  # noqa: BLE001  # it is what is told
        return repr(error)
    return "it worked"


async def in_a_child(things: list[object], portal: Portal, endpoint: str) -> dict[str, Any]:
    """What a forked process can do with what its parent had, and by itself."""
    NAMED["agent"] = next(one for one in things if isinstance(one, AgentHandle))
    told = {
        f"{type(one).__name__}.{name}": await what_came_of_it(one, name)
        for one in things
        for name in public(one)
    }
    odd = {name: how for name, how in told.items() if how != "closed"}
    own: dict[str, str] = {}
    try:
        async with raftstate.connect(endpoint, timeout=2.0) as store:
            await store.keys.put("child", b"1")
    except Closed as error:
        own["store"] = str(error)
    try:
        portal.run(lambda store: store.keys.get("a"))
    except Closed as error:
        own["portal"] = str(error)
    try:
        with Portal(endpoint) as mine:
            mine.run(lambda store: store.keys.get("a"))
    except Closed as error:
        own["new portal"] = str(error)
    return {"calls": len(told), "odd": odd, **own}


def child(things: list[object], portal: Portal, endpoint: str, pipe: Any) -> None:
    """The forked process: it cleans up all that it can, and ends in order."""
    signal.alarm(20)  # also if nobody is left to end it
    pipe.send(asyncio.run(in_a_child(things, portal, endpoint)))
    things.clear()
    gc.collect()


async def fork(endpoint: str) -> dict[str, Any]:
    """Fork several times while a store owns an agent and a portal is open."""
    context = multiprocessing.get_context("fork")
    exits = []
    told: dict[str, Any] = {}
    with Portal(endpoint) as portal:
        async with raftstate.connect(endpoint, session_ttl=1.0) as store:
            async with store.own("a", ttl=0.6) as agent, store.lease(1.0) as lease:
                things = [store, store.keys, agent, lease]
                for _ in range(6):
                    ours, theirs = context.Pipe()
                    process = context.Process(
                        target=child, args=(things, portal, endpoint, theirs)
                    )
                    process.start()
                    exits.append(await ended(process))
                    told = ours.recv() if ours.poll() else {}
                async with agent.step() as step:
                    step.event("after the forks")
                value = await asyncio.to_thread(
                    portal.run, lambda store: store.keys.put("parent", b"1")
                )
                told["parent"] = step.committed and value is not None and not lease.lost
    return {"exits": exits, **told}


async def ended(process: Any) -> int | None:
    """How a child ended; None if it hangs."""
    try:
        async with asyncio.timeout(10.0):
            while process.exitcode is None:  # noqa: ASYNC110  # it has no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        process.kill()
        process.join()
        return None
    code: int = process.exitcode
    return code


def put(endpoint: str, name: str) -> None:
    """What a process does that has nothing of its parent."""

    async def story() -> None:
        async with raftstate.connect(endpoint) as store:
            await store.keys.put(name, str(os.getpid()).encode())

    asyncio.run(story())


async def others(endpoint: str) -> dict[str, Any]:
    """Processes that were forked before a store was used, and that are spawned."""
    early = multiprocessing.get_context("fork").Process(target=put, args=(endpoint, "early"))
    early.start()
    exits = [await ended(early)]
    async with raftstate.connect(endpoint) as store:
        spawned = multiprocessing.get_context("spawn").Process(
            target=put, args=(endpoint, "spawned")
        )
        spawned.start()
        exits.append(await ended(spawned))
        found = [one.key.decode() async for one in store.keys.range(keys_only=True)]
    return {"exits": exits, "found": found}


if __name__ == "__main__":
    how = {"fork": fork, "others": others}[sys.argv[1]]
    print(json.dumps(asyncio.run(how(sys.argv[2]))))
