"""Calls of a sync channel."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, Self

import grpc

from atoll.kit.integrations.grpc.details import shorter
from atoll.kit.pipeline import Pipeline

Continuation = Callable[[Any, Any], Any]


class Client(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """
    `grpc.intercept_channel(channel, Client(policy))`.

    With a policy a call is over when its interceptor returns, also that of `future()`; and a stream of answers begins
    when the first one is asked for.

    Args:
        policy: around every call; None only keeps the deadline. Use `classify` with it.

    """

    def __init__(self, policy: Pipeline | None = None) -> None:
        self._policy = policy

    def intercept_unary_unary(self, continuation: Continuation, details: Any, request: Any) -> Any:
        """One call, with all its tries."""
        if self._policy is None:
            return continuation(shorter(details, None), request)
        return self._policy.run(self._once, continuation, details, request)

    def intercept_stream_unary(self, continuation: Continuation, details: Any, requests: Any) -> Any:
        """One try: the requests are gone after it."""
        if self._policy is None:
            return continuation(shorter(details, None), requests)
        with self._policy.guard():
            return self._once(continuation, details, requests)

    def intercept_unary_stream(self, continuation: Continuation, details: Any, request: Any) -> Any:
        """A stream, tried again as long as nothing of it was seen."""
        if self._policy is None:
            return continuation(shorter(details, None), request)
        return Answers(self._policy, self._begin(continuation, details, request), again=True)

    def intercept_stream_stream(self, continuation: Continuation, details: Any, requests: Any) -> Any:
        """A stream, tried once."""
        if self._policy is None:
            return continuation(shorter(details, None), requests)
        return Answers(self._policy, self._begin(continuation, details, requests), again=False)

    def _once(self, continuation: Continuation, details: Any, request: Any) -> Any:
        call = self._begin(continuation, details, request)()
        call.result()  # raises what the call failed with, so that the policy sees it
        return call

    def _begin(self, continuation: Continuation, details: Any, request: Any) -> Callable[[], Any]:
        return lambda: continuation(shorter(details, self._policy), request)


class Answers:
    """
    The answers of one call under a policy: an iterator that is also the call, once it has begun.

    Args:
        policy: around the stream.
        begin: makes the call.
        again: whether it can be made again.

    """

    def __init__(self, policy: Pipeline, begin: Callable[[], Any], *, again: bool) -> None:
        self._calls: list[Any] = []  # the last one is present; not an attribute, so that nothing holds itself
        make = policy(_answers) if again else _guarded(policy)
        self._answers: Iterator[Any] = make(begin, self._calls)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return next(self._answers)

    def __getattr__(self, name: str) -> Any:
        """What gRPC's call object has: `code`, `cancel`, `initial_metadata` and the like."""
        if not self._calls:
            raise AttributeError(f"{name}: the stream has not begun, because nobody asked for its first answer")
        return getattr(self._calls[-1], name)


def _answers(begin: Callable[[], Any], calls: list[Any]) -> Generator[Any, None, None]:
    call = begin()
    calls.append(call)
    try:
        yield from call
    finally:
        call.cancel()  # does nothing where it is over


def _guarded(policy: Pipeline) -> Callable[..., Generator[Any, None, None]]:
    def guarded(begin: Callable[[], Any], calls: list[Any]) -> Generator[Any, None, None]:
        with policy.guard():
            yield from _answers(begin, calls)

    return guarded
