# ruff: noqa: BLE001, DTZ003, DTZ005, DTZ011, ICN001, PLW0108  # on purpose
"""Functions for the tests of the helper that looks for undeclared nondeterminism."""

import datetime
import functools
import os
import random
import secrets
import time
import uuid
from collections.abc import Callable
from datetime import datetime as moment
from time import monotonic
from typing import Any


def in_any_order(words: list[str]) -> list[str]:
    """The order of a set of texts."""
    return list(set(words))


async def agent(agent: Any, item: str) -> str:
    """An agent's function that declares what it draws."""
    state = agent.restore(default={"done": 0})
    agent.state_from(lambda: state)
    early = await agent.record("tool", time.time)
    async with agent.step() as step:
        answer = await step.record("llm", lambda: f"{item} {random.random()}")
        told = await step.effect("tell", item, do=str, kind="irreversible")
        step.event("answered", [answer, early, told, step.time(), str(step.uuid())])
        step.checkpoint({"done": 1, "lot": step.random()})
    return str(answer)


async def hasty(agent: Any) -> None:
    """An agent's function that forgets one."""
    async with agent.step() as step:
        await step.record("llm", time.time)
        step.event("answered", time.time())


class Later:
    """Draws when it is made, by a default."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.at = clock()


def swallowed() -> int:
    """Catches what it is told."""
    try:
        return int(time.time())
    except Exception:
        return 0


def fails() -> None:
    """An error of its own."""
    raise KeyError("mine")


# Each draws something; by what name it is told.
DRAWS: dict[str, Callable[[], Any]] = {
    "time.localtime": lambda: time.localtime(),
    "time.ctime": lambda: time.ctime(),
    "time.strftime": lambda: time.strftime("%Y"),
    "time.gmtime": lambda: time.gmtime(None),
    "time.time": time.time,
    "time.time_ns": lambda: time.time_ns(),
    "time.monotonic": lambda: monotonic(),
    "time.perf_counter": lambda: time.perf_counter(),
    "datetime.now": lambda: moment.now().isoformat(),
    "datetime.utcnow": lambda: datetime.datetime.utcnow().isoformat(),
    "date.today": lambda: datetime.date.today().isoformat(),
    "random.random": lambda: random.random(),
    "random.randint": lambda: random.randint(1, 6),
    "random.shuffle": lambda: random.shuffle([1, 2, 3]),
    "random.Random()": lambda: random.Random().random(),
    "os.urandom": lambda: os.urandom(4).hex(),
    "uuid.uuid1": lambda: str(uuid.uuid1()),
    "uuid.uuid4": lambda: str(uuid.uuid4()),
    "secrets.token_hex": lambda: secrets.token_hex(4),
    "secrets.randbelow": lambda: secrets.randbelow(10),
}
# The same by ways around the names.
ROUNDABOUT: dict[str, Callable[[], Any]] = {
    "by a default": lambda: Later().at,
    "by a part": lambda: functools.partial(time.time)(),
    "by builtin code": lambda: next(iter(time.time, 0.0)),
    "by a seed": lambda: random.seed(1) or random.random(),
}
