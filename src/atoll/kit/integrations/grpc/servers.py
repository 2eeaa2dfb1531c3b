"""Servers: the caller's deadline becomes the ambient one."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from math import inf
from typing import Any

import grpc
import grpc.aio

from atoll.kit.deadlines import deadline

_END = object()
_NEVER = 1e9  # seconds; a call without a deadline has some hundred years or more
Handler = Callable[[Any, Any], Any]


class Server(grpc.ServerInterceptor):
    """`grpc.server(pool, interceptors=[Server()])`: for handlers of all four kinds."""

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """The handler of one method."""
        return _wrapped(continuation(details), details.method, _answer, _answers)


class AsyncServer(grpc.aio.ServerInterceptor):
    """`grpc.aio.server(interceptors=[AsyncServer()])`; see `Server`."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The handler of one method."""
        return _wrapped(await continuation(details), details.method, _answer_aio, _answers_aio)


def _wrapped(
    handler: Any, method: str, answer: Callable[[Handler, str], Handler], answers: Callable[[Handler, str], Handler]
) -> Any:
    if handler is None:
        return None
    wrap = answers if handler.response_streaming else answer
    kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(wrap(getattr(handler, kind), method), handler.request_deserializer, handler.response_serializer)


def _answer(inner: Handler, method: str) -> Handler:
    def within(request: Any, context: Any) -> Any:
        with deadline(_left(context), method):
            return inner(request, context)

    return within


def _answers(inner: Handler, method: str) -> Handler:
    def within(request: Any, context: Any) -> Generator[Any, None, None]:
        answers = iter(inner(request, context))
        while True:
            with deadline(_left(context), method):  # not around the yield: what is outside has other deadlines
                answer = next(answers, _END)
            if answer is _END:
                return
            yield answer

    return within


def _answer_aio(inner: Handler, method: str) -> Handler:
    async def within(request: Any, context: Any) -> Any:
        async with deadline(_left(context), method):
            return await inner(request, context)

    return within


def _answers_aio(inner: Handler, method: str) -> Handler:
    if not inspect.isasyncgenfunction(inner):  # it writes its answers by itself
        return _answer_aio(inner, method)

    async def within(request: Any, context: Any) -> AsyncGenerator[Any, None]:
        async with deadline(_left(context), method):
            async for answer in inner(request, context):
                yield answer

    return within


def _left(context: Any) -> float:
    left = context.time_remaining()
    return inf if left is None or left > _NEVER else float(left)
