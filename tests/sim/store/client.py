"""What all clients of the store can do, and what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from jepsen_like.checkers.cycles import Transaction
from jepsen_like.outside import Books
from raftstate.core import history, queries
from raftstate.core.history import PastReader
from raftstate.core.ports import Reader
from raftstate.v1.common_pb2 import RequestId
from raftstate.v1.store_pb2 import Command, Outcome
from tests.sim.checks import Checks
from tests.sim.clients import MUTE, Client, Fleet
from tests.sim.node import Look, Sight
from tests.sim.store import judging
from tests.sim.store.chronicle import Chronicle
from tests.sim.store.habits import StoreHabits
from tests.sim.tasks import Script, Wait

NOT_THERE = None  # what a look at a revision says that a member cannot show


@dataclass(slots=True)
class Common:
    """What the clients of the store share, and were told."""

    fleet: Fleet
    habits: StoreHabits
    counts: Counter[str] = field(default_factory=Counter)
    transactions: list[Transaction] = field(default_factory=list)
    appended: dict[bytes, tuple[str, int]] = field(default_factory=dict)  # acknowledged
    refused: set[bytes] = field(default_factory=set)  # definitely not appended
    saved: dict[tuple[str, int], bytes] = field(default_factory=dict)  # checkpoints
    given: dict[int, tuple[float, float]] = field(default_factory=dict)  # lease: sent, ttl
    asked: dict[int, float] = field(default_factory=dict)  # lease: when to keep it, last
    overdue: dict[int, tuple[float, int]] = field(default_factory=dict)  # lease: since when
    overdue_under: float = 0.0  # since when there is the leader that lets them be
    total: int = 0  # of all money
    books: Books = field(default_factory=Books)  # of the outside

    @property
    def checks(self) -> Checks:
        """What is known of the world."""
        return self.fleet.place.checks

    @property
    def chronicle(self) -> Chronicle:
        """What really happened."""
        return self.checks.chronicle

    def judge_lease_expiry(self, lease_id: int) -> None:
        """Hold a lease's expiry, if there was one, against what gave it time last."""
        when = self.chronicle.lease_ends.get(lease_id)
        if when is not None and lease_id in self.given:
            sent, ttl_s = self.given[lease_id]
            judging.lease_expiry_is_not_early(lease_id, when - sent, ttl_s)

    def lease_given(self, lease_id: int, sent: float, ttl_s: float) -> None:
        """A client knows that a lease was given its time after it asked for that."""
        before = self.given.get(lease_id, (0.0, 0.0))
        self.given[lease_id] = max(before, (sent, ttl_s))
        self.judge_lease_expiry(lease_id)


class StoreClient(Client):
    """Somebody who does one thing after another to the store."""

    kind = "client"

    def __init__(self, common: Common) -> None:
        super().__init__(common.fleet, self.kind)
        self.common = common
        self.pace_s = common.habits.pace_s
        self.made = 0

    def life(self) -> Script:
        """From the first session to the end of the run."""
        while not self.fleet.closing:
            opened = yield from self.open_session()
            if not opened:
                continue
            self.fleet.spawn(self.keep_alive())
            while not self.session_over and not self.fleet.closing:
                yield from self.sleep(self.rng.expovariate(1.0 / self.pace_s))
                if not self.fleet.closing:
                    yield from self.act()
            self.session_over = True

    def act(self) -> Script:
        """Do one thing."""
        raise NotImplementedError

    def unique(self) -> bytes:
        """Bytes that nobody else writes."""
        self.made += 1
        return f"{self.name}/{self.made}".encode()

    def do(self, command: Command) -> Generator[Wait, None, tuple[Outcome | None, bool]]:
        """Send a command under the session's next request id: the outcome, None if it is
        not known, and whether then it definitely did not happen."""
        name = command.WhichOneof("body")
        assert name is not None, "an empty command"

        def fill(request_id: RequestId) -> Command:
            getattr(command, name).request_id.CopyFrom(request_id)
            return command

        outcome, definite, _ = yield from self.mutate(fill)
        if outcome is None or outcome.refusal.reason in MUTE:
            return None, definite
        self.common.counts["answers"] += 1
        self.common.counts["refusals"] += outcome.HasField("refusal")
        return outcome, True

    def look(self, look: Look) -> Generator[Wait, None, Sight | None]:
        """Make something of the state as it is now."""
        told, _ = yield from self.call("look", look)
        return self._seen(told)

    def glance(self, look: Look) -> Generator[Wait, None, Sight | None]:
        """Make something of the state as some member has it."""
        stuck, self.guess = self.guess, self.rng.choice(self.members)
        told, _ = yield from self.call("look_stale", look)
        self.guess = stuck
        return self._seen(told)

    def look_at(
        self, look: Look, revision: int | None = None
    ) -> Generator[Wait, None, Sight | None]:
        """Make something of an earlier state, at some member: of one revision, or of one
        that is drawn from what there is. None if the member cannot show it."""
        share = self.rng.random()

        def past(reader: Reader) -> tuple[Any, int] | None:
            oldest, newest = history.read_mark(reader).oldest, queries.revision(reader)
            at = oldest + int(share * (newest - oldest)) if revision is None else revision
            if not oldest <= at <= newest:
                return NOT_THERE
            return look(PastReader(reader, at)), at

        sight = yield from self.glance(past)
        return None if sight is None or sight.value is NOT_THERE else Sight(*sight.value)

    def _seen(self, told: Any) -> Sight | None:
        if not isinstance(told, Sight):
            return None
        self.common.counts["looks"] += 1
        return told
