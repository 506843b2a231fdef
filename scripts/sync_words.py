"""What the sync face has in its own way: the tables of `sync_face.py`.

Classes are named as in the source; a place is `Class.method`, or a module.
"""

from __future__ import annotations

from typing import Final

WIDTH: Final = 92

# The modules, in order, and the classes that get a twin.
MODULES: Final[dict[str, tuple[str, ...]]] = {
    "keys": ("Keys",),
    "reads": ("Reads",),
    "streams": ("Streams",),
    "checkpoints": ("Checkpoints",),
    "projections": ("_Consumer", "ProjectionRun", "ReadModel", "Projections"),
    "leases": ("HeldLease", "Leases"),
    "membership": ("Membership",),
    "watch": ("Watch", "Watching"),
    "breakers": ("BreakerHandle", "Breakers"),
    "incidents": ("Incidents",),
    "effects": ("AgentEffects", "StepEffects"),
    "recordings": ("AgentRecordings", "StepRecordings"),
    "rollbacks": ("Rollbacks", "AgentRollback"),
    "ownership": ("AgentHandle", "Step"),
    "own": ("Own",),
    "sagas": ("Saga", "Sagas"),
    "practice": ("PracticeAgent", "PracticeStep"),
    "replaying": ("ReplayAgent",),
    "replay": ("Replays",),
    "store": ("Store",),
    "worker": ("Worker",),
}
# Of these one thread at a time calls.
HANDLES: Final = {
    *("_Consumer", "ProjectionRun", "ReadModel", "Watch", "Saga"),
    *("AgentEffects", "AgentRecordings", "AgentRollback", "AgentHandle", "ReplayAgent"),
    *("StepEffects", "StepRecordings", "Step"),
}
PROTOCOL: Final = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "__call__": "__call__",
}
# What is public by its name, and only for the other parts of the client.
INTERNAL: Final[dict[str, set[str]]] = {
    "AgentEffects": {
        "write",
        "runner",
        "entry",
        "note_closings",
        "in_doubt",
        "lost",
        "time_left",
    },
    "StepEffects": {"pending_recordings"},
    "AgentRecordings": {"write", "recorded_now", "fetch_recordings"},
    "StepRecordings": {"pending_recordings"},
    "AgentRollback": {"give_up", "settling"},
    "AgentHandle": {
        *("settled_in", "request", "acknowledged", "confirmed", "notice", "ended"),
        *("hold", "release", "lose", "settling", "give_up", "loss"),
        *("enter_step", "leave_step", "commit", "write"),
    },
    "HeldLease": {"interval", "request", "acknowledged"},
    "ReplayAgent": {
        *("write", "enter_step", "leave_step", "note_closings", "commit", "diverged"),
        *("effect_done", "state", "finished"),
    },
    "PracticeAgent": {"given", "drawn", "known", "noted"},
}

# --- types -------------------------------------------------------------------

TYPES: Final = {"AsyncIterator": "Iterator"}
# Where the types of the source are several, for what may be awaited or not.
SIGNATURES: Final = {
    "BreakerHandle.call": "(self, function: Callable[..., T], /, *arguments: Any,"
    " fallback: Callable[..., T] | None = None, **named: Any) -> T",
    "BreakerHandle.__call__": "(self, function: Callable[P, T]) -> Callable[P, T]",
}
# Aliases of functions.
FUNCTION_TYPES: Final = {"Function", "Handler", "Modeller", "Reducer", "Reducer | None"}
# What is imported from elsewhere than the source says.
IMPORTS: Final = {
    name: f"from raftstate.sync.running import {name}"
    for name in (
        "Face",
        "Handle",
        "Running",
        "given",
        "listed",
        "listing",
        "plain",
        "plain_options",
    )
} | {
    "AtOnce": "from raftstate.sync.trying import AtOnce",
    "determinism": "from raftstate.client import determinism",
    "Produced": "from raftstate.client.determinism import Produced",
    "Block": "from raftstate.sync.owning import Block",
    "Portal": "from raftstate.client.portal import Portal",
    "Iterator": "from collections.abc import Iterator",
    "cast": "from typing import cast",
    "contextlib": "import contextlib",
    "Own": "from raftstate.sync.own import Own",
}
_OF_REPLAYS: Final = (
    *("Divergence", "Reconstructed", "Replay", "ReplayDiverged", "UndeclaredNondeterminism"),
    *("differences", "state_hash"),
)
# What stands before a module's classes.
HEADS: Final = {
    "projections": """
# What is done with one event, or wanted to be written for some.
Handler = Callable[[Event], None]
Modeller = Callable[[list[Event]], Iterable[TxnOp]]
""",
    "watch": """
async def _next(watch: face.Watch) -> WatchBatch | None:
    async for batch in watch:
        return batch
    return None
""",
    "practice": """
def practising(agent: face.PracticeAgent) -> PracticeAgent:
    \"\"\"What a function is given, which is to be a plain one.\"\"\"
    return PracticeAgent(agent, AtOnce())


def check_deterministic(
    target: str | Callable[..., Any],
    /,
    *arguments: Any,
    agent: bool | None = None,
    state: Any = None,
    effects: dict[str, Any] | None = None,
    timeout: float = 60.0,
) -> Produced:
    \"\"\"Run a plain function twice, and raise UndeclaredNondeterminism unless it does the same
    both times and draws nothing that it does not declare: see
    `raftstate.replay.check_deterministic`. Its agent is a `PracticeAgent` of this face.

    Raises what the function raises, and TypeError if its result is no value of JSON.\"\"\"
    if not isinstance(target, str):
        plain(target)
    return determinism.check_deterministic(
        target,
        *arguments,
        agent=agent,
        state=state,
        effects=effects,
        timeout=timeout,
        face=__name__,
    )
""",
    "replay": f"""
from raftstate.client.replay import {", ".join(_OF_REPLAYS)}
from raftstate.sync.practice import PracticeAgent, check_deterministic
from raftstate.sync.replaying import ReplayAgent

__all__ = {sorted((*_OF_REPLAYS, "PracticeAgent", "ReplayAgent", "check_deterministic"))!r}
""",
}

# --- bodies ------------------------------------------------------------------

_STEP: Final = """\
made = {0}(self._it.step(timeout=timeout), self._running)
made._states = self._states
return made"""
_RESTORE: Final = "return self._it.restore(default, fold if fold is None else plain(fold))"
_STATE_FROM: Final = """\
self._states.take(state)
self._it.state_from(self._states.last)"""

BODIES: Final = {
    "Store.__aenter__": "self._running.open()\nreturn self",
    "Store.__aexit__": "self._running.close(error)",
    "Store.close": "self._running.close()",
    "Own.__aenter__": """\
if self._block is not None:
    raise RuntimeError("this block is entered already: ask for another")
self._block = Block(self._it, self._running)
try:
    agent = self._block.enter()
except BaseException:
    self._block.abandon()  # also where an interrupt came as it was acquired
    self._block = None
    raise
return AgentHandle(agent, self._running.within(self._block))""",
    "Own.__aexit__": """\
block = self._block
assert block is not None
try:
    block.leave(error, trace)
finally:
    block.abandon()  # if an interrupt came before it was told
    self._block = None""",
    "AgentHandle.step": _STEP.format("Step"),
    "AgentHandle.restore": _RESTORE,
    "AgentHandle.state_from": _STATE_FROM,
    "AgentHandle.check": """\
if self._it.lost:
    self._running.call(self._it.check)""",
    "AgentHandle.wait_lost": """\
return self._running.run(self._it.wait_lost(timeout), bound=False)""",
    "Step.__aexit__": """\
if error is None:
    try:
        self._states.ask()
    except BaseException as failed:
        self._running.leave(self._it.__aexit__, failed, failed.__traceback__)
        raise
with self._alone():
    self._running.leave(self._it.__aexit__, error, trace)""",
    "ReplayAgent.step": _STEP.format("Step"),
    "ReplayAgent.restore": _RESTORE,
    "PracticeAgent.restore": _RESTORE,
    "PracticeAgent.state_from": "self._it.state_from(plain(state))",
    "ReplayAgent.state_from": _STATE_FROM,
    "Sagas.saga": "return Saga(self._it.saga({passed}), agent._running)",
    "Watch.__anext__": """\
batch = self._do(_next(self._it))
if batch is None:
    raise StopIteration
return batch""",
    "Watch.aclose": "self._running.post(self._it.end)",
    "Watch.end": "self._running.post(self._it.end)",
    "BreakerHandle.call": """\
plain(function)
instead = self._it._fallback if fallback is None else plain(fallback)
try:
    ticket = self._do(self._it._admit())
except BreakerOpen:
    if instead is None:
        raise
    found: T = given(instead(*arguments, **named))
    return found
with self._counted(ticket):
    return given(function(*arguments, **named))""",
    "BreakerHandle.guard": """\
ticket = self._do(self._it._admit())
with self._counted(ticket):
    yield""",
    "BreakerHandle.__call__": """\
plain(function)

@functools.wraps(function)
def guarded(*arguments: P.args, **named: P.kwargs) -> T:
    bound = functools.partial(function, *arguments, **named)
    if self._it._fallback is None:
        return self.call(bound)
    found: T = self.call(
        bound, fallback=functools.partial(self._it._fallback, *arguments, **named)
    )
    return found

return guarded""",
    "Breakers.breaker": """\
if fallback is not None:
    plain(fallback)
with self._running.lock:
    it = self._it.breaker({passed})
return BreakerHandle(it, self._running)""",
    "Worker.__init__": """\
super().__init__(face.Worker({passed}), store._running)""",
    "Worker.run": "self._running.run(self._it.run(), asks=False)",
    "Worker.stop": "self._running.post(self._it.stop)",
}
# What a class has beside what its source has.
EXTRAS: Final = {
    "Store": """
def __init__(self, portal: Portal) -> None:
    super().__init__(portal.store, Running(portal))
""",
    "Own": """
_block: Block | None = None

def __del__(self) -> None:
    if self._block is not None:  # an interrupt came just before the block began
        self._block.abandon()
""",
    "Watch": """
def __del__(self) -> None:
    self._running.post(self._it.end)
""",
    "BreakerHandle": """
@contextlib.contextmanager
def _counted(self, ticket: Ticket | None) -> Iterator[None]:
    failed: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failed = error
        raise
    finally:
        if ticket is not None:
            it = self._it
            self._running.post(it._board.ended, it._circuit, ticket, failed)
""",
}
FUNCTIONS: Final = {
    "store": (("connect", "return Store(Portal({passed}))"),),
}
# Functions of the user's, and how they are passed on.
_CARRIED: Final = "self._running.carried({0})"
CALLED: Final = {
    "Projections.projection(handler)": _CARRIED,
    "Projections.read_model(handler)": "self._running.carried(listing({0}))",
    "AgentRecordings.record(function)": _CARRIED,
    "StepRecordings.record(function)": _CARRIED,
    "ReplayAgent.record(function)": _CARRIED,
    "AgentRecordings.replay(function)": _CARRIED,
    "Replays.replay(function)": _CARRIED,
    "Replays.verify_replay(reducer)": _CARRIED,
    "Replays.reconstruct(reducer)": _CARRIED,
    "AgentEffects.effect(do)": "plain({0})",
    "StepEffects.effect(do)": "plain({0})",
    "ReplayAgent.effect(do)": "plain({0})",
    "Saga.step(do)": "plain({0})",
    "PracticeAgent.record(function)": _CARRIED,
    "PracticeStep.record(function)": _CARRIED,
    "Breakers.breaker(fallback)": "{0}",
}
called: set[str] = set()

# --- attributes --------------------------------------------------------------

ATTRIBUTES: Final[dict[str, dict[str, str]]] = {
    "AgentHandle": {
        "agent_id": "str",
        "token": "FencingToken",
        "bundle": "TakeoverBundle",
        "head": "StepHead",
        "events_since": "list[Event]",
        "ttl": "float",
    },
    "Step": {
        "committed": "bool",
        "head": "StepHead | None",
        "first_position": "int",
        "revision": "int",
    },
    "Saga": {"saga_id": "str", "resumed": "bool"},
    "_Consumer": {"name": "str", "position": "int"},
    "Worker": {"finished": "int"},
    "ReplayAgent": {
        "agent_id": "str",
        "token": "FencingToken",
        "token_text": "str",
        "lost": "bool",
        "in_doubt": "bool",
        "time_left": "float",
        "head": "StepHead",
        "bundle": "TakeoverBundle",
        "events_since": "list[Event]",
        "open_effects": "list[Effect]",
        "open_sagas": "list[Saga]",
        "steps": "int",
        "events": "int",
    },
    "PracticeAgent": {
        "agent_id": "str",
        "token_text": "str",
        "lost": "bool",
        "in_doubt": "bool",
        "time_left": "float",
        "step_number": "int",
        "recordings": "dict[str, Any]",
        "events": "list[dict[str, Any]]",
        "events_since": "list[Any]",
    },
}
_AGENT: Final = {
    "agent_id": "The agent's id.",
    "token": "The fencing token of this ownership.",
    "token_text": "The fencing token as text.",
    "bundle": "What the store gave when the agent was taken over.",
    "head": "The agent's newest step, event and checkpoint, as far as this handle knows.",
    "events_since": "The events after the newest checkpoint, when the agent was taken over.",
    "ttl": "How long the ownership outlives the last renewal, in seconds.",
    "lost": "Always false.",
    "in_doubt": "Always false.",
    "time_left": "For ever.",
    "open_effects": "None.",
    "open_sagas": "None.",
    "steps": "How many steps were done again.",
    "events": "How many events were made again.",
}
ATTRIBUTE_DOCS: Final = {
    **{
        f"{kind}.{name}": _AGENT[name]
        for kind in ("AgentHandle", "ReplayAgent")
        for name in ATTRIBUTES[kind]
    },
    **{
        f"PracticeAgent.{name}": text
        for name, text in (
            _AGENT
            | {
                "step_number": "How many steps were committed.",
                "recordings": "What was drawn, by step and key.",
                "events": "What the steps wrote.",
                "events_since": "None.",
            }
        ).items()
        if name in ATTRIBUTES["PracticeAgent"]
    },
    "Step.committed": "Whether it is known to be committed.",
    "Step.head": "The agent's head after it; None before it is committed.",
    "Step.first_position": "Where its first event is in the order of all streams.",
    "Step.revision": "The revision that it was committed at.",
    "Saga.saga_id": "The saga's id.",
    "Saga.resumed": "Whether it was begun before, and is gone on with.",
    "_Consumer.name": "The projection's name.",
    "_Consumer.position": "The last event that was dealt with, or passed over.",
    "Worker.finished": "How many plans it has finished.",
}

# --- docstrings --------------------------------------------------------------

EVERYWHERE: Final = (
    (r"\basync (with|for|def)\b", r"\1"),
    # What would block the event loop, and nothing here.
    (r"\bawait asyncio\.to_thread\((\s*(?:\.\.\.)?\s*)([\w.]+), ", r"\2(\1"),
    (r"\bawait ", ""),
    (
        r"\braftstate\.(connect|Worker|compensation|reconciler|validator)\(",
        r"raftstate.sync.\1(",
    ),
    (
        r"\braftstate\.replay\.check_deterministic\(",
        "raftstate.sync.replay.check_deterministic(",
    ),
)
# What no docstring of this face may speak of.
NEVER: Final = (
    r"\bcoroutine",
    r"\bevent loop",
    r"\btasks?\b",
    r"\bawait",
    r"\basync",
    r"\bcancel(led|s|lation)?\b",
)
DOCS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "_Consumer.run": (
        ("until cancelled.", "until it is interrupted, or its store is closed."),
    ),
    "Projections.projection": (
        ("`handler(event)`, which may be a coroutine function, sees", "`handler(event)` sees"),
    ),
    "Watch": (("One task at a time may ask.", "One thread at a time may ask."),),
    "Watch.aclose": (("watch.aclose()", "watch.close()"),),
    "BreakerHandle.call": (
        ("What the function gives, awaited if need be; or,", "What the function gives; or,"),
    ),
    "StepEffects.effect": (
        ("Anything else, also a cancellation:", "Anything else, also an interrupt:"),
    ),
    "StepRecordings.record": (
        ("takes nothing and may be a coroutine function; it gives", "takes nothing; it gives"),
    ),
    "AgentRollback.rollback": (
        (
            "The block itself is not cancelled for that, and ends as it ends.",
            "The block itself goes on, and ends as it ends.",
        ),
    ),
    "AgentHandle.wait_lost": (
        (
            "For tasks beside the block, which itself is cancelled.",
            "For threads beside the block, in which every call raises OwnershipLost then.",
        ),
    ),
    "ownership": (
        (
            (
                "the block that holds it is cancelled. Where the event loop was blocked"
                " meanwhile,"
                " whatever runs there next finds it out: entering a step, an effect's last look"
                " before it acts, `check`, and the end of the block."
            ),
            (
                "the calls under way in the block that holds it end, and those that follow"
                " raise"
                " OwnershipLost; so does `check`, and the end of the block."
            ),
        ),
        ("is never cancelled for this:", "is never broken off for this:"),
    ),
    "Replays.replay": ((" Either may be a coroutine function.", ""),),
    "Store": (
        (
            (
                "used inside its block, in the process and the event loop that entered it, by"
                " any"
                " number of tasks."
            ),
            "used inside its block, in the process that entered it, by any number of threads.",
        ),
    ),
    "Store.close": (
        ("also if the caller is cancelled.", "also if the caller is interrupted."),
    ),
    "Store.own": (
        ("that its own task owns", "that its own thread owns"),
        (
            "When the ownership is lost, the block is cancelled and raises OwnershipLost;",
            (
                "When the ownership is lost, the call that the block's thread waits in raises"
                " OwnershipLost at once, and so does every call of the block after that,"
                " whatever it"
                " is about, and the end of the block. A thread that does not call is not told:"
                " see `AgentHandle.check`, `lost` and `wait_lost`. Of OwnershipLost, the"
            ),
        ),
    ),
    "connect": (
        (
            (
                "A thread of the SDK keeps the client and what it owns alive also while the"
                " event"
                " loop is blocked; one that has not turned for `stall_limit` seconds counts as"
                " hung, and is kept alive no more until it turns."
            ),
            (
                "Threads of the SDK keep the client and what it owns alive, whatever the"
                " program's"
                " own threads do; if the one that all calls run on should hang for"
                " `stall_limit`"
                " seconds, no more until it goes on."
            ),
        ),
    ),
    "Worker.stop": ((" From within the event loop.", " From any thread."),),
    "Worker.run": (
        ("what is cancelled is left to others.", "what is broken off is left to others."),
    ),
}

PACKAGE_DOC: Final = '''\
"""The SDK for programs without an event loop: the same names, for threads.

    import raftstate.sync

    with raftstate.sync.connect("127.0.0.1:7411,127.0.0.1:7412") as store:
        with store.own("billing/nightly", wait=True) as agent:
            state = agent.restore(default={"done": 0})
            for item in work(after=state["done"]):
                with agent.step() as step:
                    step.event("charged", item.id)
                    step.checkpoint({"done": item.id})

What is awaited in `raftstate` is waited for here; what is an asynchronous block, iterator or
generator there is a plain one. Any number of threads may use a store; an agent, a step, a
saga, a watch or a projection is used by one thread at a time, and a second one that calls
meanwhile gets a RuntimeError.

Functions given to it (`do`, `record`'s, handlers, reducers) are plain ones: they run in the
thread that called, and may block as long as they like. A coroutine function raises TypeError.
What nobody waits for, as a worker's compensations, runs in threads of its own.

A thread cannot be cancelled. When an ownership is lost inside its block, the call that the
block's thread waits in ends at once with OwnershipLost, every call of the block that follows
raises it, and so does leaving the block. A thread that computes for long asks `agent.check()`
now and then, or has another one ask `agent.wait_lost()`.

An interrupt (Ctrl-C) ends the call that its thread waits in, and leaves the store usable. What
was under way may have happened, as with any cancelled call. In a forked process everything of
a parent's store raises Closed (definite).
"""
'''
# Where the package has its public names from, if not from a twin or from the async face.
OWN_NAMES: Final = {
    "connect": "raftstate.sync.store",
    "replay": "raftstate.sync",
    "compensation": "raftstate.sync.registering",
    "reconciler": "raftstate.sync.registering",
    "validator": "raftstate.sync.registering",
    "Registry": "raftstate.sync.registering",
}
