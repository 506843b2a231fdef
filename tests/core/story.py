"""The language of the golden stories: commands in plain words, outcomes in plain words.

A stanza is one log entry, a command a line:

    open S [ttl=MS]                    close S
    create A by=S [labels=k:v,k:v]     update A by=S [labels=...]
    halt A by=S [reason=...]           resume A by=S        retire A by=S
    acquire A by=S [mode=force] [ttl=MS] [create=yes]
    release A by=S fence=R
    step A by=S fence=R [expect=N] [event=TYPE:DATA]... [checkpoint=DATA]
    expire-session S touched=R
    expire-ownership A fence=R touched=R

`by` takes the session's next request id; `seq=N` and `low=N` choose another, and
`opened=R` another opening. `at=MS` is the entry's stamp. Or a stanza is one read:

    agent A     events A     all     checkpoints A     bundle A     sessions

perhaps with `revision=R`: what it said then. Streams, keys, checkpoints and breakers have
words of their own: see `stream_story`, `key_story`, `effect_story`, `checkpoint_story` and
`breaker_story`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import NamedTuple

from raftstate.core import checkpoint_queries, queries, stream_queries
from raftstate.core.history import PastReader
from raftstate.core.types import token_key
from raftstate.v1.agent_service_pb2 import Agent, Lifecycle, Ownership
from raftstate.v1.checkpoint_service_pb2 import Checkpoint, NewCheckpoint
from raftstate.v1.common_pb2 import FencingToken, Label, StepHead
from raftstate.v1.event_service_pb2 import Event
from raftstate.v1.session_service_pb2 import Session
from raftstate.v1.store_pb2 import Command, Outcome, Reason, Refusal
from tests.core import (
    breaker_story,
    checkpoint_story,
    effect_story,
    key_story,
    rollback_story,
    stream_story,
)
from tests.core.bench import (
    EPOCH,
    Bench,
    close_session,
    expire_ownership,
    expire_session,
    open_session,
    reason,
)


class Line:
    """One line of a story: a verb, what it is about, and options."""

    def __init__(self, text: str) -> None:
        self.verb, *words = shlex.split(text)
        self.name: str = words.pop(0) if words and "=" not in words[0] else ""
        self._options = [word.split("=", 1) for word in words]
        self._used: set[str] = {"at"}

    def all(self, key: str) -> list[str]:
        self._used.add(key)
        return [value for name, value in self._options if name == key]

    def pairs(self, *names: str) -> list[tuple[str, str]]:
        """Options of these names, as they come."""
        self._used.update(names)
        return [(name, value) for name, value in self._options if name in names]

    def text(self, key: str, default: str = "") -> str:
        values = self.all(key)
        assert len(values) <= 1, f"{key} is given more than once"
        return values[0] if values else default

    def number(self, key: str, default: int = 0) -> int:
        return int(self.text(key, str(default)))

    def fence(self) -> FencingToken:
        return FencingToken(epoch=EPOCH, revision=self.number("fence"))

    def labels(self) -> list[Label]:
        pairs = [each.split(":") for each in self.text("labels").split(",") if each]
        return [Label(name=name, value=value) for name, value in pairs]

    def done(self) -> None:
        """Nothing in a story may be overlooked."""
        unknown = {name for name, _ in self._options} - self._used
        assert not unknown, f"{self.verb} does not know {sorted(unknown)}"


# --- commands ----------------------------------------------------------------


def command(bench: Bench, line: Line) -> Command:
    """The command that a line speaks of."""
    made = PLAIN[line.verb](line) if line.verb in PLAIN else _mutation(bench, line)
    line.done()
    return made


def _mutation(bench: Bench, line: Line) -> Command:
    session, sequence = line.text("by"), line.text("seq")
    before = bench.sequences.get(session, 0)
    made = MUTATIONS[line.verb](bench, line, session)
    request_id = getattr(made, str(made.WhichOneof("body"))).request_id
    if sequence:
        request_id.sequence = int(sequence)
        bench.sequences[session] = max(before, int(sequence))
    request_id.lowest_unfinished = line.number("low")
    if opened := line.number("opened"):
        request_id.opened_revision = opened
    return made


def _acquire(bench: Bench, line: Line, session: str) -> Command:
    mode = line.text("mode", "if_free").upper()
    create = line.text("create") == "yes"
    return bench.acquire(session, line.name, mode, line.number("ttl"), create, session)


def _step(bench: Bench, line: Line, session: str) -> Command:
    events = [stream_story.new_event(each) for each in line.all("event")]
    expect, data = line.text("expect"), line.text("checkpoint")
    return bench.step(
        session,
        line.name,
        line.fence(),
        *events,
        expect=int(expect) if expect else None,
        checkpoint=NewCheckpoint(data=data.encode()) if data else None,
        closings=[effect_story.closing(each) for each in line.all("done")],
        effects=[effect_story.new_effect(each) for each in line.all("effect")],
    )


PLAIN: dict[str, Callable[[Line], Command]] = {
    "open": lambda line: open_session(line.name, line.number("ttl")),
    "close": lambda line: close_session(line.name),
    "expire-session": lambda line: expire_session(line.name, line.number("touched")),
    "expire-ownership": lambda line: expire_ownership(
        line.name, line.fence(), line.number("touched")
    ),
    **stream_story.PLAIN,
    **checkpoint_story.PLAIN,
    **key_story.PLAIN,
}
MUTATIONS: dict[str, Callable[[Bench, Line, str], Command]] = {
    "create": lambda bench, line, by: bench.create(by, line.name, line.labels()),
    "update": lambda bench, line, by: bench.update(by, line.name, line.labels()),
    "retire": lambda bench, line, by: bench.retire(by, line.name),
    "halt": lambda bench, line, by: bench.halt(by, line.name, line.text("reason")),
    "resume": lambda bench, line, by: bench.resume(by, line.name),
    "release": lambda bench, line, by: bench.release(by, line.name, line.fence()),
    "acquire": _acquire,
    "step": _step,
    **stream_story.MUTATIONS,
    **checkpoint_story.MUTATIONS,
    **key_story.MUTATIONS,
    **rollback_story.MUTATIONS,
    **effect_story.MUTATIONS,
    **breaker_story.MUTATIONS,
}

# --- what was said -----------------------------------------------------------


def show(outcome: Outcome) -> str:
    """An outcome in plain words. A revision other than its own line's is a replay."""
    said = outcome.WhichOneof("result")
    assert said is not None
    body = getattr(outcome, said)
    if said == "refusal":
        words = f"refused {_refusal(body)}"
    elif said == "open_session":
        words = f"open {_session(body.session)}"
    elif said == "acquire_ownership":
        words = f"granted {_owner(body.ownership)}"
    elif said == "commit_step":
        words = f"committed {_head(body.head)} first_position={body.first_position}"
    elif said in stream_story.SAID:
        words = stream_story.SAID[said](body)
    elif said in checkpoint_story.SAID:
        words = checkpoint_story.SAID[said](body)
    elif said in key_story.SAID:
        words = key_story.SAID[said](body)
    elif said in rollback_story.SAID:
        words = rollback_story.SAID[said](body)
    elif said in effect_story.SAID:
        words = effect_story.SAID[said](body)
    elif said in breaker_story.SAID:
        words = breaker_story.SAID[said](body)
    elif hasattr(body, "agent"):
        words = f"{said} {_agent(body.agent)}"
    else:
        words = said
    return f"revision {outcome.revision} index {outcome.raft_index}: {words}"


def _refusal(refusal: Refusal) -> str:
    words = f"{reason(Outcome(refusal=refusal))}: {refusal.message}"
    if refusal.field:
        words += f" [field {refusal.field}]"
    if refusal.HasField("current_fence"):
        words += f" [current {_token(refusal.current_fence)}]"
    if refusal.current_holder:
        words += f" [holder {refusal.current_holder}]"
    if refusal.HasField("current_head"):
        words += f" [head {_head(refusal.current_head)}]"
    if refusal.lifecycle:
        words += f" [{_lifecycle(refusal.lifecycle)}]"
    if refusal.subject:
        words += f" [subject {refusal.subject}]"
    if refusal.HasField("current_seq"):
        words += f" [seq {refusal.current_seq}]"
    if refusal.HasField("current_position"):
        words += f" [position {refusal.current_position}]"
    if refusal.current_state:
        words += f" [{refusal.current_state}]"
    if refusal.reason == Reason.REASON_BREAKER_OPEN:
        words += f" [until {refusal.open_until_ms}, now {refusal.log_time_ms}]"
    return words


def _token(token: FencingToken) -> str:
    epoch, revision = token_key(token)
    return f"{epoch}/{revision}"


def _lifecycle(lifecycle: Lifecycle) -> str:
    return Lifecycle.Name(lifecycle).removeprefix("LIFECYCLE_")


def _session(session: Session) -> str:
    return f"{session.session_id} ttl={session.ttl_ms} opened={session.opened_revision}"


def _owner(owner: Ownership) -> str:
    return (
        f"fence={_token(owner.fence)} to={owner.holder} ttl={owner.ttl_ms}"
        f" touched={owner.touched_revision}"
    )


def _head(head: StepHead) -> str:
    words = f"step={head.step} seq={head.event_seq} checkpoint={head.checkpoint_id}"
    return f"{words} hash={head.event_hash.hex()[:8]}" if head.event_hash else words


def _labels(labels: list[Label]) -> str:
    return ",".join(f"{label.name}:{label.value}" for label in labels)


def _agent(agent: Agent) -> str:
    words = f"{agent.agent_id} {_lifecycle(agent.lifecycle)} {_head(agent.head)}"
    if agent.labels:
        words += f" labels={_labels(list(agent.labels))}"
    if agent.halt_reason:
        words += f" reason={agent.halt_reason}"
    if agent.HasField("owner"):
        words += f" owner({_owner(agent.owner)})"
    elif agent.HasField("newest_fence"):
        words += f" newest={_token(agent.newest_fence)}"
    return words


def _event(each: Event) -> str:
    name = f" id={each.event_id}" if each.event_id else ""
    return (
        f"{each.position}. {each.stream_id}#{each.seq} {each.type}:{each.data.decode()}{name}"
        f" step={each.step} revision={each.revision} time={each.log_time_ms}"
        f" hash={each.hash.hex()[:8]}"
    )


def _checkpoint(each: Checkpoint) -> str:
    return (
        f"checkpoint {each.checkpoint_id} of {each.agent_id} step={each.step}"
        f" seq={each.event_seq} revision={each.revision} time={each.log_time_ms}"
        f" bytes={each.size_bytes} data={each.data.decode() or '-'}"
    )


# --- reads -------------------------------------------------------------------

MANY = 1 << 20


class Then(NamedTuple):
    """What a bench held at an earlier revision."""

    store: PastReader


def _read_agent(bench: Bench | Then, name: str) -> Iterator[str]:
    agent = queries.get_agent(bench.store, name)
    yield _agent(agent) if agent else "none"


def _read_bundle(bench: Bench | Then, name: str) -> Iterator[str]:
    bundle = queries.takeover_bundle(bench.store, name)
    assert bundle is not None
    yield _agent(bundle.agent)
    if bundle.HasField("checkpoint"):
        yield _checkpoint(bundle.checkpoint) + (" more-data" if bundle.more_data else "")
    yield from map(_event, bundle.events)
    yield from map(effect_story.show_effect, bundle.open_effects)
    yield from map(effect_story.show_saga, bundle.open_sagas)


READS: dict[str, Callable[[Bench | Then, str], Iterator[str]]] = {
    "agent": _read_agent,
    "bundle": _read_bundle,
    "events": lambda bench, name: map(
        _event, stream_queries.read_events(bench.store, name, 1, MANY, MANY)
    ),
    **stream_story.reads(_event),
    **key_story.READS,
    **effect_story.READS,
    **breaker_story.READS,
    **checkpoint_story.READS,
    **rollback_story.READS,
    "checkpoints": lambda bench, name: map(
        _checkpoint, checkpoint_queries.list_checkpoints(bench.store, name, 0, MANY).checkpoints
    ),
    "sessions": lambda bench, _: map(_session, queries.list_sessions(bench.store, "", MANY)),
}


# --- a stanza ----------------------------------------------------------------


def run(bench: Bench, text: str) -> str:
    """Run one stanza; what it says, a line each."""
    lines = [Line(each) for each in text.splitlines()]
    if lines[0].verb in READS:
        (line,) = lines
        at = line.number("revision")
        shown = Then(PastReader(bench.store, at)) if at else bench
        said = list(READS[line.verb](shown, line.name))
        line.done()
        return "".join(f"{each}\n" for each in said or ["none"])
    stamp = max(line.number("at") for line in lines)
    commands = [command(bench, line) for line in lines]
    outcomes = bench.apply(*commands, at=stamp)
    return "".join(f"{show(outcome)}\n" for outcome in outcomes)
