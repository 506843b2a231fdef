"""Somebody beside each member's state who follows what changes, and looks at the past.

What has been told stays with the follower while its member crashes, starts from a
snapshot or builds its state anew; it goes on from the revision that it had come to.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from raftstate.core import changes, history, keys, queries
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader
from raftstate.core.types import MemberId
from raftstate.v1.event_service_pb2 import StreamInfo
from raftstate.v1.watch_service_pb2 import Resource
from tests.sim.store import judging
from tests.sim.store.chronicle import Change, digest

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.store.client import Common


class Follower:
    """Who follows the changes at one member."""

    def __init__(self, common: Common, node: SimNode, rng: random.Random) -> None:
        self.common = common
        self.node = node
        self.rng = rng
        self.at = 0

    @property
    def who(self) -> MemberId:
        """The member."""
        return self.node.member_id

    def look(self) -> None:
        """Take in what has changed since the last look; look at the past now and then."""
        if not self.node.is_up:
            return
        reader = self.node.reader()
        mark, revision = history.read_mark(reader), queries.revision(reader)
        if revision > self.at:
            if self.at < mark.oldest:
                self.common.counts["watches_compacted"] += 1
                self.at = mark.oldest
            self.follow(reader, mark.oldest, revision)
        if self.rng.random() < 0.1:
            self.look_back(reader, mark.oldest, revision)

    def follow(self, reader: Reader, oldest: int, revision: int) -> None:
        """Everything after what is known, up to what the member has."""
        truth = self.common.chronicle.changes
        told = list(history.changes_after(reader, self.at, revision))
        happened = [each for each in range(self.at + 1, revision + 1) if each in truth]
        judging.no_change_is_missing(self.who, [each for each, _ in told], happened)
        for at, changed in told:
            judging.changes_are_told(self.who, at, changed, truth[at])
            for key in changed:
                seen = self.change_at(reader, at, key, truth[at][key])
                whole = at - 1 >= oldest
                judging.change_is_right(self.who, at, key, seen, truth[at][key], whole=whole)
        self.common.counts["changes_followed"] += len(told)
        self.at = revision

    def change_at(self, reader: Reader, revision: int, key: bytes, truth: Change) -> Change:
        """What a watch tells of one key, as it is stored."""
        about = changes.subject(key)
        if about is None:
            before, after = PastReader(reader, revision - 1), PastReader(reader, revision)
            return Change(before.get(key), after.get(key))
        told = changes.Move(reader, revision, key, about).change(with_previous=True)
        judging.change_is_named(self.who, revision, told, truth)
        was, now = (_stored(one) for one in (told.previous, told.resource))
        if key[:1] in keys.TOLD:  # it may have been removed since
            now = now or truth.after
        elif key == keys.stream(about.id.decode("latin-1")):
            was, now = _of_its_record(was, truth.before), _of_its_record(now, truth.after)
        return Change(was, now)

    def look_back(self, reader: Reader, oldest: int, revision: int) -> None:
        """The whole state at an earlier revision that somebody remembers."""
        digests = self.common.chronicle.digests
        known = [each for each in digests if oldest <= each <= revision]
        if known:
            chosen = self.rng.choice(known)
            shown = digest(PastReader(reader, chosen))
            judging.past_is_kept(self.who, chosen, shown, digests[chosen])
            self.common.counts["pasts_read"] += 1


def _stored(resource: Resource) -> bytes | None:
    kind = resource.WhichOneof("kind")
    if kind is None:
        return None
    raw: bytes = getattr(resource, kind).SerializeToString(deterministic=True)
    return raw


def _of_its_record(seen: bytes | None, truth: bytes | None) -> bytes | None:
    """What is told of a stream, without what is not of its record: where an agent's stream
    ends, the agent says."""
    if seen is None or truth is None:
        return seen
    info, stored = StreamInfo.FromString(seen), StreamInfo.FromString(truth)
    if info.agent:
        info.last_seq, info.last_hash = stored.last_seq, stored.last_hash
    return info.SerializeToString(deterministic=True)


def follow_all(common: Common, followers: dict[MemberId, Follower]) -> None:
    """Look at every member now; at new ones too."""
    for node in common.fleet.place.nodes.values():
        follower = followers.get(node.member_id)
        if follower is None:
            rng = random.Random(common.fleet.rng.getrandbits(64))
            follower = followers[node.member_id] = Follower(common, node, rng)
        follower.look()
