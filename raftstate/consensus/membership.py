"""Who is in the cluster, as one member's log says (dissertation, chapter 4).

A configuration is a log entry. It is in force where it stands from the moment it is
appended, committed or not; truncating the log brings the one before back. One member
changes at a time, and no change begins before the one before is committed, so that
any two quorums that can decide anything overlap (dissertation, 4.1; and the correction
of 2015: not before an entry of the leader's own term is committed either).

A voter's word is bound to its data folder: a configuration names the disk of each voter.
Another folder under its name has not promised what the voter promised, and is refused.
A folder that was found damaged, and was begun anew by its own member, keeps the name of
its disk and gets a number behind it: it is let in, and counts for nothing until it is
settled (see feeding.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from raftstate.core.ports import ChangeKind, ChangeRefused, Entry, Log, MemberChange
from raftstate.core.types import Index, MemberId
from raftstate.v1.membership_pb2 import Configuration, ConfiguredMember

CONFIGURATION = b"\x02"
MEMBERS_MAX = 9
# How many entries a learner may lack of the leader's log when it is promoted.
LAG_MAX = 100
_READ_BYTES = 1 << 20


def founding(members: Mapping[MemberId, tuple[str, str]]) -> Configuration:
    """What a new cluster begins with: voters with their raft and client addresses."""
    return Configuration(
        members=[
            ConfiguredMember(
                member_id=member, raft_address=addresses[0], client_address=addresses[1]
            )
            for member, addresses in sorted(members.items())
        ]
    )


def decode(entry: Entry) -> Configuration | None:
    """The configuration that stands in an entry, if one does."""
    if entry.data[:1] != CONFIGURATION:
        return None
    return Configuration.FromString(entry.data[1:])


def folder_of(disk_id: str) -> str:
    """The folder that a disk id is of, however often it was begun anew."""
    return disk_id.partition(".")[0]


def is_rejoining(disk_id: str) -> bool:
    """Whether a folder was begun anew after damage was found in it."""
    return "." in disk_id


class Membership:
    """The configurations in one member's log, the newest in force.

    `floor` is the one as of the applied index: nothing before it can come back.
    """

    def __init__(self, me: MemberId, floor: Configuration, log: Log, applied: Index) -> None:
        self._me = me
        self._log = log
        self._configurations = [floor]
        self._applied = floor
        self._note_current()
        index = Index(max(applied, log.base.position.index) + 1)
        while index <= log.last.index:
            for entry in log.read(index, _READ_BYTES):
                self.appended(entry)
                index = Index(entry.index + 1)

    # --- what is in force -----------------------------------------------------

    def _note_current(self) -> None:
        self.current = self._configurations[-1]
        self._by_id = {MemberId(m.member_id): m for m in self.current.members}
        self.voters = tuple(m for m, member in self._by_id.items() if not member.learner)

    @property
    def index(self) -> Index:
        """Where the configuration in force stands; zero for a new cluster's."""
        return Index(self.current.index)

    @property
    def cluster_key(self) -> str:
        """What was drawn when the cluster was founded; empty before."""
        return self.current.cluster_key

    def votes(self, commit_index: Index) -> bool:
        """Whether this member is a voter, by what is in force or what is committed."""
        committed = self.committed(commit_index).members
        return self._me in self.voters or any(
            member.member_id == self._me and not member.learner for member in committed
        )

    def is_without_me(self) -> bool:
        """Whether there are configurations here, and this member is in none."""
        found = [m.member_id == self._me for c in self._configurations for m in c.members]
        return bool(found) and not any(found)

    def was_let_in(self, commit_index: Index) -> bool:
        """Whether this member is one by what is committed; who is only being added may
        still have to wait."""
        committed = self.committed(commit_index)
        named = (member.member_id == self._me for member in committed.members)
        return committed.index > 0 and any(named)

    def others(self) -> list[MemberId]:
        """All members but this one, in order of id."""
        return sorted(member for member in self._by_id if member != self._me)

    def other_voters(self) -> list[MemberId]:
        """All voters but this one, in order of id."""
        return sorted(member for member in self.voters if member != self._me)

    def names(self, member: MemberId) -> bool:
        """Whether somebody is a member, voter or learner."""
        return member in self._by_id

    def knows(self, member: MemberId, disk_id: str) -> bool:
        """Whether a word from that disk can be the member's: no other is known for it."""
        configured = self._by_id.get(member)
        if configured is None or not configured.disk_id:
            return True
        return folder_of(configured.disk_id) == folder_of(disk_id)

    def committed(self, commit_index: Index) -> Configuration:
        """The newest configuration that is committed."""
        committed = (c for c in reversed(self._configurations) if c.index <= commit_index)
        return next(committed, self._configurations[0])

    # --- how it changes -------------------------------------------------------

    def appended(self, entry: Entry) -> None:
        """An entry was appended to the log. If a configuration stands in it, that is in
        force now."""
        configuration = decode(entry)
        if configuration is None:
            return
        assert configuration.index == entry.index, f"{configuration} stands at {entry.index}"
        self._configurations.append(configuration)
        self._note_current()

    def truncated(self, first: Index) -> None:
        """The log lost `first` and all after it, and the configurations in there."""
        while len(self._configurations) > 1 and self._configurations[-1].index >= first:
            self._configurations.pop()
        self._note_current()

    def adopted(self, configuration: Configuration, index: Index) -> None:
        """The state became a snapshot of that index, which this configuration is of. What
        stands behind it, if the log goes on there, stays in force; nothing before does."""
        last = self._log.last.index
        behind = [c for c in self._configurations if index < c.index <= last]
        self._configurations = [configuration, *behind]
        self._applied = configuration
        self._note_current()

    def applied(self, configuration: Configuration) -> list[ConfiguredMember]:
        """A configuration is committed and applied: nothing before it can come back.
        Who was in the one before and is not in this one."""
        before, self._applied = self._applied, configuration
        while self._configurations[0].index < configuration.index:
            self._configurations.pop(0)
        names = {member.member_id for member in configuration.members}
        return [member for member in before.members if member.member_id not in names]

    # --- entries that a leader appends ------------------------------------------

    def encode(self, configuration: Configuration) -> bytes:
        """The data of the next log entry, for a configuration to stand in."""
        configuration.index = self._log.last.index + 1
        return CONFIGURATION + configuration.SerializeToString(deterministic=True)

    def founded(self, disks: Mapping[MemberId, str], key: str) -> bytes:
        """A new cluster's first configuration: it names every voter's disk."""
        configuration = Configuration(cluster_key=self.current.cluster_key or key)
        for member in self.current.members:
            configuration.members.add().CopyFrom(member)
            disk_id = disks.get(MemberId(member.member_id), member.disk_id)
            configuration.members[-1].disk_id = folder_of(disk_id)
        return self.encode(configuration)


# --- changes, as a leader makes them ---------------------------------------------


class Learner(NamedTuple):
    """What a leader knows of a learner that may be promoted: the disk that it answers
    from, and how many entries it lacks. None: it is not settled."""

    disk_id: str
    lag: int | None


def change(
    current: Configuration,
    wanted: MemberChange,
    *,
    follower: Learner | None,
    heard: Collection[MemberId],
) -> Configuration | ChangeRefused | None:
    """The configuration with one member changed; None if it is so already.

    `follower` is the member that it is about, if the leader feeds it, and `heard` are
    those whom the leader heard from lately, itself included: a change that would stop
    the cluster at once is refused.
    """
    found = next((m for m in current.members if m.member_id == wanted.member_id), None)
    if wanted.kind is ChangeKind.ADD:
        return _add(current, found, wanted)
    if wanted.kind is ChangeKind.PROMOTE:
        changed = _promote(current, found, wanted, follower)
    else:
        changed = _remove(current, found, wanted)
    if isinstance(changed, Configuration) and _voters(changed) != _voters(current):
        alive = _voters(changed) & set(heard)
        if 2 * len(alive) <= len(_voters(changed)):
            return ChangeRefused("UNHEALTHY", f"only {sorted(alive)} would be left alive")
    return changed


def _voters(configuration: Configuration) -> set[MemberId]:
    return {MemberId(m.member_id) for m in configuration.members if not m.learner}


def _promote(
    current: Configuration,
    found: ConfiguredMember | None,
    wanted: MemberChange,
    follower: Learner | None,
) -> Configuration | ChangeRefused | None:
    if found is None:
        return ChangeRefused("NOT_FOUND", f"{wanted.member_id} is not a member")
    if not found.learner:
        return None
    if follower is None or follower.lag is None or follower.lag > LAG_MAX:
        return ChangeRefused(
            "NOT_CAUGHT_UP",
            f"{wanted.member_id} was not heard of, or lacks over {LAG_MAX} entries",
        )
    voter = ConfiguredMember()
    voter.CopyFrom(found)
    voter.learner, voter.disk_id = False, folder_of(follower.disk_id)
    return _with(current, [*_without(current, wanted.member_id), voter])


def _remove(
    current: Configuration, found: ConfiguredMember | None, wanted: MemberChange
) -> Configuration | ChangeRefused | None:
    if found is None:
        return None
    others = _without(current, wanted.member_id)
    if not found.learner and all(member.learner for member in others):
        return ChangeRefused("LAST_VOTER", f"{wanted.member_id} is the last voter")
    return _with(current, others)


def _without(current: Configuration, member_id: str) -> list[ConfiguredMember]:
    return [member for member in current.members if member.member_id != member_id]


def _add(
    current: Configuration, found: ConfiguredMember | None, wanted: MemberChange
) -> Configuration | ChangeRefused | None:
    addresses = (wanted.raft_address, wanted.client_address)
    if found is not None:
        if (found.raft_address, found.client_address) == addresses:
            return None
        return ChangeRefused(
            "CONFLICT",
            f"{wanted.member_id} is a member at {found.raft_address}: remove it first",
        )
    if len(current.members) >= MEMBERS_MAX:
        return ChangeRefused("TOO_MANY", f"a cluster has at most {MEMBERS_MAX} members")
    learner = ConfiguredMember(
        member_id=wanted.member_id,
        learner=True,
        raft_address=addresses[0],
        client_address=addresses[1],
    )
    return _with(current, [*current.members, learner])


def _with(current: Configuration, members: Sequence[ConfiguredMember]) -> Configuration:
    ordered = sorted(members, key=lambda member: member.member_id)
    return Configuration(members=ordered, cluster_key=current.cluster_key)
