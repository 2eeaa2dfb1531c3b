"""
Policies around generators: the parts that admit hold for the whole stream, a time-out is for each item.

A stream is retried only as long as nobody has seen an item of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, closing
from typing import Any, Protocol

from atoll.kit import clock
from atoll.kit.generate import runtime


class Retries(Protocol):
    """What a stream asks the retry part."""

    def begin(self) -> None:
        """Counts a first try."""
        ...

    def delay(self, error: Exception, tries: int) -> float | None:
        """In how many seconds to try again, or None."""
        ...


def async_stream(
    f: Callable[..., AsyncGenerator[Any, Any]],
    admit: Callable[[], AbstractAsyncContextManager[object]],
    step: Callable[..., Awaitable[Any]],
    retries: Retries | None,
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """
    The generator function `f` under a policy.

    Args:
        f: an async generator function.
        admit: what holds while the stream lasts.
        step: runs the wait for one item.
        retries: says when to start over, if nothing was yielded yet.

    """

    async def stream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        if retries is not None:
            retries.begin()
        tries = 0
        while True:
            seen = False
            try:
                async with admit(), aclosing(f(*args, **kwargs)) as items:
                    sent = None
                    while True:
                        try:
                            item = await step(items.asend, sent)
                        except StopAsyncIteration:
                            return
                        seen = True
                        sent = yield item
            except Exception as error:
                delay = None if seen or retries is None else retries.delay(error, tries)
                if delay is None:
                    raise
            tries += 1
            await runtime().sleep(delay)

    return stream


def sync_stream(
    f: Callable[..., Generator[Any, Any, Any]],
    admit: Callable[[], AbstractContextManager[object]],
    step: Callable[..., Any],
    retries: Retries | None,
) -> Callable[..., Generator[Any, Any, Any]]:
    """The same for a generator function `f`; its return value is kept."""

    def stream(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        if retries is not None:
            retries.begin()
        tries = 0
        while True:
            seen = False
            try:
                with admit(), closing(f(*args, **kwargs)) as items:
                    sent = None
                    while True:
                        try:
                            item = step(items.send, sent)
                        except StopIteration as end:
                            return end.value
                        seen = True
                        sent = yield item
            except Exception as error:
                delay = None if seen or retries is None else retries.delay(error, tries)
                if delay is None:
                    raise
            tries += 1
            clock.pause(delay)

    return stream
