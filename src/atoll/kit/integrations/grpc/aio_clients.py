"""Calls of an asyncio channel."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio

from atoll.kit.integrations.grpc.details import shorter_aio
from atoll.kit.pipeline import Pipeline

Continuation = Callable[[Any, Any], Awaitable[Any]]


def async_clients(policy: Pipeline | None = None) -> list[grpc.aio.ClientInterceptor]:
    """
    `grpc.aio.insecure_channel(target, interceptors=async_clients(policy))`: one for each kind of call.

    Args:
        policy: around every call; None only keeps the deadline. Use `classify` with it.

    """
    return [AsyncClient(policy), _UnaryStream(policy), _StreamUnary(policy), _StreamStream(policy)]


class _Client:
    def __init__(self, policy: Pipeline | None = None) -> None:
        self._policy = policy
        self._watching: set[asyncio.Task[None]] = set()

    async def _watched(self, continuation: Continuation, details: Any, requests: Any) -> Any:
        """
        The call, untouched, with the policy around it in a task of its own for as long as it lasts.

        Whoever writes the requests one by one waits for this to return.
        """
        begun: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(_watch(self._policy, continuation, details, requests, begun))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        try:
            return await begun
        except asyncio.CancelledError:
            task.cancel()
            raise


class AsyncClient(_Client, grpc.aio.UnaryUnaryClientInterceptor):
    """One request, one answer, with all its tries; `async_clients` has this one and those for streams."""

    async def intercept_unary_unary(self, continuation: Continuation, details: Any, request: Any) -> Any:
        """One call."""
        if self._policy is None:
            return await continuation(shorter_aio(details, None), request)
        return await self._policy.call(self._once, continuation, details, request)

    async def _once(self, continuation: Continuation, details: Any, request: Any) -> Any:
        call = await continuation(shorter_aio(details, self._policy), request)
        await call
        return call


class _UnaryStream(_Client, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Continuation, details: Any, request: Any) -> Any:
        """A stream, tried again as long as nothing of it was seen."""
        if self._policy is None:
            return await continuation(shorter_aio(details, None), request)

        async def tried() -> AsyncGenerator[Any, None]:
            call = await continuation(shorter_aio(details, self._policy), request)
            try:
                async for answer in call:
                    yield answer
            finally:
                call.cancel()  # does nothing where it is over

        # The first answer ends the tries. It is waited for in here, so that gRPC knows the call that made it.
        answers = aiter(self._policy(tried)())
        try:
            first = [await anext(answers)]
        except StopAsyncIteration:
            first = []
        return _chain(first, answers)


class _StreamUnary(_Client, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Continuation, details: Any, requests: Any) -> Any:
        """One try: the requests are gone after it."""
        if self._policy is None:
            return await continuation(shorter_aio(details, None), requests)
        return await self._watched(continuation, details, requests)


class _StreamStream(_Client, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Continuation, details: Any, requests: Any) -> Any:
        """One try: the requests are gone after it."""
        if self._policy is None:
            return await continuation(shorter_aio(details, None), requests)
        return await self._watched(continuation, details, requests)


async def _chain(first: list[Any], rest: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    for answer in first:
        yield answer
    async for answer in rest:
        yield answer


async def _watch(
    policy: Any, continuation: Continuation, details: Any, requests: Any, begun: asyncio.Future[Any]
) -> None:
    call: Any = None
    try:
        async with policy.guard():
            call = await continuation(shorter_aio(details, policy), requests)
            if not begun.done():  # else whoever made it was cancelled meanwhile
                begun.set_result(call)
            await _end(call)
    except Exception as error:  # noqa: BLE001 - whoever made the call hears of it
        if not begun.done():
            begun.set_exception(error)
    finally:
        if call is not None:
            call.cancel()  # does nothing where it is over


async def _end(call: Any) -> None:
    code = await call.code()  # which is there when it is over
    if code is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())
