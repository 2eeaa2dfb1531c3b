"""Retries around a block, for code that does not fit into a function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from atoll.kit import clock
from atoll.kit.deadlines import deadline
from atoll.kit.generate import Guard, runtime
from atoll.kit.streams import Retries


@dataclass(frozen=True, slots=True)
class Terms:
    """What a policy lends to the tries of a block: its guards without the budget, its retries, and the budget."""

    name: str
    guard: Callable[[], AbstractContextManager[Guard]]
    async_guard: Callable[[], AbstractAsyncContextManager[Guard]]
    retries: Retries | None
    budget: float


class Attempt:
    """
    One try of a block: enter it with `with` or `async with`. `number` is 1 for the first.

    An error that is to be tried again ends the block silently; any other passes. A block that is never
    entered is not tried again.
    """

    def __init__(self, terms: Terms, number: int, ends: float) -> None:
        self.number = number
        self.delay: float | None = None  # set when the block is to be tried again
        self._terms = terms
        self._ends = ends
        self._sync: AbstractContextManager[None] | None = None
        self._async: AbstractAsyncContextManager[None] | None = None

    def next(self) -> Attempt:
        """The try after this one."""
        return Attempt(self._terms, self.number + 1, self._ends)

    def __enter__(self) -> Self:
        self._sync = self._block()
        self._sync.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return self._sync is not None and bool(self._sync.__exit__(kind, error, trace))

    async def __aenter__(self) -> Self:
        self._async = self._async_block()
        await self._async.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return self._async is not None and bool(await self._async.__aexit__(kind, error, trace))

    @contextmanager
    def _block(self) -> Iterator[None]:
        try:
            with deadline(self._ends - clock.now(), self._terms.name), self._terms.guard():
                yield
        except Exception as error:
            if not self._again(error):
                raise

    @asynccontextmanager
    async def _async_block(self) -> AsyncIterator[None]:
        try:
            async with deadline(self._ends - clock.now(), self._terms.name), self._terms.async_guard():
                yield
        except Exception as error:
            if not self._again(error):
                raise

    def _again(self, error: Exception) -> bool:
        delay = None if self._terms.retries is None else self._terms.retries.delay(error, self.number - 1)
        if delay is not None and clock.now() + delay < self._ends:
            self.delay = delay
        return self.delay is not None


class Attempts:
    """What `policy.attempts()` returns: the tries of one block, for `for` and `async for`."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def __iter__(self) -> Iterator[Attempt]:
        attempt = self._first()
        while True:
            yield attempt
            if attempt.delay is None:
                return
            clock.pause(attempt.delay)
            attempt = attempt.next()

    async def __aiter__(self) -> AsyncIterator[Attempt]:
        attempt = self._first()
        while True:
            yield attempt
            if attempt.delay is None:
                return
            await runtime().sleep(attempt.delay)
            attempt = attempt.next()

    def _first(self) -> Attempt:
        if self._terms.retries is not None:
            self._terms.retries.begin()
        return Attempt(self._terms, 1, clock.now() + self._terms.budget)
