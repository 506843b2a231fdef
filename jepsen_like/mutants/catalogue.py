"""What is planted, and what has to catch it.

A mutant is run under a plan: some workloads, and a few faults at fixed times, as short as
they can be. Mutants that come to light in the same way share a plan, and the run of that
plan in which nothing is planted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from jepsen_like.nemesis.schedule import Planned
from jepsen_like.protocols import Fault


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to a cluster: the load on it (what the workloads' own rates are
    multiplied with), and the faults of so many seconds."""

    name: str
    workloads: tuple[str, ...]
    load: float
    seconds: float
    schedule: tuple[Planned, ...]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault that can be planted (see node.py), what it breaks, and the verdicts of which
    at least one has to be invalid."""

    name: str
    breaks: str
    plan: Plan
    expects: frozenset[str]


def _fault(at: float, kind: str, seconds: float, **args: Any) -> Planned:
    return Planned(at, Fault(kind, seconds, args))


def _mutant(name: str, breaks: str, plan: Plan, *expects: str) -> Mutant:
    return Mutant(name, breaks, plan, frozenset(expects))


# The leader is cut off, and others elect another one, four times. Few operations: who has
# just written knows that the leader is gone, and who has not goes on reading there.
LEADER_ALONE: Final = Plan(
    "leader-alone",
    ("register", "set"),
    0.25,
    13.3,
    (
        _fault(0.5, "partition-leader", 2.3, draw=1),
        _fault(4.0, "partition-leader", 2.3, draw=2),
        _fault(7.5, "partition-leader", 2.3, draw=3),
        _fault(11.0, "partition-leader", 2.3, draw=4),
    ),
)
# Owners are stopped for longer than they own anything, and go on as if nothing had been.
CLIENTS_STOPPED: Final = Plan(
    "clients-stopped",
    ("ownership",),
    2.0,
    10.5,
    (
        _fault(2.0, "pause-clients", 3.2, draw=1, share=0.6),
        _fault(7.0, "pause-clients", 3.2, draw=2, share=0.6),
    ),
)
# A member misses so much that it is sent a snapshot, three times. Many operations: some
# requests should come again just before and after where the snapshot was taken.
SHUT_OUT: Final = Plan(
    "shut-out",
    ("exactly-once", "set"),
    3.0,
    11.0,
    (
        _fault(0.5, "snapshot-install", 1.5, draw=1, how="cut"),
        _fault(4.0, "snapshot-install", 1.5, draw=2, how="cut"),
        _fault(7.5, "snapshot-install", 1.5, draw=3, how="cut"),
    ),
)
# The power goes, and takes along what was not synced.
POWER_LOST: Final = Plan(
    "power-lost",
    ("register", "set"),
    0.7,
    6.0,
    (_fault(2.0, "power-loss-drop", 0.5, seed=1),),
)
# All clocks are put forward, twice, by more than an ownership lasts and less than a session;
# the second time further: what was extended under the first jump lasts until there.
CLOCKS_JUMP: Final = Plan(
    "clocks-jump",
    ("ownership",),
    2.0,
    8.5,
    (
        _fault(2.0, "clock-jump", 2.0, offset_s=7.0, target="all", pick=0),
        _fault(6.0, "clock-jump", 2.0, offset_s=16.0, target="all", pick=0),
    ),
)
# Nothing is broken from outside: what these plans are for shows without it.
KEYS_TOGETHER: Final = Plan("keys-together", ("append", "bank"), 3.0, 6.0, ())
# A consumer that stalls once, while more is written than is kept for it.
CONSUMER_STALLED: Final = Plan("consumer-stalled", ("watch",), 2.0, 9.0, ())
# Saves and restores, of chunks and of other states.
SAVED_AND_RESTORED: Final = Plan("saved-and-restored", ("checkpoints",), 4.0, 7.0, ())
# Sagas that are done and undone, by clients that die; and rollbacks of what is saved.
DONE_AND_UNDONE: Final = Plan("done-and-undone", ("saga",), 2.0, 8.0, ())
TAKEN_BACK: Final = Plan("taken-back", ("rollback",), 2.0, 6.0, ())

MUTANTS: Final = (
    _mutant(
        "skip-syncs",
        "A member acknowledges what it has not made durable: its log is never synced.",
        POWER_LOST,
        *("set:full", "register:witness"),
    ),
    _mutant(
        "read-without-quorum",
        "A leader answers linearizable reads without asking whether it still leads.",
        LEADER_ALONE,
        *("register:witness", "register:linear", "set:full"),
    ),
    _mutant(
        "read-at-any-member",
        "A follower answers a linearizable read from what it has applied.",
        LEADER_ALONE,
        *("register:witness", "register:linear", "set:full"),
    ),
    _mutant(
        "ack-before-quorum",
        "A leader acknowledges what only its own log holds.",
        LEADER_ALONE,
        *("register:witness", "set:full"),
    ),
    _mutant(
        "ignore-fences",
        "A step is accepted under a token of the past, and of another session.",
        CLIENTS_STOPPED,
        "ownership:fencing",
    ),
    _mutant(
        "reset-counter",
        "The tokens of an agent begin anew with each owner.",
        CLIENTS_STOPPED,
        *("ownership:fencing", "ownership:resource"),
    ),
    _mutant(
        "lease-by-wall-clock",
        "Ownerships and sessions end by the wall clock of the leader.",
        CLOCKS_JUMP,
        "ownership:fencing",
    ),
    _mutant(
        "repeat-retries",
        "A request that is sent again is carried out again.",
        SHUT_OUT,
        "exactly-once:once",
    ),
    _mutant(
        "forget-sessions",
        "A snapshot brings neither sessions nor what is remembered of their requests.",
        SHUT_OUT,
        *("states", "set:full", "exactly-once:once"),
    ),
    _mutant(
        "forget-answers",
        "A snapshot brings nothing of what is remembered of requests, and the state hash "
        "does not show it.",
        SHUT_OUT,
        *("states", "set:full", "exactly-once:once"),
    ),
    _mutant(
        "ignore-compares",
        "The compares of a transaction hold, whatever is stored.",
        KEYS_TOGETHER,
        *("append:cycles", "append:witness", "bank:reads"),
    ),
    _mutant(
        "mix-revisions",
        "What is read of an earlier revision, as pages and transactions do, is what is "
        "stored now.",
        KEYS_TOGETHER,
        *("bank:reads", "append:cycles", "append:witness"),
    ),
    _mutant(
        "drop-changes",
        "A watch whose queue is full goes on without what does not fit.",
        CONSUMER_STALLED,
        "watch:properties",
    ),
    _mutant(
        "lose-chunks",
        "Some chunks are not stored, and what is read goes without them.",
        SAVED_AND_RESTORED,
        "checkpoints:content",
    ),
    _mutant(
        "compensate-twice",
        "What is undone is to be undone again, under another key.",
        DONE_AND_UNDONE,
        "saga:outside",
    ),
    _mutant(
        "undo-oldest-first",
        "What was done first is undone first.",
        DONE_AND_UNDONE,
        "saga:outside",
    ),
    _mutant(
        "leave-unknown",
        "What nobody knows the end of is not undone.",
        DONE_AND_UNDONE,
        "saga:outside",
    ),
    _mutant(
        "restore-newest",
        "A rollback restores another state than the one that was wanted.",
        TAKEN_BACK,
        "rollback:states",
    ),
)
