"""How anything is read: how fresh, from whom, and again if a member fails.

Every read takes the same options:

* nothing: it reflects every write acknowledged before it began;
* `stale=True`: some earlier state, from any member, at once;
* `at_least=revision`: that revision or a later one, from any member, which waits for it;
* `at=revision`: what the store was at that revision. Compacted (definite) if that is
  forgotten, FutureRevision (definite) if it is yet to come;
* `timeout` in seconds, over all attempts; a list's is that of one page;
* `seen=Seen()`: where to note what revision was shown, and by whom.

A read changes nothing, so its failures are all definite: NoQuorum when nobody answered
in time, Overloaded when too many reads of this client went before it, InvalidRequest, and
what the call itself names.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, TypedDict

from raftstate.client.calls import remaining
from raftstate.client.engine import Engine
from raftstate.client.queries import NotServed
from raftstate.client.routing import Peer
from raftstate.errors import InvalidRequest
from raftstate.v1.common_pb2 import (
    CONSISTENCY_AT_LEAST,
    CONSISTENCY_AT_REVISION,
    CONSISTENCY_LINEARIZABLE,
    CONSISTENCY_STALE,
    Consistency,
    ResponseHeader,
)

# A service's method, of whichever member is asked.
Method = Callable[[Peer], Any]


class Seen:
    """What a read has shown: a revision of the store, and the member that showed it.
    Before a read is answered, 0 and "". One of several reads holds what the last one saw;
    `at_least=seen.revision` then never goes back, at any member.

    >>> seen = raftstate.Seen()
    >>> _ = await store.keys.get("seen", seen=seen)
    >>> _ = await store.keys.get("seen", at_least=seen.revision)
    >>> seen.member_id in {"n1", "n2", "n3"}
    True
    """

    __slots__ = ("member_id", "revision")

    def __init__(self) -> None:
        self.revision: int = 0
        self.member_id: str = ""

    def note(self, header: ResponseHeader) -> None:
        """Take note of an answer."""
        self.revision, self.member_id = header.revision, header.member_id

    def __repr__(self) -> str:
        return f"Seen(revision={self.revision}, member_id={self.member_id!r})"


class How(TypedDict, total=False):
    """The options of every read."""

    stale: bool
    at_least: int | None
    at: int | None
    timeout: float | None
    seen: Seen | None


class Way(NamedTuple):
    """How to read, checked, in the words of the API."""

    consistency: Consistency
    revision: int = 0
    timeout: float | None = None
    seen: Seen | None = None

    @property
    def leads(self) -> bool:
        """Whether only a leader answers, so that who answers must be one."""
        return self.consistency == CONSISTENCY_LINEARIZABLE

    def fill(self, request: Any) -> Any:
        """The request, which now says how."""
        request.consistency = self.consistency
        request.revision = self.revision
        return request

    def note(self, answer: Any) -> None:
        """Tell the caller what an answer shows, if it says so and somebody wants to know."""
        if self.seen is not None and answer.HasField("header"):
            self.seen.note(answer.header)


def way(how: How) -> Way:
    """What the options of a read ask for. Raises InvalidRequest (definite) if they
    contradict each other, TypeError for one that there is not."""
    if unknown := how.keys() - How.__annotations__.keys():
        raise TypeError(f"a read has no option {', '.join(sorted(unknown))}")
    timeout, seen = how.get("timeout"), how.get("seen")
    least, at = how.get("at_least"), how.get("at")
    chosen = [
        name
        for name, given in (
            ("stale", bool(how.get("stale"))),
            ("at_least", least is not None),
            ("at", at is not None),
        )
        if given
    ]
    if len(chosen) > 1:
        raise _wrong(chosen[1], f"{' and '.join(chosen)} exclude each other")
    for name, revision in (("at_least", least), ("at", at)):
        if revision is not None and not 0 < revision < 1 << 64:
            raise _wrong(name, f"{name} is {revision}; revisions begin with 1")
    if least is not None:
        return Way(CONSISTENCY_AT_LEAST, least, timeout, seen)
    if at is not None:
        return Way(CONSISTENCY_AT_REVISION, at, timeout, seen)
    if chosen:
        return Way(CONSISTENCY_STALE, timeout=timeout, seen=seen)
    return Way(CONSISTENCY_LINEARIZABLE, timeout=timeout, seen=seen)


def only(how: How, *names: str) -> How:
    """The options, of which a read has only these. Raises TypeError."""
    if unknown := how.keys() - set(names):
        raise TypeError(f"this read has no option {', '.join(sorted(unknown))}")
    return how


def _wrong(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, definite=True, details={"field": field})


async def read(
    engine: Engine,
    method: Method,
    request: Any,
    *,
    timeout: float | None,
    leads: bool = True,
) -> Any:
    """The answer to a reading request that says how by itself. It goes together with those
    of other callers; in a call of its own if there is none like it among the queries, or
    the member takes none."""
    deadline = engine.deadline(timeout)

    async def attempt(peer: Peer, patience: float) -> Any:
        with contextlib.suppress(NotServed):
            return await peer.queries.ask(request, patience, deadline)
        left = max(min(patience, remaining(deadline)), 0.001)
        return await method(peer)(request, timeout=left)

    return await engine.calls.call(attempt, deadline=deadline, changes=False, leads=leads)


async def read_as(engine: Engine, method: Method, request: Any, how: How) -> Any:
    """The answer to a reading request, read as the options say."""
    asked = way(how)
    answer = await read(
        engine, method, asked.fill(request), timeout=asked.timeout, leads=asked.leads
    )
    asked.note(answer)
    return answer


async def pages(engine: Engine, method: Method, request: Any, how: How) -> AsyncIterator[Any]:
    """A list, page by page; all pages show the revision of the first."""
    asked = way(how)
    asked.fill(request)
    leads = asked.leads
    while True:
        page = await read(engine, method, request, timeout=asked.timeout, leads=leads)
        asked.note(page)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
        leads = False  # any member has the revision that the first page has shown


async def stream(
    engine: Engine, begin: Callable[[Peer, Way], Any], how: How, *, pins: bool = False
) -> AsyncIterator[Any]:
    """The answers of a reading stream. `begin` is asked again whenever the stream breaks,
    and must go on where the answers ended. `pins`: it then asks for the revision that was
    shown before, which any member has."""
    asked = way(how)
    deadline = engine.deadline(asked.timeout)
    async for answer in engine.calls.stream(
        lambda peer: begin(peer, asked), deadline=deadline, leads=asked.leads and not pins
    ):
        asked.note(answer)
        yield answer
