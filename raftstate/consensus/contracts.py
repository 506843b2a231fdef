"""PySyncObj's contracts, kept: its journal, its node and its transport.

The journal stands over our `Log` port. PySyncObj numbers the entries of a journal by
position, from 0, and wants at least one; ours are numbered by Raft index, and stand on a
base. Position 0 here is the base, shown as a no-op entry, and position k the entry at
base + k. The commit index is volatile, as in the paper: what is stored and trusted
without the log it belongs to can only be wrong after a power loss.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pysyncobj.syncobj as upstream
from pysyncobj.config import SyncObjConf
from pysyncobj.journal import Journal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from raftstate.consensus.config import EngineConfig
from raftstate.consensus.membership import Membership
from raftstate.core.ports import Entry, HardState, Log
from raftstate.core.types import Index, MemberId, Term
from raftstate.v1.peer_pb2 import Envelope

NO_OP = b"\x01"

JournalEntry = tuple[bytes, int, int]


class LogJournal(Journal):  # type: ignore[misc]  # pysyncobj is untyped
    """A `Log` in the shape that PySyncObj's node asks for."""

    def __init__(self, log: Log, membership: Membership) -> None:
        self.log = log
        self._membership = membership
        self._commit_index = log.base.position.index

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Append one entry."""
        entry = Entry(Index(idx), Term(term), command)
        self.log.append(entry)
        self._membership.appended(entry)

    def clear(self) -> None:
        """Refused: a log is only ever emptied by installing a snapshot."""
        raise AssertionError("the journal is never cleared")

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803
        """Remove the entry at a position and all after it."""
        assert entryFrom > 0, "the base is not an entry"
        first = Index(self.log.base.position.index + entryFrom)
        self.log.truncate(first)
        self._membership.truncated(first)

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N802, N803
        """Refused: compaction names a snapshot, and goes through `Log.cut`."""
        raise AssertionError(f"entries before position {entryTo} need a snapshot to go")

    def __len__(self) -> int:
        return self.log.last.index - self.log.base.position.index + 1

    def __getitem__(self, item: int | slice) -> JournalEntry | list[JournalEntry]:
        if isinstance(item, slice):
            return [self._at(position) for position in range(*item.indices(len(self)))]
        return self._at(item if item >= 0 else len(self) + item)

    def _at(self, position: int) -> JournalEntry:
        if not 0 <= position < len(self):
            raise IndexError(position)
        base = self.log.base.position
        if position == 0:
            return (NO_OP, base.index, base.term)
        entry = self.log.read(Index(base.index + position), 1)[0]
        return (entry.data, entry.index, entry.term)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        """Note the commit index, in memory only."""
        self._commit_index = Index(raftCommitIndex)

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        """The base: all up to it is committed, and nothing else is known to be."""
        return self._commit_index

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803
        """Store term and vote; durable with the next commit of the log."""
        vote = MemberId(votedForNodeId) if votedForNodeId is not None else None
        settled = self.log.hard_state.settled
        self.log.set_hard_state(HardState(Term(term), vote, settled))

    def getCurrentTerm(self) -> int:  # noqa: N802
        """The stored term."""
        return self.log.hard_state.term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        """The stored vote."""
        return self.log.hard_state.vote

    def onOneSecondTimer(self) -> None:  # noqa: N802
        """Nothing to do: every tick commits."""

    def _destroy(self) -> None:
        """Nothing to do: the log is closed by whoever opened it."""


def settings(config: EngineConfig, journal: LogJournal) -> SyncObjConf:
    """PySyncObj's own settings. Nothing of it may run by itself: no thread, no fork."""
    return SyncObjConf(
        autoTick=False,
        useFork=False,
        appendEntriesUseBatch=True,
        dynamicMembershipChange=False,
        commandsWaitLeader=False,
        raftMinTimeout=config.election_min_s,
        raftMaxTimeout=config.election_max_s,
        appendEntriesPeriod=config.heartbeat_s,
        leaderFallbackTimeout=config.election_max_s,
        connectionTimeout=max(3.5, config.election_max_s),
        journalFile=journal,
    )


_stock_create_journal = upstream.createJournal


def _create_journal(journal: object) -> Journal:
    """PySyncObj makes its journal from a configured file name; ours is given whole."""
    return journal if isinstance(journal, LogJournal) else _stock_create_journal(journal)


upstream.createJournal = _create_journal


class MemberNode(Node):  # type: ignore[misc]  # pysyncobj is untyped
    """A member, with a hash that does not depend on the process: sets of members are
    iterated in the same order in every run."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())


class Wire(Transport):  # type: ignore[misc]  # pysyncobj is untyped
    """The way out. Connections are somebody else's business."""

    def __init__(self, send: Callable[[MemberId, Envelope], None]) -> None:
        super().__init__(None, None, None)
        self._send = send

    def send(self, node: MemberNode, message: Envelope) -> bool:
        """Hand a message on. Delivers nothing and raises nothing from inside."""
        self._send(MemberId(node.id), message)
        return True
