# Generated from raftstate/client/watch.py by scripts/generate. Not to be edited.

"""Watching what changes, for as long as somebody asks for more.

A `Watch` goes on by itself. When its stream breaks, because a member died, lost touch or
was stopped, it goes on at another one behind the last batch it gave: nothing is missed and
nothing comes twice. What cannot be gone on with is raised, as `Compacted` is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self, cast

from raftstate.client import watch as face
from raftstate.client.watch import WatchBatch
from raftstate.sync.running import Face, Handle, listed


async def _next(watch: face.Watch) -> WatchBatch | None:
    async for batch in watch:
        return batch
    return None


class Watch(Handle, of=face.Watch):
    """A watch under way: `for batch in watch`. Made by `Store.watch`.

    In a block, `with store.watch(...) as watch`, it begins with the block: what is
    written after that is surely told. Otherwise it begins when the first batch is asked
    for. One thread at a time may ask."""

    @property
    def _it(self) -> face.Watch:
        return cast(face.Watch, self._object)

    @property
    def token(self) -> str:
        """Goes on after the last batch that was given, or word of progress that was
        not. Empty: nothing has come yet."""
        return self._it.token

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.leave(self._it.__aexit__, error, trace)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WatchBatch:
        batch = self._do(_next(self._it))
        if batch is None:
            raise StopIteration
        return batch

    def close(self) -> None:
        """End the watch. Doing so twice is harmless.

        >>> watch = store.watch(types=["key"], prefix="watch/aclose", snapshot=True)
        >>> for batch in watch:
        ...     print(batch.snapshot, batch.changes)
        ...     watch.close()
        True []
        """
        self._running.post(self._it.end)

    def end(self) -> None:
        """End the watch, from wherever: who waits for more is told that there is no more.

        >>> watch = store.watch(types=["key"], prefix="watch/end", snapshot=True)
        >>> for batch in watch:
        ...     print(batch.snapshot, batch.changes)
        ...     watch.end()
        True []
        """
        self._running.post(self._it.end)

    def __del__(self) -> None:
        self._running.post(self._it.end)


class Watching(Face, of=face.Watching):
    """The part of a `Store` that tells what changes."""

    @property
    def _it(self) -> face.Watching:
        return cast(face.Watching, self._object)

    def watch(
        self,
        *,
        types: Iterable[str | int] = (),
        prefix: str | bytes = b"",
        key: str | bytes | None = None,
        labels: Mapping[str, str] | None = None,
        revision: int | None = None,
        token: str | None = None,
        snapshot: bool = False,
        with_previous: bool = False,
        progress: bool = False,
        progress_every: float = 1.0,
        raise_too_slow: bool = False,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> Watch:
        """What changes, a revision at a time, in order, each once, none missing:
        `for batch in store.watch(...)`.

        What: `types` ("key", "agent", "event" and so on; none is all), whose id begins with
        `prefix` or is `key`, and which have all `labels`, now or before the change. Since
        when: now, or from `revision` on, which may be to come; or after the batch that a
        `token` came with; or with `snapshot` first all that there is, as one batch, and
        then what changes after it. `with_previous` adds what there was before each change,
        `progress` gives word every `progress_every` seconds of silence, 0.1 to 600.

        Any member serves a watch, and may be behind the leader; `endpoint` is the one to
        ask and no other. When that breaks, the watch goes on elsewhere by itself. A caller
        that is too slow for what comes is served again from where it is, unless
        `raise_too_slow`; it may then meet Compacted.

        Raises, all definite as a watch changes nothing: Compacted if changes that should
        come next are forgotten (`details["oldest_revision"]` is the first to be had);
        WatchTooSlow if asked to (with `details["resume_token"]`); TooMany if every member
        serves as many watches as it may; NoQuorum when no member has said anything for
        `timeout` seconds, by default the store's, or three times `progress_every` if that
        is more; InvalidRequest.

        >>> with store.watch(types=["key"], prefix="watch/watch/") as watch:
        ...     _ = store.keys.put("watch/watch/a", b"1")
        ...     for batch in watch:
        ...         print([(one.id, one.resource.key.value) for one in batch.changes])
        ...         break
        [(b'watch/watch/a', b'1')]
        """
        return Watch(
            self._it.watch(
                types=listed(types),
                prefix=prefix,
                key=key,
                labels=labels,
                revision=revision,
                token=token,
                snapshot=snapshot,
                with_previous=with_previous,
                progress=progress,
                progress_every=progress_every,
                raise_too_slow=raise_too_slow,
                timeout=timeout,
                endpoint=endpoint,
            ),
            self._running,
        )
