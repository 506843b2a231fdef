"""The clients of the store in one world: who they are, what they share, what is judged."""

from __future__ import annotations

from collections.abc import Iterable

from raftstate.core import history, keys, queries
from raftstate.core.ports import Reader
from raftstate.core.types import MemberId
from raftstate.v1.kv_service_pb2 import CompactRequest
from raftstate.v1.lease_service_pb2 import Lease
from raftstate.v1.store_pb2 import Command, Sweep, TrimHistory
from tests.sim.clients import Fleet
from tests.sim.node import SimNode
from tests.sim.store import judging, undoing_judged
from tests.sim.store.checkpoints import Archivist
from tests.sim.store.client import Common, StoreClient
from tests.sim.store.habits import StoreHabits
from tests.sim.store.keys import Banker, Lister
from tests.sim.store.leases import Holder
from tests.sim.store.streams import Author, Projector
from tests.sim.store.travelling import Traveller
from tests.sim.store.undoing import Caller, Medic, Undoer
from tests.sim.store.watching import Follower, follow_all
from tests.sim.tasks import Script

# What people want to see that it happened.
EVENTS = (
    *("transactions", "compares_failed", "leased_keys_seen", "leases_kept", "appends"),
    *("duplicates", "truncations", "projected", "saves", "pruned", "checkpoints_read"),
    *("changes_followed", "watches_compacted", "pasts_read", "pages"),
    *("effects", "sagas", "outside_calls", "late_originals", "stopped", "reconciled"),
    *("compensated", "decided", "rollbacks", "group_rollbacks", "rollbacks_finished"),
    "rollbacks_aborted",
    *("trips", "trips_back", "probes", "recorded"),
)


class Compactor(StoreClient):
    """Somebody who forgets history, and proposes again what leaders propose."""

    kind = "compactor"

    def act(self) -> Script:
        """Forget some, or all; or sweep."""
        share = self.rng.random()

        def look(reader: Reader) -> int:
            oldest, newest = history.read_mark(reader).oldest, queries.revision(reader)
            return oldest + int(share * (newest - oldest + 2))

        sight = yield from self.glance(look)
        if sight is None:
            return
        way = self.rng.randrange(4)
        if way == 0:
            yield from self.call("mutate", Command(sweep=Sweep(rows=self.rng.randint(1, 30))))
        elif way == 1:
            trim = TrimHistory(revision=sight.value)
            yield from self.call("mutate", Command(trim_history=trim))
        elif sight.value:
            yield from self.do(Command(compact=CompactRequest(revision=sight.value)))


class Traffic:
    """All of them. Their draws come from a generator that no other client uses, but for
    what a request meets on its way."""

    def __init__(self, fleet: Fleet, habits: StoreHabits) -> None:
        self.common = Common(fleet, habits)
        self.followers: dict[MemberId, Follower] = {}
        fleet.place.checks.on_lease_expiry = self.common.judge_lease_expiry

    def begin(self) -> None:
        """Start everybody, if there is anybody."""
        habits, fleet = self.common.habits, self.common.fleet
        for kind, number in (
            (Lister, habits.listers),
            (Banker, habits.bankers),
            (Holder, habits.holders),
            (Author, habits.authors),
            (Projector, habits.projectors),
            (Archivist, habits.archivists),
            (Compactor, int(habits.compactor)),
            (Traveller, habits.travellers),
            (Undoer, habits.undoers),
            (Medic, habits.medics),
            (Caller, habits.callers),
        ):
            for _ in range(number):
                fleet.spawn(kind(self.common).life())
        if habits.anybody:
            self._follow()

    def _follow(self) -> None:
        follow_all(self.common, self.followers)
        place = self.common.fleet.place
        self._judge_leases()
        place.after(self.common.habits.watch_s, self._follow)

    @property
    def is_swept(self) -> bool:
        """Whether all that was given up is gone, as far as is committed. The leader sees to
        that when nothing else is to do."""
        return not history.read_mark(self.common.chronicle.witness).has_work

    def judge(self, nodes: Iterable[SimNode]) -> None:
        """What clients were told against what happened, and what members hold."""
        common = self.common
        for node in nodes:
            reader, who = node.reader(), node.member_id
            judging.tables_agree(who, reader)
            judging.garbage_is_swept(who, history.read_mark(reader))
        if common.habits.anybody:
            follow_all(common, self.followers)
        judging.lists_are_serializable(common.transactions)
        undoing_judged.outside_is_as_told(common.books.journal, common.chronicle.witness.below)
        judging.events_are_stored_once(common.chronicle, common.appended, common.refused)

    def _judge_leases(self) -> None:
        """Those that nobody keeps alive any more, and the leader of one term has let be
        while it had this and that committed."""
        common, now = self.common, self.common.fleet.place.now
        checks, chronicle = common.checks, common.chronicle
        done = len(checks.committed)
        before = common.overdue if common.overdue_under == checks.led_since else {}
        common.overdue, common.overdue_under = {}, checks.led_since
        for _, raw in chronicle.witness.below.scan(*keys.leases(0)):
            lease = Lease.FromString(raw)
            asked = common.asked.get(lease.lease_id, 0.0)
            begun = max(asked, chronicle.touched_at[lease.lease_id], checks.led_since)
            if now > begun + lease.ttl_ms / 1000 * 1.2:
                since, then = before.get(lease.lease_id, (now, done))
                common.overdue[lease.lease_id] = since, then
                judging.lease_ends(lease.lease_id, now - since, done - then)

    def events(self) -> dict[str, int]:
        """What happened, so that a test can see that it did."""
        return {f"store_{name}": self.common.counts[name] for name in EVENTS}
