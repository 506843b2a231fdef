"""The census agent: one process, one step a file, whatever happens to it.

    python -m raftstate.examples.census.agent --endpoints A,B,C --name agent-1 --out FILE

It waits until the agent is free, takes over with the state that the last step left,
and goes on with the next file. What it saw acknowledged, refused and lost it writes
into its own journal, which nobody else writes.

The exit status is 0 when every file is done, and 3 when it lost the ownership or could
not go on: this process is of the past then, and whoever started it decides about a new
one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import raftstate
from raftstate.errors import RaftStateError
from raftstate.examples.census.analyse import analyse, event_type, library_files, library_root
from raftstate.examples.census.evidence import Journal
from raftstate.examples.census.ledger import Ledger, told, untold
from raftstate.examples.census.record import CLIENT, SERVER, STALE
from raftstate.v1.event_service_pb2 import Event

DONE, LOST = 0, 3
AGENT_ID = "census"
CHECKPOINT_EVERY = 50
# Long enough to outlive an election between two renewals, on a busy machine as well.
TTL_S = 3.0


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do."""

    root: Path
    files: list[str]


async def run(
    endpoints: str, agent_id: str, ttl: float, work: Work, name: str, journal: Journal
) -> int:
    """Wait for the agent, do its work, and say how it ended."""
    async with raftstate.connect(endpoints, client_name=name) as store:
        journal.write("waiting")
        try:
            async with store.own(agent_id, wait=True, ttl=ttl, holder=name) as agent:
                return await census(agent, work, journal)
        except RaftStateError as error:
            # Whatever it was, the agent is let go of: its next owner will learn from the
            # store what became of the last step.
            journal.write("lost", **_as_fields(error))
            return LOST


async def census(agent: raftstate.AgentHandle, work: Work, journal: Journal) -> int:
    """Take up every file that is left, one durable step each."""
    state = Ledger(**agent.restore(default=asdict(Ledger()), fold=fold))
    token = [agent.token.epoch, agent.token.revision]
    journal.write("owned", token=token, restored=state.next_index)
    for index in range(state.next_index, len(work.files)):
        this: dict[str, Any] = {"index": index, "path": work.files[index]}
        entered = False
        try:
            async with agent.step() as step:
                entered = True
                journal.write("begun", **this)
                row = analyse(work.root, work.files[index])
                after = state.after(index, row)
                step.event(event_type(row), told(index, row))
                if after.next_index % CHECKPOINT_EVERY == 0:
                    step.checkpoint(asdict(after))
                journal.write("sending", **this)
        except RaftStateError as error:
            judge = SERVER if entered and error.reason in STALE else CLIENT
            journal.write("refused", **this, token=token, judge=judge, **_as_fields(error))
            raise
        # Only now: what was not acknowledged never happened.
        state = after
        assert step.head is not None, "a step that is left without an error is committed"
        journal.write(
            "step",
            **this,
            step=step.head.step,
            seq=step.head.event_seq,
            revision=step.revision,
            token=token,
        )
    journal.write("finished", totals=state.totals(), token=token)
    return DONE


def fold(state: dict[str, Any], event: Event) -> dict[str, Any]:
    """The state after an event that was committed since the checkpoint."""
    return asdict(Ledger(**state).after(*untold(raftstate.decode(event))))


def _as_fields(error: RaftStateError) -> dict[str, Any]:
    return {
        "error": type(error).__name__,
        "reason": error.reason,
        "definite": error.definite,
        "message": str(error),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run one agent process."""
    parser = argparse.ArgumentParser(prog="agent", description=str(__doc__).splitlines()[0])
    parser.add_argument("--endpoints", required=True, help="host:port,host:port,...")
    parser.add_argument("--name", required=True, help="of this process")
    parser.add_argument("--out", required=True, type=Path, help="the journal, made anew")
    parser.add_argument("--agent-id", default=AGENT_ID)
    parser.add_argument("--ttl", type=float, default=TTL_S, help="of the ownership, in seconds")
    parser.add_argument(
        "--root", type=Path, default=library_root(), help="whose files to count"
    )
    args = parser.parse_args(arguments)
    with Journal(args.out) as journal:
        journal.write("started", pid=os.getpid())
        work = Work(args.root, library_files(args.root))
        return asyncio.run(
            run(args.endpoints, args.agent_id, args.ttl, work, args.name, journal)
        )


if __name__ == "__main__":
    sys.exit(main())
