"""
The kit in gRPC for Python: interceptors for clients and servers, sync and asyncio, for calls with one answer.

gRPC carries deadlines itself, so the client only shortens its time-out, and the server opens a scope from the
time that is left.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

from collections import namedtuple
from collections.abc import Awaitable, Callable
from math import inf, isfinite
from typing import Any

import grpc
import grpc.aio

from atoll.kit.carriers import retry_headers
from atoll.kit.deadlines import check, deadline, remaining
from atoll.kit.pipeline import Pipeline
from atoll.kit.verdict import FAIL, IGNORE, OK, RETRY, Verdict, throttled
from atoll.kit.verdict import classify as default_classify

_CALLER_IS_WRONG = frozenset(
    {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
    }
)


def classify(error: Exception) -> Verdict:
    """What a status of gRPC says (its guide "Status codes and their use"): UNAVAILABLE is worth another try."""
    code = error.code() if isinstance(error, grpc.RpcError) and hasattr(error, "code") else None
    match code.name if code is not None else None:
        case None:
            return default_classify(error)
        case "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "ABORTED":
            return RETRY
        case "RESOURCE_EXHAUSTED":
            return throttled(0.0)
        case "CANCELLED":
            return IGNORE
        case name:
            return OK if name in _CALLER_IS_WRONG else FAIL


class _Details(
    namedtuple("_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")),  # noqa: PYI024 - gRPC's own shape
    grpc.ClientCallDetails,
):
    pass


def _shorter(details: Any, policy: Pipeline | None) -> tuple[float | None, list[tuple[str, str]]]:
    check()
    left = remaining()
    given = details.timeout
    timeout = min(left, inf if given is None else given)
    metadata = [*(details.metadata or ()), *retry_headers(policy).items()]
    return (timeout if isfinite(timeout) else None), metadata


class Client(grpc.UnaryUnaryClientInterceptor):
    """
    `grpc.intercept_channel(channel, Client(policy))`.

    Args:
        policy: around every call; None only keeps the deadline. Use `classify` with it.

    """

    def __init__(self, policy: Pipeline | None = None) -> None:
        self._policy = policy

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """One call, with all its tries."""

        def once() -> Any:
            timeout, metadata = _shorter(details, self._policy)
            call = continuation(
                _Details(
                    details.method,
                    timeout,
                    metadata,
                    details.credentials,
                    details.wait_for_ready,
                    getattr(details, "compression", None),
                ),
                request,
            )
            if self._policy is not None:
                call.result()  # raises what the call failed with, so that the policy sees it
            return call

        return once() if self._policy is None else self._policy.run(once)


class AsyncClient(grpc.aio.UnaryUnaryClientInterceptor):
    """`grpc.aio.insecure_channel(target, interceptors=[AsyncClient(policy)])`; see `Client`."""

    def __init__(self, policy: Pipeline | None = None) -> None:
        self._policy = policy

    async def intercept_unary_unary(
        self, continuation: Callable[..., Awaitable[Any]], details: Any, request: Any
    ) -> Any:
        """One call, with all its tries."""

        async def once() -> Any:
            timeout, metadata = _shorter(details, self._policy)
            shorter = grpc.aio.ClientCallDetails(
                details.method, timeout, grpc.aio.Metadata(*metadata), details.credentials, details.wait_for_ready
            )
            call = await continuation(shorter, request)
            if self._policy is not None:
                await call
            return call

        return await once() if self._policy is None else await self._policy.call(once)


class Server(grpc.ServerInterceptor):
    """`grpc.server(pool, interceptors=[Server()])`: the caller's deadline becomes the ambient one."""

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """The handler of one method."""
        handler = continuation(details)
        if handler is None or not handler.unary_unary:
            return handler
        inner = handler.unary_unary

        def within(request: Any, context: Any) -> Any:
            with deadline(_left(context), details.method):
                return inner(request, context)

        return grpc.unary_unary_rpc_method_handler(within, handler.request_deserializer, handler.response_serializer)


class AsyncServer(grpc.aio.ServerInterceptor):
    """`grpc.aio.server(interceptors=[AsyncServer()])`; see `Server`."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The handler of one method."""
        handler = await continuation(details)
        if handler is None or not handler.unary_unary:
            return handler
        inner = handler.unary_unary

        async def within(request: Any, context: Any) -> Any:
            async with deadline(_left(context), details.method):
                return await inner(request, context)

        return grpc.unary_unary_rpc_method_handler(within, handler.request_deserializer, handler.response_serializer)


def _left(context: Any) -> float:
    left = context.time_remaining()
    return inf if left is None else float(left)
