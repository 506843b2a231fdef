"""What a seed decides about a run: the swarm of options, all drawn, all printed.

Each run turns some faults off and some knobs far: bugs hide where everything is
always a little broken as well as where nothing ever is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from raftstate.consensus.replica import ReplicaConfig
from raftstate.core.types import MemberId
from tests.sim.clients import Habits
from tests.sim.network import Delays
from tests.sim.store.habits import NOBODY, StoreHabits

# Every kind of fault that `faults.Nemesis` knows, and how often it is drawn.
FAULTS = {
    "split": 3,
    "isolate": 2,
    "depose": 5,
    "one_way": 3,
    "stall": 2,
    "crash": 4,
    "trap": 3,
    "power": 3,
    "wipe": 2,
    "blackout": 2,
    "kill_all": 1,
    "pause": 3,
    "slow_disk": 1,
    "stuck_disk": 2,
    "disk_error": 2,
    "orderly": 1,
    "kill_worker": 3,
    "membership": 8,
}


@dataclass(frozen=True, slots=True)
class Options:
    """One run's options. Times in seconds, sizes in bytes."""

    nodes: int
    seconds: float
    delays: Delays
    heartbeat_s: float
    election_min_s: float
    election_max_s: float
    drift: float
    entry_bytes_max: int
    append_bytes_max: int
    window: int
    queue_max: int
    compact_entries: int
    keep_entries: int
    chunk_bytes: int
    grace_s: float
    turn_s: float  # how long a member takes to look at what has arrived
    commit_s: float
    tears: bool  # whether a commit of the log may survive a power loss in part
    copy_s: float
    copy_fails: float
    habits: Habits
    faults: tuple[str, ...]
    fault_gap_s: float
    fault_len_s: float
    store: StoreHabits = NOBODY

    def replica(self, member_id: MemberId, members: tuple[MemberId, ...]) -> ReplicaConfig:
        """How one member behaves; without members it joins a cluster that is there."""
        return ReplicaConfig(
            member_id=member_id,
            members=members,
            join=not members,
            heartbeat_s=self.heartbeat_s,
            election_min_s=self.election_min_s,
            election_max_s=self.election_max_s,
            entry_bytes_max=self.entry_bytes_max,
            append_bytes_max=self.append_bytes_max,
            window=self.window,
            queue_max=self.queue_max,
            compact_entries=self.compact_entries,
            keep_entries=self.keep_entries,
            chunk_bytes=self.chunk_bytes,
            grace_s=self.grace_s,
            history_keep=self.store.history_keep,
            chunk_keep_s=self.store.chunk_grace_ms / 1000,
        )


def draw(rng: random.Random, nodes: int | None, seconds: float) -> Options:
    """Draw everything; a number of nodes may be given instead."""
    drawn_nodes = rng.choice((3, 3, 3, 5))
    heartbeat_s = rng.choice((0.05, 0.1, 0.15, 0.2))
    fault_len_s = rng.choice((0.5, 2.0, 4.0))
    election_min_s = heartbeat_s * rng.choice((4, 6, 8))
    return Options(
        nodes=nodes or drawn_nodes,
        seconds=float(seconds),
        delays=_draw_delays(rng),
        heartbeat_s=heartbeat_s,
        election_min_s=election_min_s,
        election_max_s=election_min_s * rng.choice((1.5, 2.0, 4.0)),
        drift=rng.choice((0.0, 0.01, 0.02)),
        entry_bytes_max=rng.choice((1 << 11, 1 << 20)),
        append_bytes_max=rng.choice((1 << 12, 1 << 14, 1 << 20)),
        window=rng.choice((1, 2, 8)),
        queue_max=rng.choice((3, 10_000, 10_000)),
        compact_entries=rng.randint(10, 60),
        keep_entries=rng.choice((0, 0, 3, 20)),
        chunk_bytes=rng.choice((1 << 10, 1 << 14, 1 << 18)),
        grace_s=rng.choice((0.1, 0.3, 1.0)),
        turn_s=rng.choice((0.0, 0.001, 0.005)),
        commit_s=rng.choice((0.0, 0.0003, 0.003)),
        tears=rng.random() < 0.5,
        copy_s=rng.choice((0.001, 0.05, 0.5)),
        copy_fails=rng.choice((0.0, 0.0, 0.1)),
        habits=_draw_habits(rng),
        faults=_draw_faults(rng),
        fault_gap_s=fault_len_s * rng.choice((0.7, 1.5, 3.0)),
        fault_len_s=fault_len_s,
    )


def _draw_delays(rng: random.Random) -> Delays:
    low_s = rng.choice((0.0002, 0.001, 0.005))
    return Delays(
        low_s=low_s,
        high_s=low_s * rng.choice((1.5, 3.0, 10.0)),
        bytes_per_s=rng.choice((1e5, 1e6, 1e8)),
        redial_s=rng.choice((0.02, 0.2, 1.0)),
        notice_s=rng.choice((0.001, 0.05, 1.0)),
    )


def _draw_habits(rng: random.Random) -> Habits:
    agents = rng.randint(1, 3)
    return Habits(
        agents=agents,
        workers=agents * rng.choice((1, 2, 2, 3)),
        readers=rng.randint(1, 2),
        clerks=rng.choice((1, 2, 3)),
        operator=rng.random() < 0.3,
        glance_s=rng.choice((0.05, 0.3, 1.0)),
        think_s=rng.choice((0.2, 0.4, 0.8)),
        timeout_s=rng.choice((0.15, 0.5, 2.0)),
        patience_s=rng.choice((1.0, 5.0, 20.0)),
        session_ttl_ms=rng.choice((1000, 2000, 5000)),
        ownership_ttl_ms=rng.choice((300, 1000, 5000)),
        renews=rng.random() < 0.7,
        twice=rng.choice((0.0, 0.05, 0.3)),
        loss=rng.choice((0.0, 0.01, 0.1)),
        delay_s=rng.choice((0.001, 0.01)),
    )


def _draw_faults(rng: random.Random) -> tuple[str, ...]:
    chosen = tuple(kind for kind in FAULTS if rng.random() < 0.5)
    return chosen or ("crash",)
