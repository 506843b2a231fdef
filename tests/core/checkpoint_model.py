"""A dumb model of checkpoints: dicts and lists, and everything else counted from them.

What a checkpoint is built on, how often a chunk is named, and what may be removed are
never kept up to date, but looked for among all there is, every time. All that the model
remembers beside the checkpoints is how many known good ones are kept (the newest of
them), because a change of that takes its time, and since when a chunk is unused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from raftstate.core import limits
from raftstate.core.checkpoint_queries import digest

Origin = tuple[str, int]


@dataclass(frozen=True)
class New:
    """A checkpoint as a client writes it."""

    data: bytes = b""
    chunks: tuple[bytes, ...] = ()
    base: int = 0
    tags: tuple[str, ...] = ()
    pinned: bool = False


@dataclass
class Saved:
    """A checkpoint that is there."""

    parts: tuple[bytes, ...]
    inline: bool
    time: int
    base: int = 0
    tags: set[str] = field(default_factory=set)
    pinned: bool = False
    votes: dict[str, bool] = field(default_factory=dict)
    origin: Origin | None = None

    @property
    def good(self) -> bool:
        return bool(self.votes) and all(self.votes.values())

    @property
    def hash(self) -> bytes:
        hashes = [digest(part) for part in self.parts]
        return hashes[0] if len(hashes) == 1 else digest(b"".join(hashes))


@dataclass
class Owner:
    """An agent, as far as checkpoints go."""

    space: str
    head: int = 0
    saved: dict[int, Saved] = field(default_factory=dict)
    keep_last: int = 0
    keep_for: int = 0
    keep_good: int = 0
    # How many known good ones are kept: the newest.
    kept: int = 0

    def good(self) -> list[int]:
        return sorted(number for number, one in self.saved.items() if one.good)

    def spare(self) -> list[int]:
        found = self.good()
        return found[: len(found) - self.kept]

    def dependents(self, number: int) -> int:
        return sum(one.base == number for one in self.saved.values())

    def chain(self, number: int) -> list[int]:
        found = [number]
        while base := self.saved[found[-1]].base:
            found.append(base)
        return found[::-1]


class Model:
    """What there is, and what is said of each command: its result, or why it is refused."""

    def __init__(self) -> None:
        self.now = 0
        self.agents: dict[str, Owner] = {"a": Owner("a")}
        self.groups: dict[str, dict[str, int]] = {}
        self.validators: dict[str, str] = {}
        # (space, chunk) -> since when it is unused, if it is.
        self.stored: dict[tuple[str, bytes], int] = {}

    # --- counted from all there is ---------------------------------------------

    def uses(self) -> Counter[tuple[str, bytes]]:
        return Counter(
            (agent.space, part)
            for agent in self.agents.values()
            for one in agent.saved.values()
            if not one.inline
            for part in one.parts
        )

    def grouped(self, name: str, number: int) -> int:
        return sum(group.get(name) == number for group in self.groups.values())

    def prunable(self, name: str) -> list[int]:
        agent = self.agents[name]
        kept = set(agent.good()) - set(agent.spare())
        return sorted(
            number
            for number, one in agent.saved.items()
            if number != agent.head
            and number not in kept
            and not one.pinned
            and not one.tags
            and not self.grouped(name, number)
            and not agent.dependents(number)
        )

    def at(self, stamp: int) -> Counter[tuple[str, bytes]]:
        """A command comes; how often each chunk is named before it."""
        self.now = max(self.now, stamp)
        return self.uses()

    def after(self, before: Counter[tuple[str, bytes]]) -> None:
        """It is done: chunks that nobody names any more are unused from now on."""
        uses = self.uses()
        for key in before:
            if not uses[key]:
                self.stored[key] = self.now

    # --- saving --------------------------------------------------------------

    def why_not(self, name: str, new: New) -> str:
        agent = self.agents[name]
        if new.base and new.base not in agent.saved:
            return "CHECKPOINT_NOT_FOUND"
        if new.base and len(agent.chain(new.base)) > limits.CHAIN_LENGTH_MAX:
            return "CHAIN_TOO_LONG"
        if any((agent.space, chunk) not in self.stored for chunk in new.chunks):
            return "CHUNK_MISSING"
        return ""

    def save(self, name: str, new: New) -> int:
        agent = self.agents[name]
        cut = len(new.data) > limits.INLINE_BYTES_MAX
        if cut:
            self.stored.setdefault((agent.space, new.data), self.now)
        agent.head += 1
        agent.saved[agent.head] = Saved(
            parts=new.chunks or (new.data,),
            inline=not (new.chunks or cut),
            time=self.now,
            base=new.base,
            pinned=new.pinned,
        )
        self.tag(name, agent.head, new.tags)
        self._retain(name)
        return agent.head

    def tag(self, name: str, number: int, tags: tuple[str, ...]) -> None:
        for tag in tags:
            for one in self.agents[name].saved.values():
                one.tags.discard(tag)
            self.agents[name].saved[number].tags.add(tag)

    # --- known good ------------------------------------------------------------

    def vote(self, name: str, number: int, validator: str, valid: bool) -> bool:
        agent = self.agents[name]
        one = agent.saved[number]
        was, spare = one.good, agent.spare()
        one.votes[validator] = valid
        if one.good and not was and number > max(spare, default=0):
            agent.kept += 1
        if was and not one.good and number not in spare:
            agent.kept -= 1
        self._settle(agent, limits.PRUNED_PER_SAVE_MAX)
        return one.good

    def _settle(self, agent: Owner, moves: int) -> bool:
        good = len(agent.good())
        wanted = min(agent.keep_good or good, good)
        step = max(-moves, min(moves, wanted - agent.kept))
        agent.kept += step
        return agent.kept >= wanted

    # --- removing --------------------------------------------------------------

    def _retain(self, name: str) -> None:
        agent = self.agents[name]
        if not self._settle(agent, limits.PRUNED_PER_SAVE_MAX):
            return

        def unwanted(oldest: int) -> bool:
            if agent.keep_last and len(self.prunable(name)) > agent.keep_last:
                return True
            age = self.now - agent.saved[oldest].time
            return bool(agent.keep_for) and age > agent.keep_for

        most, named = limits.PRUNED_PER_SAVE_MAX, limits.PRUNED_CHUNKS_PER_SAVE_MAX
        while most > 0 and named > 0:
            oldest = min(self.prunable(name), default=0)
            if not oldest or not unwanted(oldest):
                return
            named -= self._remove(agent, oldest)
            most -= 1

    def prune(self, name: str, keep: int, before: int) -> tuple[int, bool]:
        agent = self.agents[name]
        if not self._settle(agent, limits.PRUNED_PER_CALL_MAX):
            return 0, True
        count, named = 0, limits.PRUNED_CHUNKS_PER_CALL_MAX
        while True:
            found = self.prunable(name)
            if len(found) <= keep or (before and found[0] >= before):
                return count, False
            if count == limits.PRUNED_PER_CALL_MAX or named <= 0:
                return count, True
            named -= self._remove(agent, found[0])
            count += 1

    def _remove(self, agent: Owner, number: int) -> int:
        one = agent.saved.pop(number)
        return 0 if one.inline else len(one.parts)

    # --- forks and copies --------------------------------------------------------

    def fork(self, name: str, source: str, number: int, *, whole: bool) -> str:
        """Make an agent of a chain, or of all up to one under the same ids (`whole`)."""
        origin = self.agents.get(source)
        if origin is None:
            return "AGENT_NOT_FOUND"
        number = number or origin.head
        if number not in origin.saved:
            return "CHECKPOINT_NOT_FOUND"
        if name in self.agents:
            return "AGENT_EXISTS"
        chosen = sorted(each for each in origin.saved if each <= number)
        ids = {each: each for each in chosen}
        if not whole:
            chosen = origin.chain(number)
            ids = {each: place for place, each in enumerate(chosen, 1)}
        if len(chosen) > limits.COPIED_CHECKPOINTS_MAX:
            return "TOO_MANY"
        twin = self.agents[name] = Owner(origin.space, head=ids[number])
        for each in chosen:
            one = origin.saved[each]
            twin.saved[ids[each]] = replace(
                one,
                time=self.now,
                base=ids.get(one.base, 0),
                tags=set(one.tags) if whole else set(),
                pinned=False,
                votes={},
                origin=(source, each),
            )
        return ""

    # --- chunks ------------------------------------------------------------------

    def put_chunk(self, name: str, data: bytes) -> bool:
        key = (self.agents[name].space, data)
        known = key in self.stored
        if not self.uses()[key]:
            self.stored[key] = self.now
        return known

    def collectable(self, before: int) -> set[tuple[str, bytes]]:
        uses = self.uses()
        return {key for key, since in self.stored.items() if not uses[key] and since < before}
