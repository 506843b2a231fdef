"""Drives workloads against a cluster, without faults, and gathers what they leave behind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from jepsen_like import generator as gen
from jepsen_like.history import Event, Writer
from jepsen_like.interpreter import Tally, interpret
from jepsen_like.protocols import Done, LoggedEvent, Op, Record, Site, Workload
from raftstate import connect


class Idle:
    """A nemesis that does no harm."""

    async def invoke(self, op: Op) -> Done:
        return Done("info")


async def driven(
    works: Sequence[Workload], site: Site, seconds: float, rate: float
) -> tuple[list[Event], Tally]:
    """The history of these workloads on a cluster, final reads included."""
    began = time.monotonic()
    clients = {
        f"{work.name}/{number}": (lambda work=work, number=number: work.client(site, number))
        for work in works
        for number in range(work.threads)
    }
    work_of = [
        gen.On(work.name, gen.at_rate(rate * work.rate, work.generator(site.seed), work.name))
        for work in works
    ]
    final = [gen.On(work.name, work.final(site.seed, site.nodes)) for work in works]
    generator = gen.Phases(gen.TimeLimit(seconds, gen.Any(*work_of)), gen.Any(*final))
    with Writer(site.folder / "history.jsonl") as writer:
        tally = await interpret(
            generator, clients, Idle(), writer, lambda: time.monotonic() - began
        )
        return writer.events, tally


async def committed(site: Site) -> list[LoggedEvent]:
    async with connect(site.endpoints, timeout=10.0) as store:
        return [
            LoggedEvent(
                one.stream_id,
                one.seq,
                one.position,
                one.revision,
                one.step,
                one.type,
                one.data.decode(),
            )
            async for one in store.read_all()
            if one.stream_id.startswith(f"{site.prefix}/")
        ]


def record_of(
    site: Site, names: Sequence[str], events: list[Event], log: list[LoggedEvent]
) -> Record:
    return Record(site.nodes, tuple(names), (), site.seed, {"warm-up": 0.0}, events, (), log)


def with_event(record: Record, event: Event) -> Record:
    events = list(record.events)
    events[event.index] = event
    return replace(record, events=events)
