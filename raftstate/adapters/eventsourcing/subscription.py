"""Events as they are recorded: a watch on the log's head wakes who waits for more."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, TypeVar

from eventsourcing.persistence import (
    ApplicationRecorder,
    InterfaceError,
    ListenNotifySubscription,
    ShutDown,
)

from raftstate.adapters.portals import Access
from raftstate.client import Store
from raftstate.client.loops import call_soon
from raftstate.errors import Closed, Compacted, RaftStateError

R_co = TypeVar("R_co", bound=ApplicationRecorder, covariant=True)

# Between attempts to watch again, should the whole cluster be out of reach.
_PAUSE_S: Final = 1.0


class Woken(ABC):
    """Mixed into a subscription of the library's, which has the rest of these."""

    _has_been_notified: threading.Event
    _pull_thread: threading.Thread
    _thread_error: BaseException | None
    _watching: asyncio.Task[None] | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    @abstractmethod
    def stop(self) -> None:
        """End it; an iteration that waits ends too."""

    def _watch_head(self, access: Access, head: bytes) -> None:
        """Begin to watch; what began before is over if this fails."""
        try:
            access.run(lambda store: self._begin(store, head))
        except BaseException:
            self.stop()
            self._pull_thread.join()
            raise

    def _stop_watching(self) -> None:
        if self._loop is not None and self._watching is not None:
            call_soon(self._loop, self._watching.cancel)

    async def _begin(self, store: Store, head: bytes) -> None:
        """Return once the cluster has answered. A watch would wait for that without end."""
        await store.keys.get(head)
        self._loop = asyncio.get_running_loop()
        self._watching = asyncio.create_task(self._watch(store, head))

    async def _watch(self, store: Store, head: bytes) -> None:
        while True:
            try:
                async with store.watch(types=["key"], key=head) as watch:
                    self._has_been_notified.set()  # what came before the watch began
                    async for _ in watch:
                        self._has_been_notified.set()
            except Compacted:
                continue  # there was more than one remembers: the numbers tell what is new
            except Closed as error:
                self._fail(error)
                return
            except RaftStateError:
                await asyncio.sleep(_PAUSE_S)
            except Exception as error:  # noqa: BLE001  # whoever iterates raises it
                self._fail(error)
                return

    def _fail(self, error: Exception) -> None:
        """Who iterates is told."""
        failed = InterfaceError(str(error))
        failed.__cause__ = error
        if self._thread_error is None:
            self._thread_error = failed
        self.stop()


class RaftSubscription(ListenNotifySubscription[R_co], Woken):
    """Made by `RaftApplicationRecorder.subscribe`."""

    def __init__(
        self,
        recorder: R_co,
        access: Access,
        head: bytes,
        gt: int | None,
        topics: Sequence[str],
    ) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._watch_head(access, head)

    def stop(self) -> None:
        """End it; an iteration that waits ends too."""
        super().stop()
        self._stop_watching()

    def _pull(self) -> None:
        """As the library's, but that what has none of the topics is looked at once, and not
        again with each event to come."""
        while not self._has_been_stopped:
            self._has_been_notified.clear()
            after = self._last_notification_id or 0
            last = self._recorder.max_notification_id() if self._topics else None
            found = self._recorder.select_notifications(
                after, self._select_limit, last, self._topics, inclusive_of_start=False
            )
            if found:
                try:
                    self._notifications_queue.put(found)
                except ShutDown:
                    break
                self._last_notification_id = found[-1].id
            if len(found) < self._select_limit:
                if last is not None:
                    self._last_notification_id = max(after, last)
                break
