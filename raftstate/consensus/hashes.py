"""Whose state is not what most others hold: marks, and their comparison.

Members that applied the same entries hold the same bytes. So each notes the hash of its
state at every 64th index of the log, tells the newest to its leader, and the leader
compares what it was told about one index. Only equal things are compared: the same
index, the same revision, the same version of the machine.

A majority that agrees is right about what was committed, and whoever differs from it must
quarantine itself. Nobody is told so on the word of less than a majority, and never
more than a minority is told: without a majority of sound members there is no way back.
Where nobody has a majority the leader raises an alarm, and people decide.

Nothing here has a clock or a socket. Start reading at `Comparison.verdict`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from raftstate.core.machine import MACHINE_VERSION
from raftstate.core.ports import Damage
from raftstate.core.types import Index, MemberId, Revision
from raftstate.v1.peer_pb2 import HashMark

EVERY = 64
KEPT = 64


class Marks:
    """What one member noted of its own state: the newest marks, by index."""

    def __init__(self) -> None:
        self._marks: dict[int, HashMark] = {}
        self._newest: HashMark | None = None

    @staticmethod
    def due(index: Index) -> bool:
        """Whether the state is to be noted once this entry is applied."""
        return index % EVERY == 0

    def note(self, index: Index, revision: Revision, state_hash: bytes) -> HashMark:
        """Note the state as it is with the entry at `index` applied, and nothing after it."""
        assert self.due(index), f"{index} is no index to note"
        mark = HashMark(
            index=index,
            revision=revision,
            state_hash=state_hash,
            machine_version=MACHINE_VERSION,
        )
        self._marks[index] = self._newest = mark
        while len(self._marks) > KEPT:
            del self._marks[min(self._marks)]
        return mark

    def newest(self) -> HashMark | None:
        """What a follower tells its leader."""
        return self._newest

    def compare(self, theirs: HashMark) -> None:
        """Look for oneself when told that most others hold another state. Raises Damage
        if that is so."""
        own = self.contradicts(theirs)
        if own is not None:
            raise Damage(
                f"the state at index {own.index} has hash {own.state_hash.hex()}, and that"
                f" of most others {theirs.state_hash.hex()}"
            )

    def at(self, index: int) -> HashMark | None:
        """The own mark at an index, if it is kept."""
        return self._marks.get(index)

    def contradicts(self, theirs: HashMark) -> HashMark | None:
        """The own mark that differs from what most others hold; None if there is none.

        A member that is told so looks for itself: it may have begun anew meanwhile."""
        own = self._marks.get(theirs.index)
        if own is None or not _comparable(own, theirs):
            return None
        return own if own.state_hash != theirs.state_hash else None


class Verdict(NamedTuple):
    """What a leader makes of the marks at one index.

    `told` must quarantine themselves, this leader included if it is among them: most
    voters hold `agreed`. `alarm` is the message of HASH_DIFFERS, or empty.
    """

    agreed: HashMark | None
    told: tuple[MemberId, ...]
    alarm: str


class Comparison:
    """The marks that one leader was told, in one time in office."""

    def __init__(self) -> None:
        self._reports: dict[int, dict[MemberId, HashMark]] = {}
        self._told: set[MemberId] = set()

    def add(self, member: MemberId, mark: HashMark) -> bool:
        """Take in a member's mark; say whether it is news."""
        known = self._reports.setdefault(mark.index, {})
        if known.get(member) == mark:
            return False
        known[member] = mark
        while len(self._reports) > KEPT:
            del self._reports[min(self._reports)]
        # An index older than all that are kept was dropped again.
        return mark.index in self._reports

    def forget(self, member: MemberId) -> None:
        """A member began anew: what it said, and was told, is of its past."""
        self._told.discard(member)
        for reports in self._reports.values():
            reports.pop(member, None)

    def verdict(
        self, index: int, voters: Collection[MemberId], out: Collection[MemberId] = ()
    ) -> Verdict | None:
        """Who is wrong at an index, as far as is known; None if nobody is.

        `out` are voters that count for nothing now (not settled, or quarantined): their
        word is not asked, and they are among those that the others cannot do without.
        """
        reports = self._reports.get(index, {})
        sound = [member for member in sorted(voters) if member not in out]
        held = Counter(_key(reports[member]) for member in sound if member in reports)
        if len(held) < 2 and not _differing(reports, held):
            return None
        key, count = held.most_common(1)[0]
        if 2 * count <= len(set(voters)):
            if any(member not in reports for member in sound):
                return None  # too early to say
            return Verdict(None, (), f"at index {index} no majority holds the same state")
        told = [reports[member] for member in sound if member in reports]
        agreed = next(mark for mark in told if _key(mark) == key)
        return self._against(agreed, reports, voters, out)

    def _against(
        self,
        agreed: HashMark,
        reports: dict[MemberId, HashMark],
        voters: Collection[MemberId],
        out: Collection[MemberId],
    ) -> Verdict | None:
        """Everybody who differs from what most voters hold, within what may be spared."""
        lost = (set(out) | self._told) & set(voters)
        told: list[MemberId] = []
        kept_back: list[MemberId] = []
        for member in sorted(reports):
            if member in out or _key(reports[member]) == _key(agreed):
                continue
            if not _comparable(reports[member], agreed):
                # Another version may differ. Another revision, at one index, is a puzzle.
                if reports[member].machine_version == agreed.machine_version:
                    kept_back.append(member)
            elif member in lost or member not in voters or _may_lose(len(lost), voters):
                told.append(member)
                lost |= {member} & set(voters)
            else:
                kept_back.append(member)
        self._told.update(told)
        alarm = ""
        if kept_back:
            alarm = f"at index {agreed.index} {', '.join(kept_back)} differ from the majority"
        return Verdict(agreed, tuple(told), alarm) if told or alarm else None


def _may_lose(lost: int, voters: Collection[MemberId]) -> bool:
    """Whether the others are a majority still if one more voter is lost."""
    return 2 * (len(set(voters)) - lost - 1) > len(set(voters))


def _comparable(one: HashMark, other: HashMark) -> bool:
    return (one.index, one.revision, one.machine_version) == (
        other.index,
        other.revision,
        other.machine_version,
    )


def _key(mark: HashMark) -> tuple[int, int, bytes]:
    return mark.revision, mark.machine_version, mark.state_hash


def _differing(
    reports: dict[MemberId, HashMark], held: Counter[tuple[int, int, bytes]]
) -> bool:
    """Whether anybody, voter or not, reports what no voter holds."""
    return bool(held) and any(_key(mark) not in held for mark in reports.values())
