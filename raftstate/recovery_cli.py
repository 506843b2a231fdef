"""`raftstate rollback`, `effects`, `sagas`, `incidents`: recovery, from a shell.

These talk to a running cluster like any other client. Exit statuses are those of
`raftstate`: 0 done, 1 refused or failed and nothing happened, 2 the command line was wrong,
3 it may have happened.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from google.protobuf.message import Message
from rich.table import Table

from raftstate.asking import Asker, connected, show
from raftstate.v1.effect_service_pb2 import (
    FOUND_DONE,
    FOUND_NOT_DONE,
    CompensationItem,
    ReconcileEffectRequest,
)
from raftstate.v1.rollback_service_pb2 import Target

if TYPE_CHECKING:
    from raftstate.client import Store

_NUMBER = click.IntRange(1, (1 << 64) - 1)
_WORDS = 80

_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
_limit = click.option("--limit", type=click.IntRange(1), default=100, show_default=True)

Command = Callable[..., Any]


# --- what is shown -----------------------------------------------------------


def _told(message: Message) -> dict[str, Any]:
    """A message as JSON shows it: every field that says something, kinds as plain words."""
    return {field.name: _value(field, value) for field, value in message.ListFields()}


def _value(field: Any, value: Any) -> Any:
    if field.is_repeated:
        return [_one(field, each) for each in value]
    return _one(field, value)


def _one(field: Any, value: Any) -> Any:
    if isinstance(value, Message):
        return _told(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if field.enum_type is not None:
        return _short(field.enum_type.name, field.enum_type.values_by_number[value].name)
    return value


def _short(kind: str, name: str) -> str:
    """`ROLLBACK_STATE_READY` of `RollbackState` is `ready`."""
    prefix = "".join(f"_{one}" if one.isupper() else one for one in kind).strip("_").upper()
    return name.removeprefix(f"{prefix}_").lower()


def _word(message: Message, name: str) -> str:
    """A field of a message that is a word of the API."""
    field = message.DESCRIPTOR.fields_by_name[name]
    return str(_one(field, getattr(message, name)))


def _json(shown: Any) -> None:
    click.echo(json.dumps(shown))


def _plain(text: str) -> str:
    """A text of somebody else's for a terminal, which it must not steer."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _table(titles: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    table = Table()
    for title in titles:
        table.add_column(title)
    for row in rows:
        table.add_row(*(_plain(str(cell)) for cell in row))
    show(table)


async def _some(items: AsyncIterator[Any], limit: int) -> list[Any]:
    found: list[Any] = []
    async for one in items:
        found.append(one)
        if len(found) == limit:
            break
    return found


def _items(items: Iterable[CompensationItem]) -> None:
    """What is to be undone, in its order."""
    _table(
        ("position", "agent", "effect", "state", "failures", "what was said"),
        (
            (
                one.position,
                one.agent_id,
                one.effect_id,
                _word(one, "state"),
                one.failures or "",
                (f"{one.decision} ({one.decided_by})" if one.decision else one.error)[:_WORDS],
            )
            for one in items
        ),
    )


# --- rollbacks ---------------------------------------------------------------


@click.group(name="rollback")
def rollback() -> None:
    """Take agents back to a state that can be trusted, and undo what they did since."""


def _aimed(command: Command) -> Command:
    """Give a connected command agents and a target."""

    def run(
        agents: tuple[str, ...],
        checkpoint: int | None,
        known_good: bool,
        before_event: int | None,
        revision: int | None,
        log_time: int | None,
        group: str,
        **options: Any,
    ) -> Any:
        targets = [
            *([Target(checkpoint_id=checkpoint)] if checkpoint is not None else []),
            *([Target(known_good=True)] if known_good else []),
            *([Target(before_event_seq=before_event)] if before_event is not None else []),
            *([Target(revision=revision)] if revision is not None else []),
            *([Target(log_time_ms=log_time)] if log_time is not None else []),
        ]
        if bool(group) == bool(agents) or len(targets) != (0 if group else 1):
            raise click.UsageError("name agents and one target, or a --group")
        to = targets[0] if targets else None
        return command(agents=agents, to=to, group=group, **options)

    run.__doc__ = command.__doc__
    vars(run).update(vars(command))  # the options that it has already
    for option in (
        click.option("--group", default="", help="The agents and checkpoints of a group."),
        click.option(
            "--at-log-time",
            "log_time",
            type=_NUMBER,
            metavar="MS",
            help="What there was at a log time: the plan says which revision that is.",
        ),
        click.option("--at-revision", "revision", type=_NUMBER, metavar="REVISION"),
        click.option("--before-event", type=_NUMBER, metavar="SEQ"),
        click.option("--known-good", is_flag=True, help="The newest one that is."),
        click.option("--to-checkpoint", "checkpoint", type=_NUMBER, metavar="ID"),
        click.argument("agents", nargs=-1, metavar="[AGENT]..."),
    ):
        run = option(run)
    return run


@rollback.command("plan")
@_output
@_aimed
@connected
def plan(
    ask: Asker, agents: tuple[str, ...], to: Target | None, group: str, output: str
) -> None:
    """Show what `start` would do now. It changes nothing."""
    found = ask(lambda store: store.plan_rollback(agents, to, group=group))
    if output == "json":
        said = _told(found)
        said["digest"] = found.digest.hex()
        _json(said)
        return
    for one in found.agents:
        undone = "no event"
        if one.first_undone_seq:
            undone = f"events {one.first_undone_seq} to {one.last_undone_seq}"
        click.echo(
            _plain(
                f"{one.agent_id}: to checkpoint {one.checkpoint_id}, {undone} undone,"
                f" {one.effects} effects, {one.barriers} barriers"
            )
        )
    for target in found.targets:
        if to is not None and to.HasField("log_time_ms"):
            click.echo(_plain(f"{target.agent_id}: revision {target.target.revision}"))
    _table(
        ("agent", "effect", "action", "state", "undone by"),
        (
            (
                one.agent_id,
                one.effect_id,
                one.action,
                _word(one, "state"),
                "a person decides" if one.barrier else one.compensation,
            )
            for one in found.effects
        ),
    )
    if found.validators:
        click.echo(_plain(f"validators: {', '.join(found.validators)}"))
    click.echo(f"digest {found.digest.hex()}")


@rollback.command("start")
@click.option(
    "--on-barrier",
    type=click.Choice(["refuse", "ask", "proceed"]),
    default="refuse",
    show_default=True,
    help="What to do about effects that cannot be undone.",
)
@click.option("--validator", "validators", multiple=True, help="Who has to say yes.")
@click.option("--reason", default="", help="For people.")
@click.option("--by", default="", help="Who starts it, for people.")
@click.option("--digest", metavar="HEX", help="Of a plan: it must still be what would be done.")
@_output
@_aimed
@connected
def start(
    ask: Asker,
    agents: tuple[str, ...],
    to: Target | None,
    group: str,
    on_barrier: str,
    validators: tuple[str, ...],
    reason: str,
    by: str,
    digest: str | None,
    output: str,
) -> None:
    """Begin a rollback. Workers carry it out: see `raftstate worker`."""
    try:
        expected = bytes.fromhex(digest or "")
    except ValueError:
        raise click.UsageError("--digest is not in hexadecimal digits") from None

    async def begin(store: Store) -> Any:
        return await store.start_rollback(
            agents,
            to,
            group=group,
            on_barrier=on_barrier,
            validators=validators,
            reason=reason,
            expected_digest=expected,
            started_by=by,
        )

    begun = ask(begin)
    if output == "json":
        _json(_told(begun))
        return
    click.echo(
        f"rollback {begun.rollback_id}: {_word(begun, 'state')}, {begun.undoing.open} effects"
        f" to undo, incident {begun.incident_id}"
    )


@rollback.command("list")
@click.option("--state", "states", multiple=True, help="Only those in it.")
@_limit
@_output
@connected
def list_rollbacks(ask: Asker, states: tuple[str, ...], limit: int, output: str) -> None:
    """Show rollbacks, in the order of their start."""
    found = ask(lambda store: _some(store.list_rollbacks(states), limit))
    if output == "json":
        _json([_told(one) for one in found])
        return
    _table(
        ("id", "state", "agents", "open", "incident", "reason"),
        (
            (
                one.rollback_id,
                _word(one, "state"),
                ", ".join(each.agent_id for each in one.agents),
                f"{one.undoing.open} of {one.undoing.total}",
                one.incident_id,
                one.reason[:_WORDS],
            )
            for one in found
        ),
    )


@rollback.command("show")
@click.argument("rollback_id")
@_output
@connected
def show_rollback(ask: Asker, rollback_id: str, output: str) -> None:
    """Show one rollback, and what it undoes."""

    async def read(store: Store) -> Any:
        found = await store.get_rollback(rollback_id)
        return found, await store.rollback_items(rollback_id)

    found, items = ask(read)
    if output == "json":
        _json({"rollback": _told(found), "items": [_told(one) for one in items]})
        return
    click.echo(_plain(f"{found.rollback_id}: {_word(found, 'state')}: {found.reason}"))
    for one in found.agents:
        click.echo(_plain(f"{one.agent_id}: back at checkpoint {one.checkpoint_id}"))
    for report in found.validators:
        said = {True: "yes", False: "no"}[report.passed] if report.HasField("passed") else "-"
        click.echo(_plain(f"validator {report.validator}: {said} {report.evidence}"))
    if found.undoing.HasField("claim"):
        click.echo(_plain(f"carried out by {found.undoing.claim.holder}"))
    _items(items)


@rollback.command("decide")
@click.argument("plan_id")
@click.argument("position", type=_NUMBER)
@click.argument("decision", type=click.Choice(["retry", "done-by-hand", "proceed", "escalate"]))
@click.option("--by", default="", help="Who decides.")
@click.option("--why", default="")
@connected
def decide(ask: Asker, plan_id: str, position: int, decision: str, by: str, why: str) -> None:
    """Say what becomes of an item that waits for a person.

    PLAN_ID is "rollback/" or "saga/" and the id.
    """
    said = ask(
        lambda store: store.decide(
            plan_id, position, decision.replace("-", "_"), by=by, why=why
        )
    )
    click.echo(f"item {position} is {_word(said, 'state')}; {said.undoing.open} are open")


@rollback.command("abort")
@click.argument("rollback_id")
@click.option("--reason", default="")
@connected
def abort(ask: Asker, rollback_id: str, reason: str) -> None:
    """Give a rollback up: its agents are halted, and what was not undone stays."""
    ask(lambda store: store.abort_rollback(rollback_id, reason=reason))
    click.echo(_plain(f"{rollback_id}: given up"))


# --- effects -----------------------------------------------------------------


@click.group(name="effects")
def effects() -> None:
    """Look at what agents did outside, and say what nobody knows of it."""


@effects.command("list")
@click.argument("agent")
@click.option("--state", "states", multiple=True, help="Only those in it.")
@click.option("--saga", default="", help="Only those of it.")
@_limit
@_output
@connected
def list_effects(
    ask: Asker, agent: str, states: tuple[str, ...], saga: str, limit: int, output: str
) -> None:
    """Show the effects of AGENT, in the order in which they were entered."""
    found = ask(
        lambda store: _some(store.list_effects(agent, states=states, saga_id=saga), limit)
    )
    if output == "json":
        _json([_told(one) for one in found])
        return
    _table(
        ("id", "state", "action", "class", "key", "undone by", "saga", "what was said"),
        (
            (
                one.effect_id,
                _word(one, "state"),
                one.action,
                _word(one, "effect_class"),
                one.idempotency_key,
                one.compensation.action,
                one.saga_id,
                one.error[:_WORDS],
            )
            for one in found
        ),
    )


@effects.command("reconcile")
@click.argument("agent")
@click.argument("effect")
@click.argument("found", type=click.Choice(["done", "not-done"]))
@click.option("--why", default="", help="How that is known, for people.")
@click.option(
    "--result", default="", metavar="JSON", help="What it gave: its step is given that."
)
@click.option("--force", is_flag=True, help="Take AGENT from who owns it.")
@connected
def reconcile(
    ask: Asker, agent: str, effect: str, found: str, why: str, result: str, force: bool
) -> None:
    """Say whether EFFECT of AGENT happened, of which nobody knows.

    Nobody may own AGENT meanwhile. After "not-done" its step does it anew: see to it first
    that it cannot happen any more.
    """
    from raftstate.client import values

    try:
        kept, content_type = values.encode(json.loads(result)) if result else (b"", "")
    except ValueError as error:
        raise click.UsageError(f"--result is not JSON: {error}") from None

    async def said(store: Store) -> Any:
        await store.get_effect(agent, effect)
        async with store.own(agent, create=False, force=force) as owned:
            request = ReconcileEffectRequest(
                agent_id=agent,
                effect_id=effect,
                fence=owned.token,
                found=FOUND_DONE if found == "done" else FOUND_NOT_DONE,
                content_type=content_type,
                result=kept,
                error=why,
            )
            return await owned.write("reconcile_effect", request)

    click.echo(_plain(f"{effect} of {agent}: {_word(ask(said), 'state')}, {found}"))


# --- sagas -------------------------------------------------------------------


@click.group(name="sagas")
def sagas() -> None:
    """Look at sagas."""


@sagas.command("list")
@click.argument("prefix", default="")
@click.option("--state", "states", multiple=True, help="Only those in it.")
@_limit
@_output
@connected
def list_sagas(
    ask: Asker, prefix: str, states: tuple[str, ...], limit: int, output: str
) -> None:
    """Show sagas whose id begins with PREFIX."""
    found = ask(lambda store: _some(store.list_sagas(prefix, states=states), limit))
    if output == "json":
        _json([_told(one) for one in found])
        return
    _table(
        ("id", "agent", "state", "effects", "to undo", "reason"),
        (
            (
                one.saga_id,
                one.agent_id,
                _word(one, "state"),
                one.effects,
                one.undoing.open,
                one.reason[:_WORDS],
            )
            for one in found
        ),
    )


@sagas.command("show")
@click.argument("saga_id")
@_output
@connected
def show_saga(ask: Asker, saga_id: str, output: str) -> None:
    """Show one saga, and what is to be undone of it."""

    async def read(store: Store) -> Any:
        return await store.get_saga(saga_id), await store.saga_items(saga_id)

    found, items = ask(read)
    if output == "json":
        _json({"saga": _told(found), "items": [_told(one) for one in items]})
        return
    click.echo(_plain(f"{found.saga_id} of {found.agent_id}: {_word(found, 'state')}"))
    if found.reason:
        click.echo(_plain(f"given up: {found.reason}"))
    if found.incident_id:
        click.echo(f"incident {found.incident_id}")
    _items(items)


# --- incidents ---------------------------------------------------------------


@click.group(name="incidents")
def incidents() -> None:
    """Look at what went wrong, and note what was done about it."""


@incidents.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only those that are.")
@click.option("--agent", default="", help="Only those about it.")
@_limit
@_output
@connected
def list_incidents(ask: Asker, only_open: bool, agent: str, limit: int, output: str) -> None:
    """Show incidents, in the order of their opening."""
    found = ask(
        lambda store: _some(store.list_incidents(only_open=only_open, agent_id=agent), limit)
    )
    if output == "json":
        _json([_told(one) for one in found])
        return
    _table(
        ("id", "since", "symptom", "classification", "agents", "open", "summary"),
        (
            (
                one.incident_id,
                _time(one.opened_wall_time_ms),
                _word(one, "symptom"),
                _word(one, "classification"),
                ", ".join(one.agent_ids),
                "yes" if one.open else "no",
                one.summary[:_WORDS],
            )
            for one in found
        ),
    )


def _time(ms: int) -> str:
    if not ms:
        return "-"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


_TIMES = ("detected", "fenced", "restored", "compensated", "validated", "resumed", "resolved")


@incidents.command("show")
@click.argument("incident_id")
@_output
@connected
def show_incident(ask: Asker, incident_id: str, output: str) -> None:
    """Show one incident: what is known of it, and how long each part of it took."""
    found = ask(lambda store: store.get_incident(incident_id))
    if output == "json":
        _json(_told(found))
        return
    state = "open" if found.open else f"resolved: {found.resolution}"
    click.echo(
        _plain(
            f"{found.incident_id}: {_word(found, 'symptom')},"
            f" {_word(found, 'classification')}, {state}"
        )
    )
    click.echo(_plain(found.summary))
    for name in _TIMES:
        if at := getattr(found, f"{name}_ms"):
            click.echo(f"{name:<12} {(at - found.detected_ms) / 1000:+.3f} s")
    for piece in found.evidence:
        click.echo(_plain(f"{piece.kind} {piece.ref} {piece.detail}".rstrip()))
    for note in found.notes:
        click.echo(_plain(f"{note.by}: {note.text}"))


@incidents.command("note")
@click.argument("incident_id")
@click.argument("text")
@click.option("--by", default="", help="Who says it.")
@click.option("--classify", default="", metavar="WORD", help="What kind of failure it was.")
@connected
def note(ask: Asker, incident_id: str, text: str, by: str, classify: str) -> None:
    """Add a note to an incident."""
    ask(
        lambda store: store.annotate_incident(incident_id, text, by=by, classification=classify)
    )
    click.echo(_plain(f"{incident_id}: noted"))


@incidents.command("resolve")
@click.argument("incident_id")
@click.argument("resolution", default="")
@connected
def resolve(ask: Asker, incident_id: str, resolution: str) -> None:
    """Close an incident."""
    ask(lambda store: store.resolve_incident(incident_id, resolution=resolution))
    click.echo(_plain(f"{incident_id}: resolved"))
