"""What surrounds every handler: failures become statuses, and calls are counted.

An interceptor that wraps each handler once and remembers it. Handlers that answer
with a stream are async generators; they are driven from here with `context.write`,
so that a cancelled call ends the generator at once (by GeneratorExit where it stands)
and not whenever the garbage collector comes by.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from raftstate.core.ports import StorageError
from raftstate.rpc.errors import DETAILS_KEY, Failure, corrupt, internal, unreadable
from raftstate.rpc.frontend import Observe

logger = logging.getLogger("raftstate.rpc")

Arrive = Callable[[Any], None]
"""Told of every call that begins, in its own task: its context. Must not raise."""

Handler = Callable[[Any, Any], Awaitable[Any]]


class Edge(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc is untyped
    """Wraps every handler of the server."""

    def __init__(self, observe: Observe, arrive: Arrive = lambda _context: None) -> None:
        self._observe = observe
        self._arrive = arrive
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        """The wrapped handler of a method; None where there is none."""
        method = details.method
        if method not in self._wrapped:
            handler = await continuation(details)
            if handler is None:
                return None
            self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Any) -> Any:
        parse = handler.request_deserializer
        answer = {"response_serializer": handler.response_serializer}
        if handler.unary_unary:
            behaviour = self._guarded(method, handler.unary_unary)
            return grpc.unary_unary_rpc_method_handler(behaviour, _lenient(parse), **answer)
        if handler.unary_stream:
            behaviour = self._guarded(method, _driven(handler.unary_stream))
            return grpc.unary_stream_rpc_method_handler(behaviour, _lenient(parse), **answer)
        assert handler.stream_stream, f"{method} streams requests to a single answer"
        behaviour = self._guarded(method, _driven(handler.stream_stream))
        return grpc.stream_stream_rpc_method_handler(behaviour, parse, **answer)

    def _guarded(self, method: str, behaviour: Handler) -> Handler:
        async def guarded(request: Any, context: Any) -> Any:
            began = time.monotonic()
            code = "OK"
            self._arrive(context)
            try:
                if isinstance(request, DecodeError):
                    raise request
                return await behaviour(request, context)
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except grpc.aio.AbortError:
                code = getattr(context.code(), "name", "UNKNOWN")
                raise
            except Exception as error:  # told to the client, and logged
                if _has_stopped(error):
                    code = "CANCELLED"
                    raise  # nobody is left to tell, and grpc knows it
                failure = failure_of(method, error)
                code = failure.code.name
                await abort(context, failure)
            finally:
                self._observe(method, code, time.monotonic() - began)

        return guarded


async def abort(context: Any, failure: Failure) -> None:
    """End a call with a failure; raises grpc's AbortError."""
    trailer = ((DETAILS_KEY, failure.status().SerializeToString()),)
    await context.abort(failure.code, failure.message, trailing_metadata=trailer)


def _has_stopped(error: Exception) -> bool:
    """Whether grpc says that the server was stopped under the call."""
    return isinstance(error, grpc.aio.BaseError) and not isinstance(
        error, grpc.aio.AbortError | grpc.aio.UsageError | grpc.aio.InternalError
    )


def failure_of(method: str, error: Exception) -> Failure:
    """What the client is told of whatever a handler raised; bugs are logged."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, DecodeError):
        return unreadable(str(error))
    logger.error("a call failed", exc_info=error, extra={"method": method})
    if isinstance(error, StorageError):
        return corrupt(str(error))
    return internal(method)


def _lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A parser that gives its error as the request: grpc would answer UNKNOWN to it.

    The messages of a stream need no such care, their errors are raised in the handler.
    """

    def lenient(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            return error

    return lenient


def _driven(generator: Callable[[Any, Any], AsyncGenerator[Any, None]]) -> Handler:
    async def driven(request: Any, context: Any) -> None:
        async with aclosing(generator(request, context)) as responses:
            async for response in responses:
                try:
                    await context.write(response)
                except grpc.aio.InternalError as error:
                    # The connection is gone, and grpc has not told us yet.
                    raise asyncio.CancelledError("the client has gone") from error

    return driven
